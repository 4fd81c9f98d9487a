//! What every client reads and seldom changes, the metadata and the key set: kept as the bytes that are sent, and made anew
//! when their facts change.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A JSON document with its entity tag.
#[derive(Debug)]
pub struct Document {
    /// UTF-8 JSON.
    pub body: Bytes,
    /// In quotes, as the header `ETag` has it (RFC 9110 §8.8.3): the same for the same body on every node.
    pub etag: HeaderValue,
}

impl Document {
    fn of(value: &Value) -> Document {
        let body = Bytes::from(value.to_string());
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&body));
        let etag = format!("\"{digest}\"");
        Document {
            body,
            etag: HeaderValue::try_from(etag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        }
    }
}

/// The place of one document. Every reader of metadata and keys comes by, so reading takes no lock.
pub struct Published(ArcSwap<Document>);

impl Published {
    pub(super) fn new(value: &Value) -> Published {
        Published(ArcSwap::from_pointee(Document::of(value)))
    }

    /// The document as it is now.
    #[must_use]
    #[tracing::instrument(target = "otel", name = "flow.published", skip_all)]
    pub fn now(&self) -> Guard<Arc<Document>> {
        self.0.load()
    }

    pub(super) fn publish(&self, value: &Value) {
        let document = Document::of(value);
        if self.now().etag != document.etag {
            self.0.store(Arc::new(document));
        }
    }
}
