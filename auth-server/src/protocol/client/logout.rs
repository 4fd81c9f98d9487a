//! What a client says about the ends of sessions, and about logins that begin elsewhere: where a browser may go after a
//! logout, and how the client hears of one (RP-Initiated, Front-Channel and Back-Channel Logout 1.0).

use url::Url;

use super::accept::{MOST_REDIRECTS, invalid_metadata};
use super::{Client, Metadata, Origin};
use crate::protocol::feature::Features;
use crate::protocol::redirect::RegisteredUri;
use crate::protocol::refusal::Refusal;

/// How a client hears that a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// We call it (Back-Channel Logout 1.0).
    Back,
    /// The browser loads its page in a frame (Front-Channel Logout 1.0).
    Front,
}

impl Channel {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Back => "back",
            Channel::Front => "front",
        }
    }
}

impl Client {
    /// The channels by which it wants to hear, of those that are on.
    #[must_use]
    pub fn channels(&self, on: Features) -> Vec<Channel> {
        let back = on.backchannel_logout && self.metadata.backchannel_logout_uri.is_some();
        let front = on.frontchannel_logout && self.metadata.frontchannel_logout_uri.is_some();
        let wanted = [(back, Channel::Back), (front, Channel::Front)];
        let wanted = wanted.into_iter().filter(|(wanted, _)| *wanted);
        wanted.map(|(_, channel)| channel).collect()
    }
}

/// Checks the members about logout, and `initiate_login_uri`.
pub(super) fn check(
    metadata: &Metadata,
    redirects: &[RegisteredUri],
    origin: Origin,
) -> Result<(), Refusal> {
    let is_redirects =
        |uri: &RegisteredUri| redirects.iter().any(|known| known.origin() == uri.origin());
    let after = &metadata.post_logout_redirect_uris;
    if after.len() > MOST_REDIRECTS {
        let why = format!("at most {MOST_REDIRECTS} post_logout_redirect_uris");
        return Err(invalid_metadata(why));
    }
    for uri in after {
        registered("post_logout_redirect_uris", uri)?;
    }
    if let Some(uri) = &metadata.frontchannel_logout_uri {
        let uri = registered("frontchannel_logout_uri", uri)?;
        if uri.origin().is_none() || !is_redirects(&uri) {
            return Err(invalid_metadata(
                "frontchannel_logout_uri must have the scheme, host and port of one of the redirect_uris",
            ));
        }
    }
    if let Some(uri) = &metadata.backchannel_logout_uri {
        let uri = registered("backchannel_logout_uri", uri)?;
        if uri.origin().is_none() {
            return Err(invalid_metadata(
                "backchannel_logout_uri must be an https URL",
            ));
        }
        // A notice names the user as the sector does, so it goes where the sector's redirects go.
        let pairwise = metadata.subject_type.as_deref() == Some("pairwise");
        if pairwise && !origin.is_operators() && !is_redirects(&uri) {
            return Err(invalid_metadata(
                "backchannel_logout_uri must have the scheme, host and port of one of the redirect_uris when subjects are pairwise",
            ));
        }
    }
    if let Some(uri) = &metadata.initiate_login_uri {
        let host = Url::parse(uri).ok().filter(|url| url.scheme() == "https");
        if registered("initiate_login_uri", uri).is_err() || host.is_none() {
            return Err(invalid_metadata("initiate_login_uri must be an https URL"));
        }
    }
    Ok(())
}

/// The rules for a redirect URI hold for these too: https, or http on loopback, or an app's own scheme; no fragment.
pub(super) fn registered(member: &str, uri: &str) -> Result<RegisteredUri, Refusal> {
    RegisteredUri::parse(uri).map_err(|refusal| {
        invalid_metadata(refusal.description.replacen("redirect_uri", member, 1))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Origin;
    use super::*;
    use crate::protocol::refusal::Code;

    fn accept(member: &str, value: Value) -> Result<(), Refusal> {
        let mut metadata = json!({"redirect_uris": ["https://c.example:8443/cb", "http://127.0.0.1:5000/cb", "a.b:/cb"],
            "token_endpoint_auth_method": "none"});
        metadata[member] = value;
        let metadata = serde_json::from_value(metadata).unwrap();
        Client::accept(metadata, Origin::Dynamic).map(|_| ())
    }

    #[test]
    fn each_member_has_its_own_bounds() {
        for (member, good) in [
            (
                "post_logout_redirect_uris",
                json!([
                    "https://other.example/bye?a=b",
                    "http://localhost:3000",
                    "a.b:/bye"
                ]),
            ),
            (
                "frontchannel_logout_uri",
                json!("https://c.example:8443/bye?a=b"),
            ),
            (
                "frontchannel_logout_uri",
                json!("http://127.0.0.1:5000/bye"),
            ),
            (
                "backchannel_logout_uri",
                json!("https://elsewhere.example/hook"),
            ),
            (
                "backchannel_logout_uri",
                json!("http://localhost:3000/hook"),
            ),
            ("initiate_login_uri", json!("https://c.example/login")),
        ] {
            accept(member, good).unwrap();
        }
        for (member, bad) in [
            ("post_logout_redirect_uris", json!(["https://c.example/#x"])),
            ("post_logout_redirect_uris", json!(["http://c.example/bye"])),
            ("post_logout_redirect_uris", json!(["javascript:alert(1)"])),
            ("post_logout_redirect_uris", json!(["/bye"])),
            (
                "post_logout_redirect_uris",
                json!(["https://c.example/?state=x"]),
            ),
            (
                "post_logout_redirect_uris",
                json!(vec!["https://c.example/"; 51]),
            ),
            ("frontchannel_logout_uri", json!("https://c.example/bye")),
            (
                "frontchannel_logout_uri",
                json!("http://c.example:8443/bye"),
            ),
            (
                "frontchannel_logout_uri",
                json!("https://other.example:8443/bye"),
            ),
            (
                "frontchannel_logout_uri",
                json!("https://c.example:8443/bye#x"),
            ),
            ("frontchannel_logout_uri", json!("a.b:/bye")),
            ("backchannel_logout_uri", json!("http://c.example/hook")),
            ("backchannel_logout_uri", json!("https://c.example/hook#x")),
            (
                "backchannel_logout_uri",
                json!("https://u:p@c.example/hook"),
            ),
            ("backchannel_logout_uri", json!("a.b:/hook")),
            ("initiate_login_uri", json!("http://localhost/login")),
            ("initiate_login_uri", json!("https://c.example/#x")),
        ] {
            let refused = accept(member, bad.clone()).unwrap_err();
            assert_eq!(refused.code, Code::InvalidClientMetadata, "{member} {bad}");
            assert!(
                refused.description.contains(member),
                "{}",
                refused.description
            );
        }
    }
}
