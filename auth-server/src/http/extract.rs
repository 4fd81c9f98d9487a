//! Extractors are proofs: a handler that takes one of these types relies on what was checked here.
//!
//! | type | proves |
//! |---|---|
//! | [`Query`] | the query string was read as [`Params`] |
//! | [`Body`] | the body was read as [`Params`]: form or JSON, at most 64 KiB |
//! | [`Accepts`] | nothing: it says what kinds of answers the caller takes |
//! | [`FromClient`] | the client authenticated |
//! | [`Visitor`] | the browser's cookies were read, its session is alive |
//! | [`Posted`] | a form of ours came from this browser: its CSRF token is right |
//! | [`Bearer`] | a bearer token was sent in the header, or in the form |
//! | [`AccessToken`](crate::flow::sender::AccessToken) | an access token was sent, by either scheme |
//! | [`Caller`] | nothing: it says where the request came from |

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dpop;
use super::error::Error;
use super::layers::RequestId;
use crate::flow::client_auth::{self, Authenticated, Presented};
use crate::flow::session::{self, Browser};
use crate::flow::{self, Server};
use crate::protocol::event::Caller;
use crate::protocol::network;
use crate::protocol::params::Params;
use crate::protocol::refusal::{Code, Refusal, invalid_client, invalid_request};
use crate::protocol::token::TokenRequest;

/// Largest request body, in bytes.
pub(crate) const LARGEST_BODY: usize = 64 * 1024;

/// The parameters of the query string.
pub(crate) struct Query(pub(crate) Params);

impl FromRequestParts<Server> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Server) -> Result<Query, Error> {
        Ok(Query(Params::from_form(
            parts.uri.query().unwrap_or_default().as_bytes(),
        )?))
    }
}

/// The parameters of a form or JSON body.
pub(crate) struct Body(pub(crate) Params);

impl FromRequest<Server> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, _: &Server) -> Result<Body, Error> {
        let kind = media_type(request.headers());
        let read = match kind.as_deref() {
            Some("application/x-www-form-urlencoded") => Params::from_form,
            Some("application/json") => Params::from_json,
            _ => {
                return Err(wrong_media_type(
                    "application/x-www-form-urlencoded or application/json",
                )
                .into());
            }
        };
        Ok(Body(read(&bytes(request).await?)?))
    }
}

/// The media types that the caller accepts by name, in lower case.
pub(crate) struct Accepts(pub(crate) Vec<String>);

impl FromRequestParts<Server> for Accepts {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Server) -> Result<Accepts, Infallible> {
        let headers = parts.headers.get_all(header::ACCEPT).iter();
        let ranges = headers
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let kinds = ranges.filter_map(|range| range.split(';').next());
        Ok(Accepts(
            kinds.map(|kind| kind.trim().to_ascii_lowercase()).collect(),
        ))
    }
}

/// The whole body, at most [`LARGEST_BODY`].
pub(crate) async fn bytes(request: Request) -> Result<Bytes, Error> {
    axum::body::to_bytes(request.into_body(), LARGEST_BODY)
        .await
        .map_err(|e| {
            invalid_request(format!(
                "the body is larger than {LARGEST_BODY} bytes or was cut off"
            ))
            .with_status(413)
            .because(e)
            .into()
        })
}

/// The media type in lower case, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(
        value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
    )
}

pub(crate) fn wrong_media_type(wanted: &str) -> Refusal {
    invalid_request(format!("Content-Type must be {wanted}")).with_status(415)
}

/// An authenticated client with its request.
pub(crate) struct FromClient {
    pub(crate) asker: Authenticated,
    pub(crate) params: Params,
}

impl FromRequest<Server> for FromClient {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Server) -> Result<FromClient, Response> {
        let basic = basic(request.headers());
        let caller = caller(request.headers(), request.extensions(), server);
        let used_basic = !matches!(basic, Ok(None));
        let shown = dpop::shown(&request, server);
        let authenticated = async {
            let basic = basic?;
            let Body(params) = Body::from_request(request, server).await?;
            params.refuse_repeats()?;
            let presented = Presented {
                basic,
                params,
                shown: shown?,
            };
            let asker = client_auth::authenticate(server, &presented, caller).await?;
            Ok(FromClient {
                asker,
                params: presented.params,
            })
        };
        authenticated
            .await
            .map_err(|error: Error| challenge(error, used_basic))
    }
}

/// RFC 6749 §5.2: a client that used Basic is told so by `WWW-Authenticate`.
fn challenge(error: Error, used_basic: bool) -> Response {
    let refused =
        matches!(&error.0, flow::Error::Refused(refusal) if refusal.code == Code::InvalidClient);
    let mut response = error.into_response();
    if refused && used_basic {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"token endpoint\", charset=\"UTF-8\""),
        );
    }
    response
}

