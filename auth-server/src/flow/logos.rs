//! Logos of clients: fetched and kept by the server, never linked from a page, so that looking at a page tells nobody
//! anything (rule A-72). A client that registered itself has none: a picture would lend its unverified name a face.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_cache::sync::Cache;
use url::Url;

use super::Server;
use crate::protocol::client::{Client, Origin};

/// Most logos that are kept, each at most 16 KiB.
const MOST: usize = 500;
/// How long a logo, or the lack of one, is kept, in seconds.
const KEPT: i64 = 12 * 3600;
/// How long a page waits for a logo that is not kept yet; it comes with the next page then.
const PATIENCE: Duration = Duration::from_millis(500);

/// Logos as `data:` URIs, by URL. `None`: there is none that could be shown.
pub struct Logos(Cache<String, Kept>);

#[derive(Clone)]
struct Kept {
    uri: Option<Arc<str>>,
    /// Unix seconds.
    until: i64,
}

impl Logos {
    /// Gives the memory of what does not count any more back.
    pub(super) fn forget(&self, now: i64) {
        self.0.retain(|_, kept| now < kept.until);
    }
}

impl Default for Logos {
    fn default() -> Logos {
        Logos(Cache::new(MOST))
    }
}

/// The client's logo as a `data:` URI.
pub async fn find(server: &Server, client: &Client) -> Option<Arc<str>> {
    let uri = client
        .metadata
        .logo_uri
        .clone()
        .filter(|_| client.origin != Origin::Dynamic)?;
    let (server, url) = (server.clone(), Url::parse(&uri).ok()?);
    // In a task of its own, so that a page that does not wait any longer does not end the request.
    let fetched = tokio::spawn(async move {
        let (logos, now) = (&server.logos.0, server.now());
        logos.remove_if(&uri, |kept| kept.until <= now);
        let fetched = async {
            let uri = fetch(&server, &url).await;
            let until = now + KEPT;
            Ok::<_, Infallible>(Kept { uri, until })
        };
        let Ok(kept) = logos.get_or_insert_async(&uri, fetched).await;
        kept.uri
    });
    tokio::time::timeout(PATIENCE, fetched).await.ok()?.ok()?
}

async fn fetch(server: &Server, url: &Url) -> Option<Arc<str>> {
    match server.outbound.get_image(url, server.now()).await {
        Ok(fetched) => data_uri(&fetched.body),
        Err(why) => {
            tracing::info!(%url, %why, "a logo cannot be fetched");
            None
        }
    }
}

/// The image by its first bytes; vector graphics are left out, they can hold more than a picture.
fn data_uri(bytes: &[u8]) -> Option<Arc<str>> {
    let kind = match bytes {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, 0xff, ..] => "jpeg",
        [b'G', b'I', b'F', b'8', ..] => "gif",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "webp",
        _ => return None,
    };
    Some(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_become_logos() {
        assert_eq!(
            data_uri(b"\x89PNG\r\n").as_deref(),
            Some("data:image/png;base64,iVBORw0K")
        );
        for other in [
            &b"<svg onload=alert(1)>"[..],
            b"<html>",
            b"",
            b"RIFFxxxxWAVE",
        ] {
            assert_eq!(data_uri(other), None);
        }
    }
}
