//! Clients that register themselves (RFC 7591) and manage what they registered (RFC 7592).
//!
//! A public client on people's devices that registers what another one registered before gets the same `client_id`,
//! without management, and the management of the first is closed in the same transaction: the id stands for software
//! that anybody can install, so no installation may change or delete it for the others (rule A-62). A client on the web
//! keeps a registration of its own. Software statements are ignored.

use serde_json::{Map, Value};

use super::{Error, Result, Server, audit, sector};
use crate::protocol::client::{Accepted, Client, Method, Origin};
use crate::protocol::event::{Caller, Event};
use crate::protocol::network;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::register::{self, Information, Management};
use crate::protocol::secret::{self, Digest, Secret, fingerprint};
use crate::store::{Shared, StoredClient};
use limits::{check_limits, limits, too_many};

mod limits;

/// Registrations are counted over this time, in seconds.
const HOUR: i64 = 3600;
/// Changes of one registration within [`HOUR`].
const CHANGES: i64 = 30;
/// When a refused registration may be tried again, in seconds.
const LATER: u32 = 600;

/// Registers a client (RFC 7591 §3).
#[tracing::instrument(target = "otel", name = "flow.register", skip_all)]
pub async fn create(server: &Server, object: Map<String, Value>, caller: &Caller) -> Result<Value> {
    let registered = register(server, object, caller).await;
    if let Err(Error::Refused(refusal)) = &registered {
        // The description may repeat what was sent; the log has it under the same request id.
        let why = refusal.code.as_str().to_owned();
        let event = match refusal.retry_after {
            Some(_) => Event::RegistrationThrottled { why },
            None => Event::RegistrationRefused { why },
        };
        audit::refused(server, event, caller).await;
    }
    registered
}

async fn accept(server: &Server, object: Map<String, Value>, caller: &Caller) -> Result<Accepted> {
    let metadata = register::metadata(object)?;
    let accepted = Client::bring(metadata, Origin::Dynamic, server.config.support())?;
    sector::check(server, &accepted.metadata, caller).await?;
    Ok(accepted.offered(server.config.features)?)
}

async fn register(server: &Server, object: Map<String, Value>, caller: &Caller) -> Result<Value> {
    if !server.config.registration.dynamic {
        let why = "clients cannot register themselves here; ask the operator, or use a client id metadata document";
        return Err(Refusal::new(Code::RegistrationNotSupported, why)
            .with_status(404)
            .setting("registration.dynamic")
            .into());
    }
    let accepted = accept(server, object, caller).await?;
    let now = server.now();
    let likeness = register::likeness(&accepted.metadata);
    if accepted.method == Method::None
        && accepted.is_native()
        && let Some(twin) = server.store.twin(&likeness).await?
        && share(server, &twin, &likeness, caller).await?
    {
        // With the caller's own redirect URIs, which differ from the registered ones by loopback ports at most.
        let shared = Information {
            client_id: &twin.id,
            issued_at: now,
            metadata: &accepted.metadata,
            secret: None,
            management: None,
        };
        return Ok(shared.answer());
    }
    let token = Secret::mint(secret::Kind::Registration, server.effects.fresh());
    let client_secret = fresh_secret(server, accepted.method);
    let id = server.fresh_id("dc_");
    let client = StoredClient {
        secret_sealed: sealed(server, accepted.method, &id, client_secret.as_ref())?,
        id,
        origin: Origin::Dynamic,
        metadata: accepted.metadata,
        fingerprint: likeness,
        secret_digest: client_secret.as_ref().map(digest),
        registration_digest: Some(digest(&token)),
        address: Some(origin_of(server, caller.address())),
        created_at: now,
    };
    // Looked at before the write, so that a flood is refused without work for the writer; the write looks again.
    check_limits(server, client.address.as_deref()).await?;
    let answer = Information {
        client_id: &client.id,
        issued_at: now,
        metadata: &client.metadata,
        secret: client_secret.as_ref(),
        management: Some(Management {
            uri: &uri(server, &client.id),
            token: &token,
        }),
    }
    .answer();
    let event = Event::ClientRegistered {
        client: client.id.clone(),
        name: client.metadata.client_name.clone(),
    };
    let entry = server.entry(event, caller);
    let limits = limits(server);
    let written = client.clone();
    let added = server
        .store
        .write((written, entry), move |tx, (client, entry)| {
            Box::pin(async move {
                let added = tx.register_client(client, now - HOUR, limits).await?;
                if added {
                    tx.record(entry, now);
                }
                Ok(added)
            })
        })
        .await?;
    if added {
        return Ok(answer);
    }
    check_limits(server, client.address.as_deref()).await?;
    Err(too_many("registration.per_hour"))
}

