//! Client authentication (RFC 6749 §2.3, RFC 7523 §2.2): one method at a time, and `invalid_client` for every failure,
//! so that SDKs register again instead of losing their tokens (rule A-41).

use std::sync::Arc;

use serde_json::{Map, Value};

use super::limits::throttled;
use super::sender::{self, Shown};
use super::{Error, Result, Server, audit, client_keys, clients, mtls, workload};
use crate::metrics::METRICS;
use crate::protocol::client::{Auth, Client, KeySource, SharedSecret};
use crate::protocol::confirmation::Confirmation;
use crate::protocol::dpop;
use crate::protocol::event::{Caller, Event};
use crate::protocol::jwt;
use crate::protocol::params::Params;
use crate::protocol::refusal::{Code, Refusal, invalid_client, invalid_request};
use crate::protocol::secret::{Secret, fingerprint};
use crate::store::Purpose;

/// `client_assertion_type` of RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The path below the issuer at which clients ask for users elsewhere.
const BACKCHANNEL: &str = "/bc-authorize";
/// Clocks may differ by this much, in seconds.
const LEEWAY: i64 = 60;
/// An assertion lives at most this long, in seconds: so long its `jti` is remembered.
const LONGEST_ASSERTION: i64 = 3600;

/// What a request presents.
pub struct Presented {
    /// `Authorization: Basic`, percent-decoded.
    pub basic: Option<(String, String)>,
    /// The body's parameters.
    pub params: Params,
    /// What it shows of its sender's key.
    pub shown: Shown,
}

/// A client that proved to be itself, and where it calls from. A public client has no proof but PKCE.
pub struct Authenticated {
    /// Who.
    pub client: Arc<Client>,
    /// From where.
    pub caller: Caller,
    /// The key that it holds: its tokens are bound to it.
    pub confirmation: Option<Confirmation>,
    /// The DPoP proof that says so; what it asks for spends it.
    pub proof: Option<dpop::Proof>,
}

enum Proof {
    None,
    Secret(Secret),
    Assertion(String),
}

/// Finds and authenticates the client. A public client is found, nothing more: its proof is PKCE.
#[tracing::instrument(target = "otel", name = "flow.client_authentication", skip_all)]
pub async fn authenticate(
    server: &Server,
    presented: &Presented,
    caller: Caller,
) -> Result<Authenticated> {
    let mut known = None;
    match find(server, presented, &caller, &mut known).await {
        Ok(client) => {
            let (address, now) = (caller.address(), server.now());
            server.limits.client(&client, address, now)?;
            let proof = sender::proof(server, &presented.shown, None)?;
            let confirmation = sender::confirmation(&client, proof.as_ref(), &presented.shown);
            Ok(Authenticated {
                client,
                caller,
                confirmation,
                proof,
            })
        }
        Err(error) => {
            METRICS.client_refused(error.code().as_str());
            if let Error::Refused(refusal) = &error
                && refusal.code == Code::InvalidClient
            {
                let why = refusal.description.to_string();
                let event = Event::ClientAuthenticationRefused { client: known, why };
                Box::pin(audit::refused(server, event, &caller)).await;
            }
            Err(error)
        }
    }
}

/// `known` becomes the id of a client that is known and did not prove to be it.
async fn find(
    server: &Server,
    presented: &Presented,
    caller: &Caller,
    known: &mut Option<String>,
) -> Result<Arc<Client>> {
    if let Some(workload) = workload::presented(server, presented)? {
        return Box::pin(workload::client(server, &workload, caller)).await;
    }
    let (id, proof) = read(presented)?;
    let (limits, address, now) = (&server.limits, caller.address(), server.now());
    if let Err(refusal) = limits.may_try(&id, address, now) {
        return Err(Box::pin(throttled(server, refusal, &id, caller)).await);
    }
    let proven = match clients::find(server, &id, address).await {
        Ok(client) => match prove(server, &client, proof, &presented.shown, address).await {
            Ok(()) => Ok(client),
            Err(error) => {
                *known = Some(client.id.clone());
                Err(error)
            }
        },
        Err(error) => Err(error),
    };
    match proven {
        Ok(client) => {
            if !client.is_public() {
                limits.was_right(&id, address, now);
            }
            Ok(client)
        }
        Err(error) => {
            if error.is_guess() {
                limits.was_wrong(&id, address, now);
            }
            Err(error)
        }
    }
}

