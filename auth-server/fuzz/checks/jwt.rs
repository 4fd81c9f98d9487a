//! Signed tokens, against keys of every algorithm: nothing unsigned is ever accepted.

use std::sync::LazyLock;

use auth_server::protocol::jwt::{self, Alg, KeyUse, PrivateKey, PublicKeys};
use serde_json::{Value, json};

/// Keys whose private halves are not in the corpus.
static KEYS: LazyLock<PublicKeys> = LazyLock::new(|| {
    let jwks: Vec<Value> = Alg::ALL
        .into_iter()
        .filter_map(|alg| PrivateKey::make(KeyUse::Sign(alg), [41; 32]).ok())
        .filter_map(|key| key.into_signing_key().ok()?)
        .map(|key| key.jwk)
        .collect();
    match PublicKeys::parse(&json!({"keys": jwks})) {
        Ok(keys) => keys,
        Err(why) => panic!("{why}"),
    }
});

pub(crate) fn check(input: &str) {
    let _ = (jwt::kid_of(input), jwt::unverified_claims(input));
    assert!(
        KEYS.verify(input).is_err(),
        "a token that nobody signed: {input}"
    );
}
