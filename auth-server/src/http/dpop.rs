//! DPoP on the wire (RFC 9449): the header of a proof, the scheme of an access token, challenges and nonces.

use axum::Router;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::certificate;
use super::error::{Error, Refused};
use super::extract::{Bearer, authorization};
use crate::flow::Server;
use crate::flow::sender::{AccessToken, Scheme, Shown};
use crate::protocol::dpop::Nonces;
use crate::protocol::jwt::Alg;
use crate::protocol::refusal::{Code, Refusal};

const DPOP: HeaderName = HeaderName::from_static("dpop");
/// RFC 9449 §8.1
pub(crate) const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What a request shows of the key of its sender.
pub(crate) fn shown(request: &Request, server: &Server) -> Result<Shown, Refusal> {
    // A value that is no text is no proof, but it was sent.
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    Ok(Shown {
        proofs: request.headers().get_all(DPOP).iter().map(text).collect(),
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        certificate: certificate::of(request, server)?,
    })
}

impl FromRequest<Server> for AccessToken {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Server) -> Result<AccessToken, Response> {
        let shown =
            shown(&request, server).map_err(|refusal| Error::from(refusal).into_response())?;
        let on = server.config.features.dpop;
        match authorization(request.headers(), "dpop") {
            Ok(Some(text)) if on => {
                return Ok(AccessToken {
                    text,
                    scheme: Scheme::Dpop,
                    shown,
                });
            }
            Ok(_) => {}
            Err(refusal) => return Err(Error::from(refusal).into_response()),
        }
        match Bearer::from_request(request, server).await {
            Ok(Bearer(text)) => Ok(AccessToken {
                text,
                scheme: Scheme::Bearer,
                shown,
            }),
            Err(response) => Err(challenge(server, Scheme::Bearer, response)),
        }
    }
}

/// An error for who sent an access token: who used DPoP is challenged with it, everybody else hears of it (RFC 9449 §7.1,
/// §7.2).
pub(crate) fn challenge(server: &Server, used: Scheme, mut response: Response) -> Response {
    let Some(Refused(refusal)) = response.extensions().get().cloned() else {
        return response;
    };
    let algs = Alg::ALL.map(Alg::as_str).join(" ");
    let value = match (used, refusal.code) {
        (Scheme::Dpop, Code::InvalidDpopProof | Code::UseDpopNonce) => {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            dpop_challenge(&refusal, &algs)
        }
        (Scheme::Dpop, Code::InvalidToken | Code::InsufficientScope) => {
            response.headers_mut().remove(header::WWW_AUTHENTICATE);
            dpop_challenge(&refusal, &algs)
        }
        (Scheme::Bearer, Code::InvalidToken) if server.config.features.dpop => {
            format!("DPoP algs=\"{algs}\"")
        }
        _ => return response,
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        let headers = response.headers_mut();
        headers.append(header::WWW_AUTHENTICATE, value);
    }
    response
}

fn dpop_challenge(refusal: &Refusal, algs: &str) -> String {
    format!(
        "DPoP error=\"{}\", error_description=\"{}\", algs=\"{algs}\"",
        refusal.code.as_str(),
        refusal.description
    )
}

/// Gives out nonces where they are needed.
pub(crate) fn nonces(router: Router<Server>, server: &Server) -> Router<Server> {
    let features = server.config.features;
    if !(features.dpop && features.dpop_nonces) {
        return router;
    }
    router.layer(from_fn_with_state(server.clone(), give))
}

async fn give(State(server): State<Server>, request: Request, next: Next) -> Response {
    let asks = request.method() != Method::OPTIONS;
    let mut response = next.run(request).await;
    let nonce = Nonces(&server.derivation).current(server.now());
    if asks && let Ok(value) = HeaderValue::from_str(&nonce) {
        response.headers_mut().insert(NONCE, value);
    }
    response
}