async fn prove(
    server: &Server,
    client: &Client,
    proof: Proof,
    shown: &Shown,
    address: &str,
) -> Result<()> {
    match (&client.auth, proof) {
        (Auth::None, Proof::None) => {}
        (Auth::None, _) => {
            return Err(invalid_client("this client is registered without authentication (token_endpoint_auth_method none)").into());
        }
        (Auth::Secret(digest), Proof::Secret(secret)) if digest.is(&secret.digest()) => {}
        (Auth::Secret(_), Proof::Secret(_)) => {
            return Err(invalid_client("the client secret is wrong").guess().into());
        }
        (Auth::Keys(source), Proof::Assertion(assertion)) => {
            Box::pin(verify(server, client, source, &assertion, (shown, address))).await?;
        }
        (Auth::SharedSecret(secret), Proof::Assertion(assertion)) => {
            if !server.config.features.client_secret_jwt {
                return Err(invalid_client("client_secret_jwt is switched off")
                    .setting("features.client_secret_jwt")
                    .into());
            }
            let opened = match secret {
                SharedSecret::Clear(secret) => secret.clone(),
                SharedSecret::Sealed(sealed) => server.keys.open_secret(&client.id, sealed)?,
            };
            let verified = jwt::verify_shared(&assertion, opened.reveal());
            Box::pin(accept(server, client, verified, shown)).await?;
        }
        (Auth::SharedSecret(_), _) => {
            return Err(invalid_client("this client authenticates with client_secret_jwt").into());
        }
        (Auth::Certificate(certified), Proof::None) => {
            let certificate = shown.certificate.as_deref();
            Box::pin(mtls::prove(server, client, certified, certificate, address)).await?;
        }
        (Auth::Certificate(_), _) => {
            return Err(
                invalid_client("this client authenticates by its certificate alone").into(),
            );
        }
        (Auth::Secret(_), _) => {
            return Err(invalid_client(
                "this client authenticates with client_secret_basic or client_secret_post",
            )
            .into());
        }
        (Auth::Keys(_), _) => {
            return Err(invalid_client("this client authenticates with private_key_jwt").into());
        }
    }
    Ok(())
}

