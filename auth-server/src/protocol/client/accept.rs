//! The one door: which metadata are accepted, and what their defaults are.

use std::collections::BTreeSet;

use url::Url;

use super::answers::Answers;
use super::{
    Accepted, Certified, Client, GrantType, KeySource, Metadata, Method, Origin, Support,
    backchannel, logout,
};
use crate::protocol::jwt;
use crate::protocol::redirect::{RegisteredUri, ResponseType};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::scope::Scope;
use crate::protocol::subject;
use crate::protocol::text::deceives;

/// Most redirect URIs of one client.
pub(super) const MOST_REDIRECTS: usize = 50;
/// Longest text member, in bytes.
const LONGEST_TEXT: usize = 2048;

impl Client {
    /// Accepts metadata that somebody brings now, and that name nothing that this server does not have. The lists of a client that
    /// registers are narrowed to that first; a document is read again as it stands.
    pub fn bring(
        mut metadata: Metadata,
        origin: Origin,
        support: Support<'_>,
    ) -> Result<Accepted, Refusal> {
        if origin == Origin::Dynamic {
            metadata.narrow(support);
        }
        let accepted = Client::accept(metadata, origin)?;
        accepted.check(support)?;
        Ok(accepted)
    }

    /// Checks metadata and fills in defaults (RFC 7591 §2, OIDC Registration §2; rules ).
    pub fn accept(mut metadata: Metadata, origin: Origin) -> Result<Accepted, Refusal> {
        check_texts(&metadata)?;
        let keys = key_source(&metadata)?;
        let method = negotiate(&metadata, origin, keys.is_some())?;
        let grants = grants(&metadata, origin, method)?;
        let redirects = redirects(&metadata, grants.contains(&GrantType::AuthorizationCode))?;
        if origin == Origin::Document && metadata.client_name.as_deref().is_none_or(str::is_empty) {
            return Err(invalid_metadata("client_name is missing"));
        }
        let answers = Answers::read(&metadata, keys.is_some())?;
        logout::check(&metadata, &redirects, origin)?;
        check_requests(&metadata)?;
        if origin == Origin::Document {
            // Nobody asks the list behind it whether the client belongs to that sector, as registration does.
            metadata.sector_identifier_uri = None;
        }
        let sector = subject::sector(&metadata)?;
        if origin.is_operators() {
            metadata.check_policy(method, &answers)?;
        } else {
            metadata.without_policy();
        }
        check_assertion_alg(&metadata, method)?;
        backchannel::check(&mut metadata, grants.contains(&GrantType::Backchannel))?;
        metadata.token_endpoint_auth_method = Some(method.as_str().to_owned());
        metadata.token_endpoint_auth_methods_supported = None;
        metadata.grant_types = Some(
            grants
                .iter()
                .map(|grant| grant.as_str().to_owned())
                .collect(),
        );
        metadata.response_types = Some(if grants.contains(&GrantType::AuthorizationCode) {
            response_types(&metadata)?
        } else {
            vec![]
        });
        metadata.scope = metadata
            .scope
            .map(|scope| Scope::parse(&scope).to_string())
            .filter(|scope| !scope.is_empty());
        Ok(Accepted {
            metadata,
            method,
            redirects,
            grants,
            keys,
            sector,
            answers,
        })
    }
}

/// What the client may ask for: of what it lists, what there is; a code when it lists nothing.
fn response_types(metadata: &Metadata) -> Result<Vec<String>, Refusal> {
    let listed = metadata.response_types.as_deref().unwrap_or_default();
    let known: Vec<_> = listed
        .iter()
        .filter_map(|text| ResponseType::parse(text))
        .collect();
    if known.is_empty() && !listed.is_empty() {
        return Err(invalid_metadata("response_types must contain code"));
    }
    let all = [ResponseType::Code, ResponseType::CodeIdToken].into_iter();
    let kept = all.filter(|kind| match kind {
        ResponseType::Code => known.is_empty() || known.contains(kind),
        ResponseType::CodeIdToken => known.contains(kind),
    });
    Ok(kept.map(|kind| kind.as_str().to_owned()).collect())
}

pub(super) fn invalid_metadata(description: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidClientMetadata, description)
}

