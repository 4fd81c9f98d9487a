//! What the operator decides about a client, beyond what every client says of itself: lifetimes, resources, consent, and the
//! profile `fapi2` (FAPI 2.0 Security Profile §5; rule A-93).

use super::accept::invalid_metadata;
use super::answers::Answers;
use super::{Client, Metadata, Method};
use crate::protocol::jwt::Alg;
use crate::protocol::redirect::ResponseType;
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::scope::Scope;

/// The profile of FAPI 2.0.
pub(super) const FAPI2: &str = "fapi2";
/// The bounds of a lifetime, in seconds.
const LIFETIMES: std::ops::RangeInclusive<i64> = 1..=315_360_000;

impl Metadata {
    /// Leaves out what only the operator may decide.
    pub(super) fn without_policy(&mut self) {
        self.profile = None;
        self.skip_consent = None;
        self.token_exchange = None;
        self.resources = None;
        self.access_token_lifetime = None;
        self.id_token_lifetime = None;
        self.refresh_token_lifetime = None;
    }

    /// Checks what the operator decided.
    pub(super) fn check_policy(&self, method: Method, answers: &Answers) -> Result<(), Refusal> {
        for (name, lifetime) in [
            ("access_token_lifetime", self.access_token_lifetime),
            ("id_token_lifetime", self.id_token_lifetime),
            ("refresh_token_lifetime", self.refresh_token_lifetime),
        ] {
            if lifetime.is_some_and(|seconds| !LIFETIMES.contains(&seconds)) {
                return Err(invalid_metadata(format!(
                    "{name} must be a number of seconds"
                )));
            }
        }
        match self.profile.as_deref() {
            None => Ok(()),
            Some(FAPI2) => self.check_fapi(method, answers),
            Some(_) => Err(invalid_metadata("profile must be fapi2")),
        }
    }

    /// FAPI 2.0 Security Profile §5.3.2, §5.4.
    fn check_fapi(&self, method: Method, answers: &Answers) -> Result<(), Refusal> {
        let refuse = |why: &'static str| Err(invalid_metadata(why));
        if !method.is_asymmetric() {
            return refuse(
                "profile fapi2 needs token_endpoint_auth_method private_key_jwt or a TLS client certificate",
            );
        }
        let request = self
            .backchannel_authentication_request_signing_alg
            .as_deref();
        let mut wanted = answers.iter();
        if wanted.any(|wanted| wanted.alg == Some(Alg::Rs256)) || request == Some("RS256") {
            return refuse("profile fapi2 signs with PS256, ES256 or EdDSA, never RS256");
        }
        let types = self.response_types.as_deref().unwrap_or_default();
        if types
            .iter()
            .any(|text| ResponseType::parse(text) == Some(ResponseType::CodeIdToken))
        {
            return refuse("profile fapi2 has no response_type code id_token");
        }
        if self.require_pkce == Some(false) {
            return refuse("profile fapi2 requires PKCE");
        }
        if self
            .redirect_uris
            .iter()
            .any(|uri| !uri.starts_with("https://"))
        {
            return refuse("profile fapi2 needs https redirect_uris");
        }
        Ok(())
    }
}

impl Client {
    /// The most that the operator lets the client have; what a client says of itself is no limit.
    #[must_use]
    pub fn scope_limit(&self) -> Option<Scope> {
        let limit = self.metadata.scope.as_deref();
        let limit = limit.filter(|_| self.origin.is_operators());
        limit.map(Scope::parse)
    }

    /// True when the client registered the response type.
    #[must_use]
    pub fn may_ask_for(&self, kind: ResponseType) -> bool {
        let registered = self.metadata.response_types.as_deref().unwrap_or_default();
        registered.iter().any(|text| text == kind.as_str())
    }

    /// True when a refresh replaces the refresh token. Under `fapi2` it never does: the token is bound to its client's key
    /// anyway, and a lost answer must not end a grant (FAPI 2.0 Security Profile §5.3.2.1).
    #[must_use]
    pub fn rotates(&self) -> bool {
        !self.is_fapi()
    }

    /// True under the profile `fapi2`.
    #[must_use]
    pub fn is_fapi(&self) -> bool {
        self.metadata.profile.as_deref() == Some(FAPI2)
    }

    /// True when its requests must be pushed (RFC 9126 §6).
    #[must_use]
    pub fn must_push(&self) -> bool {
        self.is_fapi() || self.metadata.require_pushed_authorization_requests == Some(true)
    }

