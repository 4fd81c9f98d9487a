//! Resource indicators, issuers and addresses.

use auth_server::protocol::issuer::Issuer;
use auth_server::protocol::network;
use auth_server::protocol::resource::{Resource, find};

pub(crate) fn check(input: &str) {
    let (id, requested) = input.split_once('\n').unwrap_or((input, input));
    let _ = (Issuer::parse(id), network::group(id));
    let Ok(resource) =
        serde_json::from_value::<Resource>(serde_json::json!({"id": id, "name": "", "scopes": []}))
    else {
        return;
    };
    if resource.check().is_ok() {
        let _ = resource.host();
        let registered = [resource];
        assert!(find(&registered, &[id]).is_ok());
        if let Ok(found) = find(&registered, &[requested, requested]) {
            assert_eq!(found.len(), 1);
        }
    }
}
