//! The claims of a request object, whose signature was right: what is accepted names no other client and no further object.

use auth_server::protocol::client::{Client, Metadata, Origin};
use auth_server::protocol::request_object::accept;
use serde_json::{Map, Value};

const CLIENT: &str = "c";

fn client() -> Option<Client> {
    let metadata = Metadata {
        redirect_uris: vec!["https://c.example/cb".into()],
        token_endpoint_auth_method: Some("none".into()),
        ..Metadata::default()
    };
    let accepted = Client::accept(metadata, Origin::Static).ok()?;
    accepted
        .into_client(CLIENT.into(), Origin::Static, None)
        .ok()
}

pub(crate) fn check(input: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(input) else {
        return;
    };
    let Some(client) = client() else {
        panic!("the client is no client")
    };
    let issuer = "https://as.example.com";
    let accepted = accept(&client, &Map::new(), &claims, issuer, 1_795_219_200);
    if let Ok(params) = accepted {
        assert_eq!(params.get("client_id"), Some(CLIENT));
        assert!(params.get("request").is_none() && params.get("request_uri").is_none());
    }
}
