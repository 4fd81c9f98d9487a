//! A registered redirect URI and a requested one, a line each: what matches is the registered text but for a loopback port.

use auth_server::protocol::redirect::{
    Delivery, Place, Redirect, RegisteredUri, ResponseMode, without_loopback_port,
};

pub(crate) fn check(input: &str) {
    let (registered, requested) = input.split_once('\n').unwrap_or((input, input));
    let Ok(uri) = RegisteredUri::parse(registered) else {
        return;
    };
    let _ = (uri.host(), uri.is_native(), uri.is_loopback());
    for place in [Place::Query, Place::Fragment, Place::FormPost] {
        let mode = ResponseMode {
            place,
            signed: false,
        };
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
                assert_eq!(
                    without_loopback_port(requested),
                    without_loopback_port(registered)
                );
            }
            let fields = redirect.answer("code", None, "https://as.example.com");
            if let Delivery::Location(location) = redirect.deliver(fields) {
                assert!(location.starts_with(requested));
            }
        }
    }
}