/// The best method that both sides have. A list (RP Metadata Choices) goes before the single value; an unknown
/// method is refused only when nothing else works.
fn negotiate(metadata: &Metadata, origin: Origin, has_keys: bool) -> Result<Method, Refusal> {
    let works = |method: &Method| match method {
        Method::None => true,
        Method::SecretBasic | Method::SecretPost | Method::SecretJwt => origin != Origin::Document,
        Method::PrivateKeyJwt => has_keys,
        // Whoever registers itself brings no certificate that the operator could know.
        Method::Tls => origin.is_operators() && Certified::by_name(metadata).is_ok(),
        Method::SelfSignedTls => origin.is_operators() && has_keys,
    };
    let single = metadata.token_endpoint_auth_method.as_deref();
    let listed = metadata
        .token_endpoint_auth_methods_supported
        .as_deref()
        .unwrap_or_default();
    if !listed.is_empty() {
        let known = |text: &String| Method::parse(text);
        let all = Method::ALL.into_iter().chain(Method::MTLS);
        if let Some(method) = all
            .rev()
            .find(|m| listed.iter().filter_map(known).any(|l| l == *m) && works(m))
        {
            return Ok(method);
        }
    }
    match single {
        Some(text) => match Method::parse(text) {
            Some(method) if works(&method) => Ok(method),
            Some(Method::PrivateKeyJwt) => {
                Err(invalid_metadata("private_key_jwt needs jwks or jwks_uri"))
            }
            Some(method) if Method::MTLS.contains(&method) => Err(unproven(metadata, origin)),
            Some(_) => Err(invalid_metadata(
                "a client id metadata document cannot use a shared secret",
            )),
            None => {
                let all = Method::ALL
                    .into_iter()
                    .chain(Method::MTLS)
                    .map(Method::as_str);
                let all = all.collect::<Vec<_>>().join(", ");
                let why = format!("token_endpoint_auth_method must be one of {all}");
                Err(invalid_metadata(why))
            }
        },
        None if !listed.is_empty() => Err(invalid_metadata(
            "none of token_endpoint_auth_methods_supported works here; add none or private_key_jwt",
        )),
        None if origin == Origin::Document => Ok(if has_keys {
            Method::PrivateKeyJwt
        } else {
            Method::None
        }),
        None => Ok(Method::SecretBasic),
    }
}

/// Why a client cannot authenticate by a certificate.
fn unproven(metadata: &Metadata, origin: Origin) -> Refusal {
    if !origin.is_operators() {
        return invalid_metadata(
            "token_endpoint_auth_method: only clients that the operator adds use a certificate",
        );
    }
    match Certified::by_name(metadata) {
        Err(refusal) => refusal,
        Ok(_) => invalid_metadata("self_signed_tls_client_auth needs jwks or jwks_uri"),
    }
}

pub(super) fn key_source(metadata: &Metadata) -> Result<Option<KeySource>, Refusal> {
    match (&metadata.jwks, &metadata.jwks_uri) {
        (Some(_), Some(_)) => Err(invalid_metadata(
            "jwks and jwks_uri exclude each other (RFC 7591 2)",
        )),
        (Some(jwks), None) => {
            jwt::PublicKeys::check(jwks).map_err(|e| invalid_metadata(format!("jwks: {e}")))?;
            Ok(Some(KeySource::Inline(jwks.clone())))
        }
        (None, Some(uri)) => match Url::parse(uri) {
            Ok(url) if url.scheme() == "https" => Ok(Some(KeySource::Uri(url))),
            _ => Err(invalid_metadata("jwks_uri must be an https URL")),
        },
        (None, None) => Ok(None),
    }
}

/// Unknown grants are dropped, and those that this client may not use: machine grants of clients that nobody vouched for,
/// what needs a client that authenticates (rule A-45), and what would tell a stranger the pairwise subjects of a sector.
fn grants(
    metadata: &Metadata,
    origin: Origin,
    method: Method,
) -> Result<BTreeSet<GrantType>, Refusal> {
    let Some(declared) = &metadata.grant_types else {
        return Ok(BTreeSet::from([GrantType::AuthorizationCode]));
    };
    // The operator meant something by it; what others declare is written for many servers (rule A-45).
    let is_unknown = |text: &&String| *text != "implicit" && GrantType::parse(text).is_none();
    if let Some(unknown) = declared
        .iter()
        .find(is_unknown)
        .filter(|_| origin.is_operators())
    {
        return Err(invalid_metadata(format!(
            "grant_types: {unknown} is no grant of this server"
        )));
    }
    // The names of a sector are for who answers at its hosts, which a redirect alone shows (OIDC Core §8.1).
    let elsewhere = origin.is_operators() || metadata.subject_type.as_deref() != Some("pairwise");
    let may = |grant: &GrantType| {
        grant.is_for(origin.is_operators(), method != Method::None)
            && (elsewhere || grant.needs_redirect())
    };
    let grants: BTreeSet<_> = declared
        .iter()
        .filter_map(|text| GrantType::parse(text))
        .filter(may)
        // A document is written for many servers: that others push tokens to the client is no reason to refuse it here.
        .filter(|grant| {
            let pushes = metadata.backchannel_token_delivery_mode.as_deref() == Some("push");
            *grant != GrantType::Backchannel || origin != Origin::Document || !pushes
        })
        .collect();
    if grants.is_empty() && !origin.is_operators() {
        return Err(invalid_metadata(
            "grant_types must contain authorization_code",
        ));
    }
    if origin.is_operators()
        && let Some(grant) = declared
            .iter()
            .filter_map(|text| GrantType::parse(text))
            .find(|grant| !may(grant))
    {
        return Err(invalid_metadata(format!(
            "{} needs a client that authenticates (RFC 6749 4.4)",
            grant.as_str()
        )));
    }
    Ok(grants)
}

