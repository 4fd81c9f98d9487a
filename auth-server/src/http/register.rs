//! `/register`: clients register themselves and manage what they registered.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use super::error::Error;
use super::extract::{self, Bearer};
use crate::flow::{self, Server};
use crate::protocol::event::Caller;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::register;

/// `POST /register` (RFC 7591 §3.1)
pub(crate) async fn create(
    State(server): State<Server>,
    caller: Caller,
    Object(object): Object,
) -> Result<(StatusCode, Json<Value>), Error> {
    let answer = flow::register::create(&server, object, &caller).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `GET /register/{client_id}` (RFC 7592 §2.1)
pub(crate) async fn read(
    State(server): State<Server>,
    caller: Caller,
    ClientId(id): ClientId,
    Bearer(token): Bearer,
) -> Result<Json<Value>, Error> {
    let answer = flow::register::read(&server, &id, &token, &caller).await?;
    Ok(Json(answer))
}

/// `PUT /register/{client_id}` (RFC 7592 §2.2)
pub(crate) async fn update(
    State(server): State<Server>,
    caller: Caller,
    ClientId(id): ClientId,
    Update { token, object }: Update,
) -> Result<Json<Value>, Error> {
    let answer = flow::register::update(&server, &id, &token, object, &caller).await?;
    Ok(Json(answer))
}

/// `DELETE /register/{client_id}` (RFC 7592 §2.3)
pub(crate) async fn delete(
    State(server): State<Server>,
    caller: Caller,
    ClientId(id): ClientId,
    Bearer(token): Bearer,
) -> Result<StatusCode, Error> {
    flow::register::delete(&server, &id, &token, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The client id in the path. NUL stands in no id, and PostgreSQL does not compare it.
pub(crate) struct ClientId(String);

impl FromRequestParts<Server> for ClientId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<ClientId, Error> {
        let malformed = || invalid_request("the path holds no client id");
        let Path(id) = Path::<String>::from_request_parts(parts, server)
            .await
            .map_err(|_| malformed())?;
        if id.contains('\0') {
            return Err(malformed().into());
        }
        Ok(ClientId(id))
    }
}

/// A JSON object, sent as such, at most 64 KiB.
pub(crate) struct Object(Map<String, Value>);

impl FromRequest<Server> for Object {
    type Rejection = Error;

    async fn from_request(request: Request, _: &Server) -> Result<Object, Error> {
        let kind = extract::media_type(request.headers());
        if kind.as_deref() != Some("application/json") {
            let why = "Content-Type must be application/json";
            return Err(Refusal::new(Code::InvalidClientMetadata, why)
                .with_status(415)
                .into());
        }
        Ok(Object(register::object(&extract::bytes(request).await?)?))
    }
}

/// New metadata, with the registration access token that is asked for before the body is read.
pub(crate) struct Update {
    token: String,
    object: Map<String, Value>,
}

impl FromRequest<Server> for Update {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Server) -> Result<Update, Response> {
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts.clone(), Body::empty());
        let Bearer(token) = Bearer::from_request(head, server).await?;
        let Object(object) = Object::from_request(Request::from_parts(parts, body), server)
            .await
            .map_err(Error::into_response)?;
        Ok(Update { token, object })
    }
}
