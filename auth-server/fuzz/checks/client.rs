//! Registrations: what is accepted once is accepted again, unchanged.

use auth_server::protocol::client::{Client, Origin};
use auth_server::protocol::register;

pub(crate) fn check(input: &[u8]) {
    let Ok(metadata) = register::object(input).and_then(register::metadata) else {
        return;
    };
    for origin in [Origin::Dynamic, Origin::Operator] {
        let Ok(accepted) = Client::accept(metadata.clone(), origin) else {
            continue;
        };
        match Client::accept(accepted.metadata.clone(), origin) {
            Ok(again) => assert_eq!(again.metadata, accepted.metadata),
            Err(refusal) => panic!("accepted, then refused: {}", refusal.description),
        }
        let _ = (register::likeness(&accepted.metadata), accepted.is_native());
    }
}