    /// True when its requests must be signed (RFC 9101 §10.5).
    #[must_use]
    pub fn must_sign_requests(&self) -> bool {
        self.metadata.require_signed_request_object == Some(true)
    }

    /// True for an application of the operator's own, whose users are not asked.
    #[must_use]
    pub fn skips_consent(&self) -> bool {
        self.metadata.skip_consent == Some(true)
    }

    /// Refuses resources that are not for this client.
    pub fn check_resources<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Refusal> {
        let Some(allowed) = &self.metadata.resources else {
            return Ok(());
        };
        let mut ids = ids.into_iter();
        if ids.any(|id| !allowed.iter().any(|allowed| allowed == id)) {
            let why = "this client may not use that resource";
            return Err(Refusal::new(Code::InvalidTarget, why).setting("clients.resources"));
        }
        Ok(())
    }

    /// Preferred when it registered no algorithm: RS256 (OIDC Registration §2), which FAPI forbids.
    pub(super) fn default_alg(&self) -> Alg {
        if self.is_fapi() {
            Alg::Es256
        } else {
            Alg::Rs256
        }
    }
}

impl Method {
    /// True when the client proves that it holds a private key.
    #[must_use]
    pub fn is_asymmetric(self) -> bool {
        self == Method::PrivateKeyJwt || Method::MTLS.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::Origin;
    use serde_json::{Value, json};

    fn accept(more: &Value, origin: Origin) -> Result<Metadata, Refusal> {
        let mut metadata = json!({
            "client_name": "c", "redirect_uris": ["https://c.example/cb"], "profile": "fapi2",
            "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://c.example/jwks.json",
        });
        for (name, value) in more.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        let metadata = serde_json::from_value(metadata).unwrap();
        Client::accept(metadata, origin).map(|accepted| accepted.metadata)
    }

    #[test]
    fn a_grant_that_nobody_knows_is_refused_to_the_operator_and_ignored_of_others() {
        let more = json!({"profile": null, "grant_types": ["authorization_code", "password"]});
        let why = accept(&more, Origin::Static).unwrap_err();
        assert_eq!(
            why.description,
            "grant_types: password is no grant of this server"
        );
        assert!(accept(&more, Origin::Dynamic).is_ok());
        let hybrid = json!({"profile": null, "grant_types": ["authorization_code", "implicit"]});
        assert!(accept(&hybrid, Origin::Static).is_ok());
    }

    #[test]
    fn fapi_needs_keys_pkce_https_and_strong_algorithms() {
        assert!(accept(&json!({}), Origin::Static).is_ok());
        for bad in [
            json!({"token_endpoint_auth_method": "client_secret_basic"}),
            json!({"token_endpoint_auth_method": "none"}),
            json!({"id_token_signed_response_alg": "RS256"}),
            json!({"userinfo_signed_response_alg": "RS256"}),
            json!({"authorization_signed_response_alg": "RS256"}),
            json!({"response_types": ["code", "code id_token"]}),
            json!({"introspection_signed_response_alg": "RS256"}),
            json!({"require_pkce": false}),
            json!({"redirect_uris": ["http://localhost/cb"]}),
            json!({"profile": "fapi1"}),
            json!({"access_token_lifetime": 0}),
        ] {
            assert!(accept(&bad, Origin::Static).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_fapi_client_registers_nothing_for_is_not_signed_with_rs256() {
        let metadata = accept(&json!({}), Origin::Static).unwrap();
        let accepted = Client::accept(metadata, Origin::Static).unwrap();
        let client = accepted.into_client("c".into(), Origin::Static, None);
        let client = client.unwrap();
        for alg in [
            client.introspection_alg(&Alg::ALL),
            client.id_token_alg(&Alg::ALL),
            client.authorization_alg(&Alg::ALL),
        ] {
            assert_eq!(alg, Alg::Es256);
        }
    }

    #[test]
    fn a_client_that_nobody_vouched_for_decides_none_of_it() {
        let more = json!({"skip_consent": true, "resources": [], "access_token_lifetime": 86_400});
        let metadata = accept(&more, Origin::Dynamic).unwrap();
        assert_eq!((metadata.profile, metadata.skip_consent), (None, None));
        assert_eq!(
            (metadata.resources, metadata.access_token_lifetime),
            (None, None)
        );
    }
}