/// Makes an earlier registration one that is shared; false when it is there no more. One that is shared already and whose
/// term is young costs no write; the others count towards the limit of the caller's network.
async fn share(
    server: &Server,
    twin: &StoredClient,
    likeness: &str,
    caller: &Caller,
) -> Result<bool> {
    let now = server.now();
    // Half of its term at most, so that it cannot run out while it counts as shared just now.
    let recent = now - HOUR.min(server.config.registration.unused / 2);
    if twin.registration_digest.is_none() && twin.created_at > recent {
        return Ok(true);
    }
    let client = twin.id.clone();
    let entry = server.entry(Event::ClientShared { client }, caller);
    let counted = fingerprint(&format!("shared {}", origin_of(server, caller.address())));
    let most = server.config.registration.per_address;
    let facts = (twin.id.clone(), likeness.to_owned(), counted);
    let shared = server
        .store
        .write((facts, entry), move |tx, (facts, entry)| {
            Box::pin(async move {
                let (id, likeness, counted) = facts;
                if tx.count_attempt(counted, HOUR, now).await?.0 > most {
                    return Ok(None);
                }
                let shared = tx.share_registration(id, likeness, now, recent).await?;
                if shared == Shared::Now {
                    tx.record(entry, now);
                }
                Ok(Some(shared))
            })
        })
        .await?;
    match shared {
        Some(shared) => Ok(shared != Shared::Gone),
        None => Err(too_many("registration.per_address_and_hour")),
    }
}

/// What is registered (RFC 7592 §2.1). The secret is not shown: only its digest is kept.
pub async fn read(server: &Server, id: &str, token: &str, caller: &Caller) -> Result<Value> {
    let token = Secret::presented(token);
    let client = managed(server, id, &token, caller).await?;
    Ok(information(server, &client, None, &token))
}

/// Replaces what is registered (RFC 7592 §2.2). A client that turns to a secret gets one, any other keeps what it has.
/// What changes nothing is answered without a write.
pub async fn update(
    server: &Server,
    id: &str,
    token: &str,
    object: Map<String, Value>,
    caller: &Caller,
) -> Result<Value> {
    let token = Secret::presented(token);
    let known = managed(server, id, &token, caller).await?;
    let management = Management {
        uri: &uri(server, id),
        token: &token,
    };
    register::check_update(&object, id, known.created_at, management, |given| {
        known
            .secret_digest
            .as_ref()
            .is_some_and(|digest| given.digest().is(&Digest::stored(digest.clone())))
    })?;
    let accepted = accept(server, object, caller).await?;
    // The secret itself is known of those that sign with it, and of no others.
    let keeps = match accepted.method {
        Method::SecretJwt => known.secret_sealed.is_some(),
        _ => known.secret_digest.is_some(),
    };
    let fresh = if keeps {
        None
    } else {
        fresh_secret(server, accepted.method)
    };
    let secret_sealed = match &fresh {
        Some(secret) => sealed(server, accepted.method, id, Some(secret))?,
        None => known
            .secret_sealed
            .clone()
            .filter(|_| accepted.method == Method::SecretJwt),
    };
    let secret_digest = fresh
        .as_ref()
        .map(digest)
        .or_else(|| known.secret_digest.clone())
        .filter(|_| accepted.method.uses_secret());
    if accepted.metadata == known.metadata && secret_digest == known.secret_digest {
        return Ok(information(server, &known, None, &token));
    }
    let client = StoredClient {
        fingerprint: register::likeness(&accepted.metadata),
        secret_digest,
        secret_sealed,
        metadata: accepted.metadata,
        ..known
    };
    let now = server.now();
    let event = Event::ClientChanged {
        client: id.to_owned(),
    };
    let entry = server.entry(event, caller);
    let counted = fingerprint(&format!("changes {id}"));
    let facts = (client.clone(), counted);
    let updated = server
        .store
        .write((facts, entry), move |tx, (facts, entry)| {
            Box::pin(async move {
                let (client, counted) = facts;
                if tx.count_attempt(counted, HOUR, now).await?.0 > CHANGES {
                    return Ok(None);
                }
                let updated = tx.update_registration(client).await?;
                if updated {
                    tx.record(entry, now);
                }
                Ok(Some(updated))
            })
        })
        .await?;
    match updated {
        Some(true) => Ok(information(server, &client, fresh.as_ref(), &token)),
        Some(false) => Err(not_managed().into()),
        None => Err(invalid_request(
            "too many changes of one registration within an hour; try again later",
        )
        .retry_after(LATER)
        .into()),
    }
}

