//! The discovery document (RFC 8414, OIDC Discovery): one document at every URL, derived from what is switched on.

use serde_json::{Value, json};

use super::acr::Level;
use super::claims;
use super::client::{GrantType, Method};
use super::details::DetailType;
use super::exchange::TokenType;
use super::feature::Features;
use super::issuer::Issuer;
use super::jwt::{Alg, Enc, HS256, KeyAlg};
use super::redirect::{ResponseMode, ResponseType};
use super::resource::Resource;
use super::scope::OPENID;
use super::subject;

/// What is switched on.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities<'a> {
    /// What we sign with.
    pub algorithms: &'a [Alg],
    /// Dynamic client registration.
    pub registration: bool,
    /// Client id metadata documents.
    pub documents: bool,
    /// The switches.
    pub features: Features,
    /// Levels of authentication.
    pub levels: &'a [Level],
    /// Types of authorization details.
    pub detail_types: &'a [DetailType],
    /// Where clients that show certificates find our endpoints; `None` where they find them anyway.
    pub with_certificates: Option<&'a Issuer>,
}

/// The document.
#[must_use]
pub fn document(issuer: &Issuer, resources: &[Resource], on: Capabilities<'_>) -> Value {
    let features = on.features;
    // With HS256 clients authenticate, and nothing else.
    let mut algorithms: Vec<_> = Alg::ALL.iter().map(|alg| alg.as_str()).collect();
    if features.client_secret_jwt {
        algorithms.push(HS256);
    }
    let ours: Vec<_> = on.algorithms.iter().map(|alg| alg.as_str()).collect();
    let by_certificate = Method::MTLS.iter().filter(|_| on.features.mtls);
    let methods: Vec<_> = Method::ALL
        .iter()
        .chain(by_certificate)
        .rev()
        .filter(|method| **method != Method::SecretJwt || features.client_secret_jwt)
        .map(|method| method.as_str())
        .collect();
    let confidential: Vec<_> = methods.iter().filter(|method| **method != "none").collect();
    let mut scopes: Vec<&str> = OPENID.to_vec();
    for resource in resources {
        for scope in &resource.scopes {
            if !scopes.contains(&scope.name.as_str()) {
                scopes.push(&scope.name);
            }
        }
    }
    let grants = GrantType::ALL
        .into_iter()
        .filter(|grant| on.features.offers(*grant));
    let mut subject_types = subject::TYPES.to_vec();
    subject_types.retain(|kind| *kind == "public" || on.features.pairwise_subjects);
    let modes = ResponseMode::ALL.into_iter();
    let modes: Vec<_> = modes
        .filter(|mode| ResponseMode::parse(Some(mode), ResponseType::Code, on.features).is_ok())
        .collect();
    let mut document = json!({
        "issuer": issuer.as_str(),
        "authorization_endpoint": issuer.url("/authorize"),
        "token_endpoint": issuer.url("/token"),
        "jwks_uri": issuer.url("/jwks.json"),
        "userinfo_endpoint": issuer.url("/userinfo"),
        "revocation_endpoint": issuer.url("/revoke"),
        "introspection_endpoint": issuer.url("/introspect"),
        "scopes_supported": scopes,
        "response_types_supported": ResponseType::offered(on.features).map(ResponseType::as_str).collect::<Vec<_>>(),
        "grant_types_supported": grants.map(GrantType::as_str).collect::<Vec<_>>(),
        "response_modes_supported": modes,
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": on.documents,
        "subject_types_supported": subject_types,
        "id_token_signing_alg_values_supported": ours,
        "userinfo_signing_alg_values_supported": ours,
        "claim_types_supported": ["normal"],
        "display_values_supported": ["page"],
        "ui_locales_supported": ["en"],
        "claims_supported": claims::names().collect::<Vec<_>>(),
        "claims_parameter_supported": on.features.claims_parameter,
        "request_parameter_supported": on.features.request_objects,
        "request_uri_parameter_supported": on.features.request_uris,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
    });
    requests(&mut document, issuer, on, &ours);
    logout(&mut document, issuer, on.features);
    jose(&mut document, on.features, &ours);
    if on.registration {
        document["registration_endpoint"] = json!(issuer.url("/register"));
    }
    if on.features.device {
        document["device_authorization_endpoint"] = json!(issuer.url("/device_authorization"));
    }
    if on.features.ciba {
        backchannel(&mut document, issuer);
    }
    bound(&mut document, issuer, on);
    if !resources.is_empty() {
        document["protected_resources"] = json!(
            resources
                .iter()
                .map(|resource| &resource.id)
                .collect::<Vec<_>>()
        );
    }
    document
}

