//! From what arrived at the authorization endpoint to its parameters: plain ones, a request object of the client's (RFC
//! 9101), or what was pushed beforehand (RFC 9126).

use std::sync::Arc;

use url::Url;

use super::session::Browser;
use super::{Error, Result, Server, client_keys, clients};
use crate::outbound::Share;
use crate::protocol::authorize::{self, AuthorizeError};
use crate::protocol::client::Client;
use crate::protocol::jwt;
use crate::protocol::params::Params;
use crate::protocol::redirect::Redirect;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::request_object::{self, Form, invalid_object};
use crate::protocol::secret::Secret;

/// A request whose parameters are known.
pub struct Arrived {
    /// Who asks.
    pub client: Arc<Client>,
    /// What is asked; no `request` or `request_uri` is among it.
    pub params: Params,
    /// The digest of the pushed request that it is.
    pub pushed: Option<String>,
}

/// Why the parameters cannot be known.
pub enum Lost {
    /// Nobody can be told but the user.
    Page(Error),
    /// The client can be told.
    Redirect(Arc<Client>, Box<Redirect>, Refusal),
}

/// Reads a request that a browser brought.
#[tracing::instrument(target = "otel", name = "flow.intake", skip_all)]
pub async fn arrived(
    server: &Server,
    browser: &Browser,
    params: &Params,
) -> std::result::Result<Arrived, Lost> {
    let address = browser.caller.address();
    let client = async {
        let id = params.need("client_id")?;
        clients::find(server, id, address).await
    };
    let client = client.await.map_err(Lost::Page)?;
    let read = async {
        let (params, pushed) = match Form::of(params)? {
            Form::Pushed(reference) => open(server, browser, &client, reference).await?,
            _ => (unpack(server, &client, params, address).await?, None),
        };
        if client.must_push() && pushed.is_none() {
            return Err(must_push().into());
        }
        Ok((params, pushed))
    };
    match read.await {
        Ok((params, pushed)) => Ok(Arrived {
            client,
            params,
            pushed,
        }),
        Err(Error::Refused(refusal)) => Err(place(server, client, params, *refusal)),
        Err(error) => Err(Lost::Page(error)),
    }
}

/// Where the refusal goes: to the client, when the plain parameters name a redirect URI of its own.
fn place(server: &Server, client: Arc<Client>, params: &Params, refusal: Refusal) -> Lost {
    let named = params.get("redirect_uri").is_some();
    match authorize::redirect(params, &client, server.config.features) {
        Ok(redirect) if named => Lost::Redirect(client, Box::new(redirect), refusal),
        Err(AuthorizeError::Redirect(redirect, _)) if named => {
            Lost::Redirect(client, redirect, refusal)
        }
        _ => Lost::Page(refusal.into()),
    }
}

fn must_push() -> Refusal {
    invalid_request("this client must push its authorization requests (RFC 9126)")
        .setting("clients.require_pushed_authorization_requests")
}

/// The parameters of a request that was not pushed, or that is being pushed: those of its request object, if there is one.
/// `address` is the caller's.
pub async fn unpack(
    server: &Server,
    client: &Client,
    params: &Params,
    address: &str,
) -> Result<Params> {
    let on = server.config.features;
    let object = match Form::of(params)? {
        Form::Plain if client.must_sign_requests() => {
            return Err(invalid_request(
                "this client must sign its authorization requests (RFC 9101)",
            )
            .setting("clients.require_signed_request_object")
            .into());
        }
        Form::Plain => return Ok(params.clone()),
        Form::Object(object) if on.request_objects => object.to_owned(),
        Form::Object(_) => {
            return Err(
                Refusal::new(Code::RequestNotSupported, "request is not supported")
                    .setting("features.request_objects")
                    .into(),
            );
        }
        Form::Uri(uri) if on.request_uris => fetch(server, client, uri, address).await?,
        Form::Uri(_) | Form::Pushed(_) => {
            let why = "request_uri is not supported";
            return Err(Refusal::new(Code::RequestUriNotSupported, why)
                .setting("features.request_uris")
                .into());
        }
    };
    let (header, claims) = verified(server, client, &object, address).await?;
    let issuer = server.config.issuer.as_str();
    let now = server.now();
    Ok(request_object::accept(
        client, &header, &claims, issuer, now,
    )?)
}

/// Header and claims of a request object, once its signature was found to be the client's.
pub(super) async fn verified(
    server: &Server,
    client: &Client,
    object: &str,
    address: &str,
) -> Result<(jwt::Header, jwt::Claims)> {
    let opened = if server.config.features.encryption && is_encrypted(object) {
        Some(server.keys.decrypt(object).map_err(invalid_object)?)
    } else {
        None
    };
    let object = opened.as_deref().unwrap_or(object);
    let keys = client
        .key_source()
        .ok_or_else(|| invalid_object("the client has no keys").setting("clients.jwks"))?;
    let kid = jwt::kid_of(object);
    let keys = client_keys::keys(server, client, keys, kid.as_deref(), address)
        .await
        .map_err(of_the_object)?;
    Ok(keys.verify(object).map_err(invalid_object)?)
}

/// A JWE has five parts (RFC 7516 §3.1), a JWS three.
fn is_encrypted(object: &str) -> bool {
    object.split('.').count() == 5
}

/// Keys that cannot be had are no failed client authentication here.
fn of_the_object(error: Error) -> Error {
    match error {
        Error::Refused(refusal) if refusal.code == Code::InvalidClient => {
            invalid_object(refusal.description).into()
        }
        error => error,
    }
}

/// The request object behind one of the client's `request_uris` (OIDC Core §6.2).
async fn fetch(server: &Server, client: &Client, uri: &str, address: &str) -> Result<String> {
    let refuse = |why: String| Refusal::new(Code::InvalidRequestUri, format!("request_uri: {why}"));
    let bare = |uri: &str| uri.split('#').next().unwrap_or_default().to_owned();
    let registered = client.metadata.request_uris.iter();
    if !registered.clone().any(|known| bare(known) == bare(uri)) {
        return Err(refuse("is not among the client's request_uris".into())
            .setting("clients.request_uris")
            .into());
    }
    let url = Url::parse(&bare(uri)).map_err(|why| refuse(why.to_string()))?;
    let share = if client.origin.is_operators() {
        Share::Known
    } else {
        Share::Strangers(address)
    };
    let fetched = server.outbound.get_jwt(&url, share, server.now()).await;
    let fetched = fetched.map_err(|error| refuse(error.why))?;
    let text = String::from_utf8(fetched.body).map_err(|_| refuse("is not text".into()))?;
    Ok(text.trim().to_owned())
}

/// Opens a pushed request in this browser.
async fn open(
    server: &Server,
    browser: &Browser,
    client: &Client,
    reference: &str,
) -> Result<(Params, Option<String>)> {
    let digest = Secret::presented(reference).digest().as_str().to_owned();
    let browser = browser.secret.digest().as_str().to_owned();
    let opened = server
        .store
        .open_pushed(digest.clone(), client.id.clone(), browser, server.now())
        .await?;
    let Some(query) = opened else {
        return Err(Refusal::new(
            Code::InvalidRequestUri,
            "request_uri is unknown, has expired, was used before or is another client's (RFC 9126 4)",
        )
        .into());
    };
    Ok((Params::from_form(query.as_bytes())?, Some(digest)))
}