/// Which client, and which one proof.
fn read(presented: &Presented) -> std::result::Result<(String, Proof), Refusal> {
    let params = &presented.params;
    let (id, secret) = (params.once("client_id")?, params.once("client_secret")?);
    let assertion = match (
        params.once("client_assertion_type")?,
        params.once("client_assertion")?,
    ) {
        (Some(ASSERTION_TYPE), Some(assertion)) => Some(assertion),
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(invalid_request(
                "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ));
        }
        _ => {
            return Err(invalid_request(
                "client_assertion and client_assertion_type belong together (RFC 7521 4.2)",
            ));
        }
    };
    // Some clients send Basic with an empty password for a public client: that is no proof.
    let basic_secret = presented
        .basic
        .as_ref()
        .map(|(_, secret)| secret.as_str())
        .filter(|secret| !secret.is_empty());
    if [
        basic_secret.is_some(),
        secret.is_some(),
        assertion.is_some(),
    ]
    .into_iter()
    .filter(|used| *used)
    .count()
        > 1
    {
        return Err(invalid_request(
            "a client authenticates with one method at a time (RFC 6749 2.3)",
        ));
    }
    let named = assertion.and_then(issuer_of);
    let mut ids = [
        id.map(str::to_owned),
        presented.basic.as_ref().map(|(id, _)| id.clone()),
        named,
    ]
    .into_iter()
    .flatten();
    let Some(first) = ids.next() else {
        return Err(invalid_client("client_id is missing"));
    };
    if ids.any(|other| other != first) {
        return Err(invalid_request("the request names different clients"));
    }
    let proof = match (basic_secret.or(secret), assertion) {
        (Some(secret), _) => Proof::Secret(Secret::presented(secret)),
        (None, Some(assertion)) => Proof::Assertion(assertion.to_owned()),
        (None, None) => Proof::None,
    };
    Ok((first, proof))
}

/// `iss` of an assertion, unverified: only to find the client.
fn issuer_of(assertion: &str) -> Option<String> {
    jwt::unverified_claims(assertion)?
        .get("iss")?
        .as_str()
        .map(str::to_owned)
}

/// Verifies an assertion (RFC 7523 §3, rule A-43) by the keys of the client.
async fn verify(
    server: &Server,
    client: &Client,
    source: &KeySource,
    assertion: &str,
    (shown, address): (&Shown, &str),
) -> Result<()> {
    let keys = client_keys::keys(
        server,
        client,
        source,
        jwt::kid_of(assertion).as_deref(),
        address,
    )
    .await?;
    accept(server, client, keys.verify(assertion), shown).await
}

/// Checks what a verified assertion says, and notes its `jti`.
async fn accept(
    server: &Server,
    client: &Client,
    verified: std::result::Result<(jwt::Header, jwt::Claims), jwt::Invalid>,
    shown: &Shown,
) -> Result<()> {
    let (header, claims) =
        verified.map_err(|why| invalid_client(format!("client_assertion: {why}")).guess())?;
    let id = client.id.as_str();
    check_header(client, &header)?;
    let now = server.now();
    let issuer = server.config.issuer.as_str();
    let endpoint = |path| server.config.issuer.url(path);
    let (token_endpoint, backchannel) = (endpoint("/token"), endpoint(BACKCHANNEL));
    let audiences: &[&str] = if client.is_fapi() {
        // FAPI 2.0 §5.3.2.1: the issuer as a string, and nothing else.
        if !claims.get("aud").is_some_and(Value::is_string) {
            return Err(invalid_client(
                "client_assertion: aud must be the issuer, as a string (FAPI 2.0)",
            )
            .into());
        }
        &[issuer]
    } else if shown.path == BACKCHANNEL {
        // CIBA Core 1.0 §7.1
        &[issuer, &token_endpoint, &backchannel]
    } else {
        &[issuer, &token_endpoint]
    };
    let expires_at = check_claims(&claims, id, audiences, now)?;
    let Some(jti) = claims.get("jti").and_then(Value::as_str) else {
        return Err(invalid_client("client_assertion: jti is missing (RFC 7523 3)").into());
    };
    let seen = fingerprint(&format!("{id} {jti}"));
    let fresh = server
        .store
        .write(seen, move |tx, seen| {
            Box::pin(async move {
                tx.note_seen(Purpose::Assertion, seen, expires_at + LEEWAY)
                    .await
            })
        })
        .await?;
    if fresh {
        Ok(())
    } else {
        Err(invalid_client("client_assertion: jti was used before").into())
    }
}

/// `typ` and the algorithm that the client registered.
fn check_header(client: &Client, header: &Map<String, Value>) -> std::result::Result<(), Refusal> {
    let text = |name| header.get(name).and_then(Value::as_str);
    let is_assertion = |typ: &str| {
        ["jwt", "client-authentication+jwt"].contains(&typ.to_ascii_lowercase().as_str())
    };
    if header.contains_key("typ") && !text("typ").is_some_and(is_assertion) {
        return Err(invalid_client(
            "client_assertion: typ must be JWT or client-authentication+jwt",
        ));
    }
    if client.is_fapi() && text("alg") == Some("RS256") {
        return Err(invalid_client(
            "client_assertion: FAPI allows PS256, ES256 and EdDSA",
        ));
    }
    let registered = client.metadata.token_endpoint_auth_signing_alg.as_deref();
    if registered.is_some_and(|alg| text("alg") != Some(alg)) {
        return Err(invalid_client(
            "client_assertion: alg must be the registered token_endpoint_auth_signing_alg",
        ));
    }
    Ok(())
}

/// `iss`, `sub`, `aud`, `exp`, `nbf`, `iat`; returns `exp`.
fn check_claims(
    claims: &Map<String, Value>,
    id: &str,
    audiences: &[&str],
    now: i64,
) -> std::result::Result<i64, Refusal> {
    let refuse = |why: &str| Err(invalid_client(format!("client_assertion: {why}")));
    let text = |name| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(id) || text("sub") != Some(id) {
        return refuse("iss and sub must be the client_id");
    }
    let accepted = |value: &Value| value.as_str().is_some_and(|aud| audiences.contains(&aud));
    let for_us = match claims.get("aud") {
        // An audience beside us could present the assertion to us, or we to it.
        Some(Value::Array(many)) => !many.is_empty() && many.iter().all(accepted),
        Some(one) => accepted(one),
        None => false,
    };
    if !for_us {
        return refuse(match audiences {
            [_] => "aud must be the issuer, as a string (FAPI 2.0)",
            _ => "aud must be the issuer or the token endpoint",
        });
    }
    let Some(expires_at) = jwt::seconds(claims, "exp") else {
        return refuse("exp is missing");
    };
    if expires_at <= now - LEEWAY {
        return refuse("it has expired");
    }
    if expires_at > now + LONGEST_ASSERTION {
        return refuse("exp is more than an hour away");
    }
    if ["nbf", "iat"]
        .into_iter()
        .any(|name| jwt::seconds(claims, name).is_some_and(|at| at > now + LEEWAY))
    {
        return refuse("it is not valid yet");
    }
    Ok(expires_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_assertion_is_for_us_from_the_client_and_in_time() {
        let check = |claims: Value| {
            check_claims(
                claims.as_object().unwrap(),
                "c",
                &["https://as", "https://as/token"],
                1000,
            )
        };
        assert_eq!(
            check(json!({"iss": "c", "sub": "c", "aud": "https://as", "exp": 1100})).unwrap(),
            1100
        );
        assert!(check(json!({"iss": "c", "sub": "c", "aud": ["https://as", "https://as/token"], "exp": 1100, "iat": 1050})).is_ok());
        for bad in [
            json!({"iss": "d", "sub": "c", "aud": "https://as", "exp": 1100}),
            json!({"iss": "c", "sub": "d", "aud": "https://as", "exp": 1100}),
            json!({"iss": "c", "sub": "c", "aud": "https://other", "exp": 1100}),
            json!({"iss": "c", "sub": "c", "aud": ["https://other", "https://as"], "exp": 1100}),
            json!({"iss": "c", "sub": "c", "aud": [], "exp": 1100}),
            json!({"iss": "c", "sub": "c", "exp": 1100}),
            json!({"iss": "c", "sub": "c", "aud": "https://as"}),
            json!({"iss": "c", "sub": "c", "aud": "https://as", "exp": 940}),
            json!({"iss": "c", "sub": "c", "aud": "https://as", "exp": 9999}),
            json!({"iss": "c", "sub": "c", "aud": "https://as", "exp": 1100, "nbf": 1061}),
            json!({"iss": "c", "sub": "c", "aud": "https://as", "exp": 1100, "iat": 1061}),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_methods_or_two_clients_at_once_are_refused() {
        let presented = |basic: Option<(&str, &str)>, body: &str| {
            let basic = basic.map(|(id, secret)| (id.to_owned(), secret.to_owned()));
            read(&Presented {
                basic,
                params: Params::from_form(body.as_bytes()).unwrap(),
                shown: Shown::default(),
            })
        };
        assert!(presented(Some(("c", "s")), "client_id=c").is_ok());
        assert!(matches!(presented(Some(("c", "")), ""), Ok((id, Proof::None)) if id == "c"));
        for (basic, body) in [
            (Some(("c", "s")), "client_secret=s"),
            (Some(("c", "s")), "client_id=d"),
            (None, "client_id=c&client_assertion=x"),
            (
                None,
                "client_id=c&client_assertion_type=x&client_assertion=y",
            ),
            (None, ""),
        ] {
            assert!(presented(basic, body).is_err(), "{basic:?} {body}");
        }
    }
}
