//! The parameter `claims`.

use auth_server::protocol::claims_request::ClaimsRequest;

pub(crate) fn check(input: &str) {
    if let Ok(request) = ClaimsRequest::parse(input) {
        let _ = (request.is_empty(), request.scope(), request.subjects());
        let _ = request.acr();
    }
}
