//! Client ids that are URLs, a line, and the documents behind them.
#![no_main]

use auth_server::protocol::document::{ClientIdUrl, accept};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (url, body) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(id) = ClientIdUrl::parse(url) else { return };
    assert_eq!(id.as_str(), url);
    if let Ok(client) = accept(&id, body.as_bytes()) {
        assert_eq!(client.id, url);
        let _ = (client.fingerprint(), client.name(), client.id_host());
    }
});
