//! A registered redirect URI and a requested one, a line each: what matches is the registered text but for a loopback port.
#![no_main]

use auth_server::protocol::redirect::{Redirect, RegisteredUri, ResponseMode, without_loopback_port};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (registered, requested) = input.split_once('\n').unwrap_or((input, input));
    let Ok(uri) = RegisteredUri::parse(registered) else { return };
    let _ = (uri.host(), uri.is_native(), uri.is_loopback());
    for mode in [ResponseMode::Query, ResponseMode::FormPost] {
        let found = Redirect::match_registered(
            std::slice::from_ref(&uri),
            Some(requested),
            mode,
            Some(registered),
        );
        if let Ok(redirect) = found {
            assert_eq!(redirect.uri(), requested);
            if requested != registered {
                assert!(uri.is_loopback());
                assert_eq!(without_loopback_port(requested), without_loopback_port(registered));
            }
            let _ = redirect.answer("code", "https://as.example.com");
        }
    }
});