/// How authorization requests may come, and what they may ask for.
fn requests(document: &mut Value, issuer: &Issuer, on: Capabilities<'_>, ours: &[&str]) {
    if on.features.request_objects || on.features.request_uris {
        let algorithms = Alg::ALL.map(Alg::as_str);
        document["request_object_signing_alg_values_supported"] = json!(algorithms);
        document["require_request_uri_registration"] = json!(on.features.request_uris);
    }
    if on.features.pushed_requests {
        document["pushed_authorization_request_endpoint"] = json!(issuer.url("/par"));
    }
    if on.features.jarm {
        document["authorization_signing_alg_values_supported"] = json!(ours);
    }
    if !on.detail_types.is_empty() {
        let names: Vec<_> = on.detail_types.iter().map(|kind| &kind.name).collect();
        document["authorization_details_types_supported"] = json!(names);
    }
    if !on.levels.is_empty() {
        let names: Vec<_> = on.levels.iter().map(|level| &level.name).collect();
        document["acr_values_supported"] = json!(names);
    }
}

/// CIBA Core 1.0 §4
fn backchannel(document: &mut Value, issuer: &Issuer) {
    document["backchannel_authentication_endpoint"] = json!(issuer.url("/bc-authorize"));
    document["backchannel_token_delivery_modes_supported"] = json!(["poll", "ping"]);
    document["backchannel_authentication_request_signing_alg_values_supported"] =
        json!(Alg::ALL.map(Alg::as_str));
    document["backchannel_user_code_parameter_supported"] = json!(false);
}

/// What there is for the ends of sessions.
fn logout(document: &mut Value, issuer: &Issuer, on: Features) {
    if on.rp_initiated_logout {
        document["end_session_endpoint"] = json!(issuer.url("/end-session"));
    }
    if on.backchannel_logout {
        document["backchannel_logout_supported"] = json!(true);
        document["backchannel_logout_session_supported"] = json!(true);
    }
    if on.frontchannel_logout {
        document["frontchannel_logout_supported"] = json!(true);
        document["frontchannel_logout_session_supported"] = json!(true);
    }
    if on.session_management {
        document["check_session_iframe"] = json!(issuer.url("/check-session"));
    }
}

/// Introspection as a JWT, and what can be encrypted.
fn jose(document: &mut Value, features: Features, ours: &[&str]) {
    if features.introspection_jwt {
        document["introspection_signing_alg_values_supported"] = json!(ours);
    }
    if features.encryption {
        let answers = ["id_token", "userinfo"].into_iter();
        let answers = answers.chain(features.introspection_jwt.then_some("introspection"));
        let answers = answers.chain(features.jarm.then_some("authorization"));
        let signed = features.request_objects || features.request_uris;
        for of in answers.chain(signed.then_some("request_object")) {
            document[format!("{of}_encryption_alg_values_supported")] =
                json!(KeyAlg::ALL.map(KeyAlg::as_str));
            document[format!("{of}_encryption_enc_values_supported")] =
                json!(Enc::ALL.map(Enc::as_str));
        }
    }
}

