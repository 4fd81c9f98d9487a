//! Session Management 1.0: by `session_state` a client's page learns from a frame of ours whether the user is still signed
//! in, without asking the server. It is a salted digest of the client, its origin, and the browser's state; the frame
//! computes the same from a cookie.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::secret::{DerivationKey, fingerprint};

/// The state of a browser with this session: what the cookie says. It opens nothing, and tells nothing of the session.
#[must_use]
pub fn browser_state(key: &DerivationKey, sid: &str) -> String {
    URL_SAFE_NO_PAD.encode(key.derive("browser state", sid))
}

/// `session_state` (Session Management 1.0 §3.2)
#[must_use]
pub fn session_state(client_id: &str, origin: &str, browser_state: &str, salt: &str) -> String {
    let digest = fingerprint(&format!("{client_id} {origin} {browser_state} {salt}"));
    format!("{digest}.{salt}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_changes_with_client_origin_session_and_salt() {
        let key = DerivationKey::from_master(&[1; 32]);
        let one = browser_state(&key, "sid_1");
        assert_ne!(one, browser_state(&key, "sid_2"));
        let base = session_state("c", "https://c.example", &one, "s");
        assert_eq!(base.split_once('.').unwrap().1, "s");
        assert!(!base.contains(' '));
        for other in [
            session_state("d", "https://c.example", &one, "s"),
            session_state("c", "https://d.example", &one, "s"),
            session_state("c", "https://c.example", "", "s"),
            session_state("c", "https://c.example", &one, "t"),
        ] {
            assert_ne!(base, other);
        }
    }
}
