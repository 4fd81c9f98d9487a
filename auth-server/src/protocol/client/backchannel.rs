//! What a client says about backchannel authentication (CIBA Core 1.0 §4): how it hears that its user has answered, and
//! whether it signs its requests.

use url::Url;

use super::accept::{invalid_metadata, key_source};
use super::{Client, Metadata, logout};
use crate::protocol::jwt::Alg;
use crate::protocol::refusal::Refusal;

/// How a client hears that its user has answered (CIBA Core 1.0 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It asks again and again.
    Poll,
    /// We tell it, then it asks.
    Ping,
}

impl Client {
    /// How it hears that its user has answered.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self.metadata.backchannel_token_delivery_mode.as_deref() {
            Some("ping") => Delivery::Ping,
            _ => Delivery::Poll,
        }
    }

    /// True when its authentication requests must be signed: it said that it signs them, or its policy demands it (CIBA Core
    /// 1.0 §7.1.1, FAPI-CIBA §5.2.2).
    #[must_use]
    pub fn must_sign_authentication(&self) -> bool {
        let alg = &self.metadata.backchannel_authentication_request_signing_alg;
        alg.is_some() || self.is_fapi() || self.must_sign_requests()
    }
}

/// Checks the members; of a client that does not have the grant they are left out.
pub(super) fn check(metadata: &mut Metadata, has_grant: bool) -> Result<(), Refusal> {
    if !has_grant {
        metadata.backchannel_token_delivery_mode = None;
        metadata.backchannel_client_notification_endpoint = None;
        metadata.backchannel_authentication_request_signing_alg = None;
        metadata.backchannel_user_code_parameter = None;
        return Ok(());
    }
    let m = &*metadata;
    let endpoint = m.backchannel_client_notification_endpoint.as_deref();
    match m.backchannel_token_delivery_mode.as_deref() {
        Some("poll") => {}
        Some("ping") if endpoint.is_some() => {}
        Some("ping") => {
            return Err(invalid_metadata(
                "backchannel_client_notification_endpoint is needed for ping (CIBA Core 4)",
            ));
        }
        _ => {
            return Err(invalid_metadata(
                "backchannel_token_delivery_mode must be poll or ping",
            ));
        }
    }
    if let Some(uri) = endpoint {
        const MEMBER: &str = "backchannel_client_notification_endpoint";
        let https = Url::parse(uri).is_ok_and(|url| url.scheme() == "https");
        if logout::registered(MEMBER, uri).is_err() || !https {
            return Err(invalid_metadata(format!("{MEMBER} must be an https URL")));
        }
    }
    if let Some(alg) = m.backchannel_authentication_request_signing_alg.as_deref() {
        let all = Alg::ALL.map(Alg::as_str).join(", ");
        let why = format!("backchannel_authentication_request_signing_alg must be one of {all}");
        if Alg::parse(alg).is_none() {
            return Err(invalid_metadata(why));
        }
        if key_source(m)?.is_none() {
            return Err(invalid_metadata(
                "backchannel_authentication_request_signing_alg needs jwks or jwks_uri",
            ));
        }
    }
    if m.backchannel_user_code_parameter == Some(true) {
        return Err(invalid_metadata(
            "backchannel_user_code_parameter must be false: user codes are not supported",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{GrantType, Origin};
    use super::*;
    use crate::protocol::refusal::Code;

    fn accept(change: &Value, origin: Origin) -> Result<Metadata, Refusal> {
        let mut metadata = json!({"redirect_uris": ["https://c.example/cb"],
            "grant_types": ["authorization_code", GrantType::Backchannel.as_str()],
            "backchannel_token_delivery_mode": "ping",
            "backchannel_client_notification_endpoint": "https://c.example/ping"});
        for (name, value) in change.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        let metadata = serde_json::from_value(metadata).unwrap();
        Client::accept(metadata, origin).map(|accepted| accepted.metadata)
    }

    #[test]
    fn a_client_polls_or_names_where_it_is_told() {
        for good in [
            json!({}),
            json!({"backchannel_token_delivery_mode": "poll", "backchannel_client_notification_endpoint": null}),
            json!({"backchannel_user_code_parameter": false}),
            json!({"backchannel_authentication_request_signing_alg": "ES256", "jwks_uri": "https://c.example/jwks"}),
        ] {
            assert!(accept(&good, Origin::Dynamic).is_ok(), "{good}");
        }
        for bad in [
            json!({"backchannel_token_delivery_mode": null}),
            json!({"backchannel_token_delivery_mode": "push"}),
            json!({"backchannel_token_delivery_mode": "Ping"}),
            json!({"backchannel_client_notification_endpoint": null}),
            json!({"backchannel_client_notification_endpoint": "http://c.example/ping"}),
            json!({"backchannel_client_notification_endpoint": "http://localhost/ping"}),
            json!({"backchannel_client_notification_endpoint": "https://c.example/ping#x"}),
            json!({"backchannel_client_notification_endpoint": "https://u:p@c.example/ping"}),
            json!({"backchannel_client_notification_endpoint": "/ping"}),
            json!({"backchannel_user_code_parameter": true}),
            json!({"backchannel_authentication_request_signing_alg": "ES256"}),
            json!({"backchannel_authentication_request_signing_alg": "none", "jwks_uri": "https://c.example/jwks"}),
            json!({"backchannel_authentication_request_signing_alg": "HS256", "jwks_uri": "https://c.example/jwks"}),
        ] {
            for origin in [Origin::Dynamic, Origin::Static] {
                let refused = accept(&bad, origin).unwrap_err();
                assert_eq!(refused.code, Code::InvalidClientMetadata, "{bad}");
                assert!(refused.description.contains("backchannel_"), "{bad}");
            }
        }
    }

    #[test]
    fn a_public_client_does_not_get_the_grant() {
        let public = json!({"token_endpoint_auth_method": "none"});
        let accepted = accept(&public, Origin::Dynamic).unwrap();
        assert_eq!(accepted.grant_types.unwrap(), ["authorization_code"]);
        assert_eq!(accepted.backchannel_token_delivery_mode, None);
        assert!(accept(&public, Origin::Static).is_err());
    }

    #[test]
    fn a_document_that_wants_push_goes_without_the_grant() {
        let change = json!({"client_name": "C", "backchannel_token_delivery_mode": "push",
            "jwks_uri": "https://c.example/jwks"});
        let accepted = accept(&change, Origin::Document).unwrap();
        assert_eq!(accepted.grant_types.unwrap(), ["authorization_code"]);
        assert_eq!(accepted.backchannel_token_delivery_mode, None);
    }

    #[test]
    fn without_the_grant_nothing_of_it_is_looked_at() {
        let bad = json!({"grant_types": ["authorization_code"], "backchannel_token_delivery_mode": "push"});
        let accepted = accept(&bad, Origin::Dynamic).unwrap();
        assert_eq!(accepted.backchannel_client_notification_endpoint, None);
    }
}