fn redirects(metadata: &Metadata, needed: bool) -> Result<Vec<RegisteredUri>, Refusal> {
    if needed && metadata.redirect_uris.is_empty() {
        return Err(Refusal::new(
            Code::InvalidRedirectUri,
            "redirect_uris is missing or empty",
        ));
    }
    if metadata.redirect_uris.len() > MOST_REDIRECTS {
        return Err(Refusal::new(
            Code::InvalidRedirectUri,
            format!("at most {MOST_REDIRECTS} redirect_uris"),
        ));
    }
    metadata
        .redirect_uris
        .iter()
        .map(|uri| RegisteredUri::parse(uri))
        .collect()
}

/// How the client may send its authorization requests.
fn check_requests(metadata: &Metadata) -> Result<(), Refusal> {
    let alg = metadata.request_object_signing_alg.as_deref();
    if alg.is_some_and(|alg| jwt::Alg::parse(alg).is_none()) {
        return Err(invalid_metadata(
            "request_object_signing_alg must be ES256, RS256, PS256 or EdDSA",
        ));
    }
    if metadata.request_uris.len() > MOST_REDIRECTS {
        return Err(invalid_metadata(format!(
            "at most {MOST_REDIRECTS} request_uris"
        )));
    }
    let bad = metadata.request_uris.iter().find(|uri| {
        uri.len() > LONGEST_TEXT || !Url::parse(uri).is_ok_and(|url| url.scheme() == "https")
    });
    if bad.is_some() {
        return Err(invalid_metadata("request_uris must be https URLs"));
    }
    Ok(())
}

