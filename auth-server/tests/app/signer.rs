//! A client's own key: the public half for its metadata, and what it signs.

use josekit::jws::{ES256, JwsHeader};
use serde_json::{Value, json};

/// An ES256 key with the id `k1`.
pub(crate) struct Signer {
    pem: Vec<u8>,
    /// The public key set.
    pub(crate) jwks: Value,
}

impl Signer {
    pub(crate) fn new() -> Signer {
        let pair = ES256.generate_key_pair().unwrap();
        let public = pair.to_jwk_public_key();
        let member = |name: &str| public.parameter(name).unwrap().clone();
        let key =
            json!({"kty": "EC", "crv": "P-256", "x": member("x"), "y": member("y"), "kid": "k1"});
        Signer {
            pem: pair.to_pem_private_key(),
            jwks: json!({"keys": [key]}),
        }
    }

    /// The key set as a line of a client's table.
    pub(crate) fn line(&self) -> String {
        let key = &self.jwks["keys"][0];
        format!(
            "jwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", x = {}, y = {}, kid = \"k1\" }}] }}\n",
            key["x"], key["y"]
        )
    }

    /// A compact JWS.
    pub(crate) fn sign(&self, typ: Option<&str>, claims: &Value) -> String {
        let mut header = JwsHeader::new();
        header.set_key_id("k1");
        if let Some(typ) = typ {
            header.set_token_type(typ);
        }
        let signer = ES256.signer_from_pem(&self.pem).unwrap();
        josekit::jws::serialize_compact(claims.to_string().as_bytes(), &header, &signer).unwrap()
    }
}
