//! What every client reads and seldom changes, the metadata and the key set: kept as the bytes that are sent, and made anew
//! when their facts change.

use std::sync::RwLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A JSON document with its entity tag.
#[derive(Clone, Debug)]
pub struct Document {
    /// UTF-8 JSON.
    pub body: Bytes,
    /// In quotes, as the header `ETag` has it (RFC 9110 §8.8.3): the same for the same body on every node.
    pub etag: Bytes,
}

impl Document {
    fn of(value: &Value) -> Document {
        let body = Bytes::from(value.to_string());
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&body));
        Document {
            body,
            etag: format!("\"{digest}\"").into(),
        }
    }
}

/// The place of one document.
pub struct Published(RwLock<Document>);

impl Published {
    pub(super) fn new(value: &Value) -> Published {
        Published(RwLock::new(Document::of(value)))
    }

    /// The document as it is now.
    #[must_use]
    #[tracing::instrument(target = "otel", name = "flow.published", skip_all)]
    pub fn now(&self) -> Document {
        match self.0.read() {
            Ok(document) => document.clone(),
            // Nothing can panic while it is written; were it so, the last document is still whole.
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    pub(super) fn publish(&self, value: &Value) {
        let document = Document::of(value);
        if self.now().etag == document.etag {
            return;
        }
        if let Ok(mut place) = self.0.write() {
            *place = document;
        }
    }
}