/// The parts of `Authorization: Basic`, percent-decoded (RFC 6749 §2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, Error> {
    let Some(credentials) = authorization(headers, "basic")? else {
        return Ok(None);
    };
    let malformed = || invalid_client("the Authorization header is not valid Basic (RFC 7617)");
    let decoded = STANDARD
        .decode(credentials)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(malformed)?;
    let (id, secret) = decoded.split_once(':').ok_or_else(malformed)?;
    Ok(Some((form_decoded(id), form_decoded(secret))))
}

fn form_decoded(text: &str) -> String {
    // One pair without a name: the decoder undoes `+` and `%XX` in the value.
    let pair = format!("={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

/// The credentials of the one `Authorization` header, when its scheme is `scheme`.
pub(crate) fn authorization(headers: &HeaderMap, scheme: &str) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid_request(
            "the Authorization header stands more than once",
        ));
    }
    let text = value.to_str().unwrap_or_default();
    Ok(text
        .split_once(' ')
        .filter(|(name, _)| name.eq_ignore_ascii_case(scheme))
        .map(|(_, credentials)| credentials.trim().to_owned()))
}

/// An authenticated client's token request.
pub(crate) struct FromClientToken {
    pub(crate) asker: Authenticated,
    pub(crate) request: TokenRequest,
}

impl FromRequest<Server> for FromClientToken {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Server) -> Result<FromClientToken, Response> {
        let FromClient { asker, params } = FromClient::from_request(request, server).await?;
        let request = TokenRequest::parse(&params, server.config.features)
            .map_err(|refusal| Error::from(refusal).into_response())?;
        Ok(FromClientToken { asker, request })
    }
}

/// A browser with its cookies.
pub(crate) struct Visitor(pub(crate) Browser);

impl FromRequestParts<Server> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Visitor, Error> {
        let cookies = super::cookies::Names::of(server);
        let caller = caller(&parts.headers, &parts.extensions, server);
        let read = |name| super::cookies::read(&parts.headers, name);
        Ok(Visitor(
            session::load(
                server,
                read(cookies.browser).as_deref(),
                read(cookies.session).as_deref(),
                read(cookies.device),
                caller,
            )
            .await?,
        ))
    }
}

/// A form that our own page sent.
pub(crate) struct Posted {
    pub(crate) browser: Browser,
    pub(crate) form: Params,
}

impl FromRequest<Server> for Posted {
    type Rejection = Error;

    async fn from_request(request: Request, server: &Server) -> Result<Posted, Error> {
        let (mut parts, body) = request.into_parts();
        let Visitor(browser) = Visitor::from_request_parts(&mut parts, server).await?;
        if media_type(&parts.headers).as_deref() != Some("application/x-www-form-urlencoded") {
            return Err(wrong_media_type("application/x-www-form-urlencoded").into());
        }
        let form = Params::from_form(&bytes(Request::from_parts(parts, body)).await?)?;
        form.refuse_repeats()?;
        browser.check_csrf(server, form.get("csrf"))?;
        Ok(Posted { browser, form })
    }
}

/// A bearer token, from the header or, in a form, the parameter `access_token` (RFC 6750 §2.1, §2.2); never the query.
pub(crate) struct Bearer(pub(crate) String);

impl FromRequest<Server> for Bearer {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Server) -> Result<Bearer, Response> {
        match authorization(request.headers(), "bearer") {
            Ok(Some(token)) => return Ok(Bearer(token)),
            Err(refusal) => return Err(Error::from(refusal).into_response()),
            Ok(None) => {}
        }
        if request.method() == Method::POST
            && media_type(request.headers())
                .is_some_and(|kind| kind == "application/x-www-form-urlencoded")
        {
            let Body(params) = Body::from_request(request, server)
                .await
                .map_err(Error::into_response)?;
            if let Some(token) = params
                .once("access_token")
                .map_err(|refusal| Error::from(refusal).into_response())?
            {
                return Ok(Bearer(token.to_owned()));
            }
        }
        // RFC 6750 §3.1: without credentials the challenge carries no error code.
        let mut response =
            Error::from(Refusal::new(Code::InvalidToken, "a bearer token is needed"))
                .into_response();
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Err(response)
    }
}

impl FromRequestParts<Server> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Caller, Infallible> {
        Ok(caller(&parts.headers, &parts.extensions, server))
    }
}

fn caller(headers: &HeaderMap, extensions: &Extensions, server: &Server) -> Caller {
    let id = extensions.get::<RequestId>();
    Caller::Request {
        address: address(headers, extensions, server),
        id: id.map(|id| id.0.clone()).unwrap_or_default(),
    }
}

/// The caller's address, as [`network::caller`].
pub(crate) fn address(headers: &HeaderMap, extensions: &Extensions, server: &Server) -> String {
    let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<SocketAddr>>() else {
        return "unknown".into();
    };
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        // A header that is no text still stands for a hop that cannot be read.
        .flat_map(|value| value.to_str().unwrap_or("unreadable").split(','))
        .collect();
    network::caller(
        peer.ip(),
        forwarded.into_iter(),
        &server.config.trusted_proxies,
    )
    .to_string()
}
