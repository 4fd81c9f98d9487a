//! Client ids that are URLs, a line, and the documents behind them.

use auth_server::protocol::document::{ClientIdUrl, accept};

pub(crate) fn check(input: &str) {
    let (url, body) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(id) = ClientIdUrl::parse(url) else {
        return;
    };
    assert_eq!(id.as_str(), url);
    if let Ok(client) = accept(&id, body.as_bytes()) {
        assert_eq!(client.id, url);
        let _ = (client.fingerprint(), client.name(), client.id_host());
    }
}