/// An assertion is signed with a key of the client or with its secret, never one for the other.
fn check_assertion_alg(metadata: &Metadata, method: Method) -> Result<(), Refusal> {
    let Some(alg) = metadata.token_endpoint_auth_signing_alg.as_deref() else {
        return Ok(());
    };
    let fits = match method {
        Method::SecretJwt => alg == jwt::HS256,
        Method::PrivateKeyJwt => jwt::Alg::parse(alg).is_some(),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    let all = jwt::Alg::ALL.map(jwt::Alg::as_str).join(", ");
    Err(invalid_metadata(format!(
        "token_endpoint_auth_signing_alg must be HS256 for client_secret_jwt, one of {all} for private_key_jwt"
    )))
}

fn check_texts(metadata: &Metadata) -> Result<(), Refusal> {
    let links = [
        ("client_uri", &metadata.client_uri),
        ("logo_uri", &metadata.logo_uri),
        ("policy_uri", &metadata.policy_uri),
        ("tos_uri", &metadata.tos_uri),
    ];
    for (name, link) in links {
        if let Some(link) = link
            && !link.is_empty()
            && !Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
        {
            return Err(invalid_metadata(format!(
                "{name} must be an http or https URL"
            )));
        }
    }
    let texts = [
        &metadata.client_name,
        &metadata.scope,
        &metadata.software_id,
        &metadata.software_version,
        &metadata.jwks_uri,
    ];
    let too_long =
        |text: &&Option<String>| text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT);
    if texts.iter().any(too_long) || links.iter().any(|(_, link)| too_long(link)) {
        return Err(invalid_metadata(format!(
            "a text is longer than {LONGEST_TEXT} bytes"
        )));
    }
    if metadata
        .client_name
        .iter()
        .any(|name| name.contains(deceives))
    {
        return Err(invalid_metadata(
            "client_name must not contain control characters or change the direction of text",
        ));
    }
    if metadata.contacts.len() > 10 || metadata.contacts.iter().any(|contact| contact.len() > 256) {
        return Err(invalid_metadata("at most 10 contacts of 256 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Kept;
    use super::*;
    use crate::protocol::secret::Digest;
    use serde_json::json;

    fn accept(origin: Origin, value: serde_json::Value) -> Result<Accepted, Refusal> {
        Client::accept(serde_json::from_value(value).unwrap(), origin)
    }

    const CB: &str = "https://c.example/cb";

    #[test]
    fn a_list_of_methods_negotiates_private_key_jwt_if_possible_else_none() {
        let with_keys = json!({"client_name": "C", "redirect_uris": [CB], "jwks_uri": "https://c.example/jwks",
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "none", "tls_client_auth"]});
        assert_eq!(
            accept(Origin::Document, with_keys).unwrap().method,
            Method::PrivateKeyJwt
        );
        let without = json!({"client_name": "C", "redirect_uris": [CB],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"]});
        assert_eq!(
            accept(Origin::Document, without).unwrap().method,
            Method::None
        );
    }

    #[test]
    fn an_unknown_method_is_refused_only_when_no_other_works() {
        let one = json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "self_signed_tls_client_auth"});
        assert_eq!(
            accept(Origin::Dynamic, one).unwrap_err().code,
            Code::InvalidClientMetadata
        );
        let both = json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "tls_client_auth",
            "token_endpoint_auth_methods_supported": ["tls_client_auth", "none"]});
        assert_eq!(accept(Origin::Dynamic, both).unwrap().method, Method::None);
    }

    #[test]
    fn unknown_grants_are_ignored_and_machine_grants_need_the_operator() {
        let claude = json!({"client_name": "Claude", "redirect_uris": [CB], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"]});
        let accepted = accept(Origin::Document, claude).unwrap();
        assert_eq!(
            accepted.metadata.grant_types.unwrap(),
            ["authorization_code", "refresh_token"]
        );
        let machine = json!({"redirect_uris": [CB], "grant_types": ["authorization_code", "client_credentials"]});
        assert_eq!(
            accept(Origin::Dynamic, machine.clone())
                .unwrap()
                .metadata
                .grant_types
                .unwrap(),
            ["authorization_code"]
        );
        assert_eq!(
            accept(Origin::Operator, machine)
                .unwrap()
                .metadata
                .grant_types
                .unwrap()
                .len(),
            2
        );
        let public =
            json!({"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]});
        assert!(accept(Origin::Operator, public).is_err());
    }

    #[test]
    fn a_document_needs_a_name_redirects_and_no_shared_secret() {
        for bad in [
            json!({"redirect_uris": [CB]}),
            json!({"client_name": "C"}),
            json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "client_secret_basic"}),
            json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "private_key_jwt"}),
            json!({"client_name": "C", "redirect_uris": [CB], "response_types": ["token"]}),
            json!({"client_name": "C", "redirect_uris": ["http://c.example/cb"]}),
            json!({"client_name": "C", "redirect_uris": [CB], "logo_uri": "javascript:alert(1)"}),
            json!({"client_name": "C".repeat(3000), "redirect_uris": [CB]}),
            json!({"client_name": "\u{202e}TPGtahC", "redirect_uris": [CB]}),
            json!({"client_name": "C\nD", "redirect_uris": [CB]}),
            json!({"client_name": "C", "redirect_uris": [CB], "id_token_signed_response_alg": "none"}),
        ] {
            assert!(accept(Origin::Document, bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_changed_redirect_name_or_key_changes_the_fingerprint() {
        let client = |value| {
            accept(Origin::Document, value)
                .unwrap()
                .into_client("x".into(), Origin::Document, None)
                .unwrap()
        };
        let base = client(json!({"client_name": "C", "redirect_uris": [CB]}));
        let link = client(
            json!({"client_name": "C", "redirect_uris": [CB], "client_uri": "https://c.example"}),
        );
        assert_eq!(base.fingerprint(), link.fingerprint());
        for other in [
            json!({"client_name": "D", "redirect_uris": [CB]}),
            json!({"client_name": "C", "redirect_uris": [CB, "https://c.example/2"]}),
            json!({"client_name": "C", "redirect_uris": [CB], "jwks_uri": "https://c.example/jwks"}),
        ] {
            assert_ne!(base.fingerprint(), client(other).fingerprint());
        }
    }

    #[test]
    fn a_client_that_may_do_more_or_proves_less_has_another_fingerprint() {
        let client = |origin, value| {
            accept(origin, value)
                .unwrap()
                .into_client(
                    "x".into(),
                    origin,
                    Some(Kept::Digest(Digest::stored("d".into()))),
                )
                .unwrap()
                .fingerprint()
        };
        let with = |grants: &[&str], method: &str| {
            client(
                Origin::Dynamic,
                json!({"client_name": "C", "redirect_uris": [CB], "grant_types": grants,
                    "token_endpoint_auth_method": method, "jwks_uri": "https://c.example/jwks"}),
            )
        };
        let base = with(&["authorization_code", "refresh_token"], "private_key_jwt");
        assert_eq!(
            base,
            with(&["refresh_token", "authorization_code"], "private_key_jwt")
        );
        for other in [
            with(&["authorization_code"], "private_key_jwt"),
            with(&["authorization_code", "refresh_token"], "none"),
            with(
                &["authorization_code", "refresh_token"],
                "client_secret_basic",
            ),
        ] {
            assert_ne!(base, other);
        }
        let uris = |uris: [&str; 2]| {
            client(
                Origin::Document,
                json!({"client_name": "C", "redirect_uris": uris}),
            )
        };
        assert_eq!(uris([CB, "a:/b"]), uris(["a:/b", CB]));
    }
}
