//! JWTs of trusted issuers: find the entry, verify with the issuer's keys, check the claims, find the user. Nothing is
//! written here; what counts once is noted by the caller, with what comes of it.

use std::sync::Arc;

use super::client_auth::Authenticated;
use super::{Error, Result, Server, client_keys};
use crate::config::normal_username;
use crate::outbound::Share;
use crate::protocol::grant::{Grant, Terms};
use crate::protocol::jwt::{self, Alg, PublicKeys};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::scope::Scope;
use crate::protocol::trusted::{Asked, Good, Keys, Kind, LEEWAY, TrustedIssuer};
use crate::store::User;

/// Longest JWT that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;

/// A JWT as a request brings it.
#[derive(Clone, Copy)]
pub(super) struct Brought<'a> {
    /// The JWT.
    pub(super) text: &'a str,
    /// The parameter.
    pub(super) name: &'static str,
    /// As what it is presented.
    pub(super) kind: Kind,
    /// The code for a bad one.
    pub(super) code: Code,
}

impl Brought<'_> {
    /// A refusal of this JWT.
    pub(super) fn refuse(&self, why: &str) -> Refusal {
        Refusal::new(self.code, format!("{}: {why}", self.name))
    }
}

/// A good JWT with the entry that it came under.
pub(super) struct Verified<'a> {
    /// The entry.
    pub(super) entry: &'a TrustedIssuer,
    /// What it says.
    pub(super) good: Good,
    /// What makes it count once; `None` where it may come again.
    pub(super) once: Option<Once>,
}

/// What is remembered of a JWT, and until when in unix seconds.
#[derive(Clone, Debug)]
pub(super) struct Once {
    /// Purpose and name in the store.
    pub(super) seen: String,
    /// Unix seconds.
    pub(super) forget_at: i64,
}

/// The first entry, of those that are `wanted`, whose rules the JWT seems to keep: its signature is not checked. One that
/// speaks for a workload goes before those that speak for users.
pub(super) fn candidate<'a>(
    server: &'a Server,
    brought: &Brought<'_>,
    wanted: &(dyn Fn(&TrustedIssuer) -> bool + Sync),
) -> Option<&'a TrustedIssuer> {
    if brought.text.len() > LONGEST {
        return None;
    }
    let claims = jwt::unverified_claims(brought.text)?;
    let from = claims.get("iss")?.as_str()?;
    let entries = server.config.trusted_issuers.iter();
    let mut fitting: Vec<_> = entries
        .filter(|entry| entry.issuer == from && wanted(entry) && entry.fits(&claims))
        .collect();
    fitting.sort_by_key(|entry| entry.workload().is_none());
    fitting.first().copied()
}

/// Verifies a JWT under the first entry that fits of those that are `wanted`.
pub(super) async fn verify<'a>(
    server: &'a Server,
    brought: &Brought<'_>,
    wanted: &(dyn Fn(&TrustedIssuer) -> bool + Sync),
) -> Result<Verified<'a>> {
    let Some(entry) = candidate(server, brought, wanted) else {
        let why = "no trusted issuer says that, or not to this client";
        return Err(brought
            .refuse(why)
            .setting("trusted_issuers")
            .guess()
            .into());
    };
    let keys = keys(server, entry, jwt::kid_of(brought.text).as_deref()).await?;
    let (header, claims) = keys
        .verify(brought.text)
        .map_err(|why| brought.refuse(&why.0).guess())?;
    let own = server.config.issuer.as_str();
    let endpoint = server.config.issuer.url("/token");
    let asked = Asked {
        kind: brought.kind,
        ours: [own, &endpoint],
        now: server.now(),
    };
    let good = entry
        .check(&header, claims, asked)
        .map_err(|why| brought.refuse(why))?;
    let counts_once = entry.single_use || brought.kind == Kind::IdJag;
    let once = counts_once.then(|| Once {
        seen: good.seen(&entry.issuer, brought.text),
        forget_at: good.expires_at + LEEWAY,
    });
    Ok(Verified { entry, good, once })
}

impl Verified<'_> {
    /// Refuses a JWT that is bound to a key that its sender did not show, and one that the client's profile does not allow.
    pub(super) fn check_sender(
        &self,
        asker: &Authenticated,
        brought: &Brought<'_>,
    ) -> std::result::Result<(), Refusal> {
        let bound = self.good.bound_to.as_ref();
        if bound.is_some() && bound != asker.confirmation.as_ref() {
            return Err(brought.refuse(
                "it is bound to a key, and the request does not prove that its sender holds it",
            ));
        }
        if asker.client.is_fapi() && self.good.alg == Alg::Rs256 {
            return Err(brought.refuse("FAPI allows PS256, ES256 and EdDSA"));
        }
        Ok(())
    }

    /// The user whom the JWT names; `None` for a workload.
    pub(super) async fn user(
        &self,
        server: &Server,
        brought: &Brought<'_>,
    ) -> Result<Option<User>> {
        if self.entry.workload().is_some() {
            return Ok(None);
        }
        let name = self.entry.user_name(&self.good);
        let user = match name.as_deref().and_then(normal_username) {
            Some(name) => server.store.user_by_name(&name).await?,
            None => None,
        };
        match user.filter(|user| user.disabled_at.is_none()) {
            Some(user) => Ok(Some(user)),
            None => Err(brought.refuse("it names no user of this server").into()),
        }
    }

    /// A grant of what the issuer allowed for the user. It is of no browser session, and ends with its only token.
    pub(super) fn grant(&self, server: &Server, asker: &Authenticated, user: &User) -> Grant {
        let now = server.now();
        Grant {
            id: server.fresh_id("gr_"),
            subject: user.id.clone(),
            client_id: asker.client.id.clone(),
            scope: Scope::default(),
            resources: vec![],
            auth_time: self.good.auth_time(now),
            amr: self.good.amr(),
            sid: server.fresh_id("sid_"),
            nonce: None,
            expires_at: now,
            terms: Terms::default(),
        }
    }
}

/// The keys of an issuer. That they cannot be had is nobody's fault who asks.
async fn keys(
    server: &Server,
    entry: &TrustedIssuer,
    kid: Option<&str>,
) -> Result<Arc<PublicKeys>> {
    let wanted = |keys: &PublicKeys| kid.is_none_or(|kid| keys.has(kid));
    let found = match &entry.keys {
        Keys::Inline(jwks) => client_keys::inline(server, jwks),
        Keys::Uri(url) => client_keys::fetched(server, url, &wanted, Share::Known).await,
        Keys::Discovered => {
            let url = client_keys::location(server, &entry.issuer).await;
            let url = url.map_err(|why| away(&why))?;
            client_keys::fetched(server, &url, &wanted, Share::Known).await
        }
    };
    found.map_err(|error| match error {
        Error::Refused(refusal) if refusal.code == Code::InvalidClient => {
            away(&refusal.description)
        }
        error => error,
    })
}

fn away(why: &str) -> Error {
    let says = "the keys of the JWT's issuer cannot be had now; try again";
    Refusal::new(Code::TemporarilyUnavailable, says)
        .retry_after(5)
        .because(why)
        .setting("trusted_issuers")
        .into()
}