/// To what tokens can be bound, and which identity assertions there are.
fn bound(document: &mut Value, issuer: &Issuer, on: Capabilities<'_>) {
    if on.features.dpop {
        document["dpop_signing_alg_values_supported"] = json!(Alg::ALL.map(Alg::as_str));
    }
    if on.features.jwt_bearer && on.features.id_jag {
        document["authorization_grant_profiles_supported"] =
            json!(["urn:ietf:params:oauth:grant-profile:id-jag"]);
    }
    if on.features.token_exchange && on.features.id_jag {
        document["identity_chaining_requested_token_types_supported"] =
            json!([TokenType::IdJag.as_str()]);
    }
    if on.features.mtls {
        document["tls_client_certificate_bound_access_tokens"] = json!(true);
        if let Some(with) = on.with_certificates {
            document["mtls_endpoint_aliases"] = aliases(document, issuer, with);
        }
    }
}

/// RFC 8705 §5: the endpoints that a client calls itself, under the other name.
fn aliases(document: &Value, issuer: &Issuer, with: &Issuer) -> Value {
    let called = [
        "token_endpoint",
        "revocation_endpoint",
        "introspection_endpoint",
        "userinfo_endpoint",
        "device_authorization_endpoint",
        "pushed_authorization_request_endpoint",
        "backchannel_authentication_endpoint",
    ];
    let found = called.into_iter().filter_map(|name| {
        let path = document
            .get(name)?
            .as_str()?
            .strip_prefix(issuer.as_str())?;
        Some((name.to_owned(), json!(with.url(path))))
    });
    Value::Object(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_advertises_only_what_is_on() {
        let issuer = Issuer::parse("https://h/p").unwrap();
        let on = document(
            &issuer,
            &[],
            Capabilities {
                algorithms: &[Alg::Ps256],
                registration: true,
                documents: true,
                features: Features::default(),
                levels: &[],
                detail_types: &[],
                with_certificates: None,
            },
        );
        assert_eq!(on["registration_endpoint"], "https://h/p/register");
        assert_eq!(
            on["id_token_signing_alg_values_supported"],
            json!(["PS256"])
        );
        assert_eq!(on["end_session_endpoint"], "https://h/p/end-session");
        assert_eq!(on["client_id_metadata_document_supported"], true);
        assert_eq!(on["dpop_signing_alg_values_supported"][0], "ES256");
        let off = document(
            &issuer,
            &[],
            Capabilities {
                algorithms: &[Alg::Ps256],
                registration: false,
                documents: false,
                features: Features {
                    claims_parameter: false,
                    dpop: false,
                    rp_initiated_logout: false,
                    backchannel_logout: false,
                    frontchannel_logout: false,
                    jarm: false,
                    ..Features::default()
                },
                levels: &[],
                detail_types: &[],
                with_certificates: None,
            },
        );
        let with = Issuer::parse("https://mtls.h/p").unwrap();
        let mtls = document(
            &issuer,
            &[],
            Capabilities {
                algorithms: &[Alg::Ps256],
                registration: true,
                documents: true,
                features: Features {
                    mtls: true,
                    ..Features::default()
                },
                levels: &[],
                detail_types: &[],
                with_certificates: Some(&with),
            },
        );
        let aliases = &mtls["mtls_endpoint_aliases"];
        assert_eq!(aliases["token_endpoint"], "https://mtls.h/p/token");
        assert_eq!(aliases.get("authorization_endpoint"), None);
        assert_eq!(mtls["tls_client_certificate_bound_access_tokens"], true);
        let methods = json!(["tls_client_auth", "self_signed_tls_client_auth"]);
        let advertised = mtls["token_endpoint_auth_methods_supported"].as_array();
        assert!(advertised.unwrap().starts_with(methods.as_array().unwrap()));
        for absent in [
            "registration_endpoint",
            "mtls_endpoint_aliases",
            "dpop_signing_alg_values_supported",
            "end_session_endpoint",
            "backchannel_logout_supported",
            "frontchannel_logout_supported",
            "check_session_iframe",
        ] {
            assert_eq!(off.get(absent), None, "{absent}");
        }
        assert_eq!(off["client_id_metadata_document_supported"], false);
        assert_eq!(off["claims_parameter_supported"], false);
        assert_eq!(
            off["response_modes_supported"],
            json!(["query", "form_post"])
        );
    }
}