/// Ends a registration with everything that users granted it (RFC 7592 §2.3).
pub async fn delete(server: &Server, id: &str, token: &str, caller: &Caller) -> Result<()> {
    let token = Secret::presented(token);
    managed(server, id, &token, caller).await?;
    let now = server.now();
    let event = Event::ClientDeleted {
        client: id.to_owned(),
    };
    let entry = server.entry(event, caller);
    let (id, token) = (id.to_owned(), digest(&token));
    let ended = server
        .store
        .write((id, token, entry), move |tx, (id, token, entry)| {
            Box::pin(async move {
                let ended = tx.end_registration(id, token, now).await?;
                if ended {
                    tx.record(entry, now);
                }
                Ok(ended)
            })
        })
        .await?;
    if ended {
        Ok(())
    } else {
        Err(not_managed().into())
    }
}

/// The registration that the token manages. An unknown client, a closed registration and a wrong token are answered
/// alike, after the same comparison.
async fn managed(
    server: &Server,
    id: &str,
    token: &Secret,
    caller: &Caller,
) -> Result<StoredClient> {
    let client = server.store.client(id).await?;
    let client = client.filter(|client| client.origin == Origin::Dynamic);
    let expected = client
        .as_ref()
        .and_then(|client| client.registration_digest.clone())
        .unwrap_or_default();
    let right = token.digest().is(&Digest::stored(expected));
    match client {
        Some(client) if right => Ok(client),
        client => {
            let event = Event::ClientAuthenticationRefused {
                client: client.map(|client| client.id),
                why: "registration access token".to_owned(),
            };
            audit::refused(server, event, caller).await;
            Err(not_managed().into())
        }
    }
}

fn not_managed() -> Refusal {
    Refusal::new(
        Code::InvalidToken,
        "the registration access token does not manage this client; register anew if it was lost",
    )
}

fn information(
    server: &Server,
    client: &StoredClient,
    secret: Option<&Secret>,
    token: &Secret,
) -> Value {
    Information {
        client_id: &client.id,
        issued_at: client.created_at,
        metadata: &client.metadata,
        secret,
        management: Some(Management {
            uri: &uri(server, &client.id),
            token,
        }),
    }
    .answer()
}

/// What is kept of the caller's network: enough to count by, too little to find it again without our key.
fn origin_of(server: &Server, address: &str) -> String {
    let network = network::group(address);
    let derived = server.derivation.derive("registration address", &network);
    fingerprint(&format!("{derived:?}"))
}

fn fresh_secret(server: &Server, method: Method) -> Option<Secret> {
    method
        .uses_secret()
        .then(|| Secret::mint(secret::Kind::Client, server.effects.fresh()))
}

/// What is kept of a secret that the client signs with.
fn sealed(
    server: &Server,
    method: Method,
    id: &str,
    secret: Option<&Secret>,
) -> Result<Option<String>> {
    match secret {
        Some(secret) if method == Method::SecretJwt => {
            Ok(Some(server.keys.seal_secret(id, secret)?))
        }
        _ => Ok(None),
    }
}

fn digest(secret: &Secret) -> String {
    secret.digest().as_str().to_owned()
}

fn uri(server: &Server, id: &str) -> String {
    server.config.issuer.url(&format!("/register/{id}"))
}
