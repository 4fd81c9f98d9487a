//! Sender constraint: a token that is bound to a key or certificate is of use only to who holds it (RFC 9449, RFC 8705 §3).
//!
//! 1. [`proof`] checks what a request shows; nothing is written yet.
//! 2. [`required`], [`may_use`] and [`holds_key`] compare the key with what was agreed on.
//! 3. [`spend`] makes the proof count once, as late as it can: strangers must not fill the store with theirs.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::client_auth::Authenticated;
use super::{Result, Server};
use crate::protocol::certificate::Certificate;
use crate::protocol::client::Client;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::dpop::{self, Asked, Nonces, Proof};
use crate::protocol::grant::Grant;
use crate::protocol::refusal::{Code, Refusal, invalid_grant, invalid_request};
use crate::store::Purpose;

/// What a request shows of the key of its sender.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The values of the header `DPoP`.
    pub proofs: Vec<String>,
    /// The HTTP method.
    pub method: String,
    /// The path below the issuer.
    pub path: String,
    /// The certificate of its connection, or of the one to the proxy in front.
    pub certificate: Option<Arc<Certificate>>,
}

/// An access token as it was sent.
pub struct AccessToken {
    /// The token.
    pub text: String,
    /// The scheme of the header `Authorization`.
    pub scheme: Scheme,
    /// What came with it.
    pub shown: Shown,
}

/// How an access token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750
    Bearer,
    /// RFC 9449 §7.1
    Dpop,
}

/// The proof of a request, if it shows one; with its access token, at a resource.
pub fn proof(
    server: &Server,
    shown: &Shown,
    access_token: Option<&str>,
) -> std::result::Result<Option<Proof>, Refusal> {
    let features = server.config.features;
    if !features.dpop {
        return Ok(None);
    }
    let text = match shown.proofs.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => return Err(dpop::invalid("the header stands more than once")),
    };
    let config = &server.config;
    let names = [Some(&config.issuer), config.mtls.url.as_ref()];
    let urls = names
        .into_iter()
        .flatten()
        .map(|name| name.url(&shown.path));
    let asked = Asked {
        method: &shown.method,
        urls: &urls.collect::<Vec<_>>(),
        access_token,
        now: server.now(),
    };
    let proof = dpop::check(text, &asked)?;
    if features.dpop_nonces {
        Nonces(&server.derivation).check(proof.nonce.as_deref(), asked.now)?;
    }
    Ok(Some(proof))
}

/// To what the tokens of a request are bound: the key of its proof, else its certificate when the client wants that (RFC
/// 8705 §3.4).
#[must_use]
pub fn confirmation(client: &Client, proof: Option<&Proof>, shown: &Shown) -> Option<Confirmation> {
    if let Some(proof) = proof {
        return Some(Confirmation::Key(proof.thumbprint.clone()));
    }
    let wants = client.is_fapi()
        || client.metadata.tls_client_certificate_bound_access_tokens == Some(true);
    let certificate = shown.certificate.as_ref().filter(|_| wants)?;
    Some(Confirmation::Certificate(certificate.thumbprint()))
}

/// Refuses a proof that came before (RFC 9449 §11.1).
pub async fn spend(server: &Server, proof: &Proof) -> Result<()> {
    let (seen, expires_at) = (proof.seen.clone(), proof.expires_at);
    let fresh = server
        .store
        .write(seen, move |tx, seen| {
            Box::pin(async move { tx.note_seen(Purpose::Dpop, seen, expires_at).await })
        })
        .await?;
    if fresh {
        Ok(())
    } else {
        Err(dpop::invalid("jti was used before").into())
    }
}

/// Refuses a client that wants its tokens bound and shows no key (RFC 9449 §5.2, RFC 8705 §3.4).
pub fn required(asker: &Authenticated) -> std::result::Result<(), Refusal> {
    let client = &asker.client;
    let wants_dpop = client.metadata.dpop_bound_access_tokens == Some(true);
    if (wants_dpop && asker.proof.is_none()) || (client.is_fapi() && asker.confirmation.is_none()) {
        let why = "this client's tokens are bound to a key, and the header DPoP is missing";
        return Err(
            Refusal::new(Code::InvalidDpopProof, why).setting("clients.dpop_bound_access_tokens")
        );
    }
    let wants = client.metadata.tls_client_certificate_bound_access_tokens == Some(true);
    if wants && asker.confirmation.is_none() {
        let why = "this client's tokens are bound to its certificate, and none was shown";
        return Err(
            invalid_request(why).setting("clients.tls_client_certificate_bound_access_tokens")
        );
    }
    Ok(())
}

/// Refuses who does not hold the key to which a code or refresh token is bound.
pub fn may_use(asker: &Authenticated, grant: &Grant) -> std::result::Result<(), Refusal> {
    match &grant.terms.confirmation {
        Some(bound) if asker.confirmation.as_ref() != Some(bound) => Err(invalid_grant(
            "it is bound to a key, and the request does not prove that its sender holds it",
        )),
        _ => Ok(()),
    }
}

/// The key to which refresh tokens are bound: that of a public client. Another one proves who it is each time (RFC 9449
/// §5).
#[must_use]
pub fn lasting(asker: &Authenticated) -> Option<Confirmation> {
    let is_public = asker.client.is_public();
    asker.confirmation.clone().filter(|_| is_public)
}

/// Binds a grant from now on: its public client began to prove that it holds a key.
pub async fn bind(server: &Server, grant: &Grant, key: Confirmation) -> Result<()> {
    let mut bound = grant.clone();
    bound.terms.confirmation = Some(key);
    let done = server
        .store
        .write((grant.clone(), bound), |tx, (grant, bound)| {
            Box::pin(tx.change_terms(grant, bound))
        })
        .await?;
    if done {
        Ok(())
    } else {
        Err(invalid_grant("it was revoked or bound to a key meanwhile").into())
    }
}

/// Refuses an access token whose sender does not hold its key, and one that is sent as what it is not (RFC 9449 §7).
pub async fn holds_key(
    server: &Server,
    token: &AccessToken,
    claims: &Map<String, Value>,
) -> Result<()> {
    let refused = |why: &'static str| Err(Refusal::new(Code::InvalidToken, why).into());
    let bound = Confirmation::of(claims);
    match (token.scheme, bound) {
        (Scheme::Bearer, None) if claims.contains_key("cnf") => {
            refused("the access token is bound to something unknown")
        }
        (Scheme::Bearer, None) => Ok(()),
        (Scheme::Bearer, Some(Confirmation::Key(_))) => {
            refused("the access token is bound to a key: send it with the scheme DPoP and a proof")
        }
        (Scheme::Bearer, Some(Confirmation::Certificate(bound))) => {
            let shown = token.shown.certificate.as_ref();
            if shown.is_some_and(|shown| shown.thumbprint() == bound) {
                return Ok(());
            }
            refused("the access token is bound to a certificate that was not shown")
        }
        (Scheme::Dpop, Some(Confirmation::Key(key))) => {
            let Some(proof) = proof(server, &token.shown, Some(&token.text))? else {
                return Err(dpop::invalid("the header DPoP is missing").into());
            };
            if proof.thumbprint != key {
                return refused("the access token is bound to another key than the proof's");
            }
            spend(server, &proof).await
        }
        (Scheme::Dpop, Some(Confirmation::Certificate(_)) | None) => {
            refused("the access token is not bound to a key: send it with the scheme Bearer")
        }
    }
}
