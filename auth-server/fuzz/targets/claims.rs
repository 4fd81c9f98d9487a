//! The parameter `claims`.
#![no_main]

use auth_server::protocol::claims_request::ClaimsRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Ok(request) = ClaimsRequest::parse(input) {
        let _ = (request.is_empty(), request.scope(), request.subject());
        let _ = request.acr();
    }
});
