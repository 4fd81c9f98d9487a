//! What holds for every token and every key set, however they were made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Alg, Enc, Encrypted, Encryption, KeyAlg, KeyUse, PrivateKey, PublicKeys, SigningKey, kid_of,
    unverified_claims, verify_embedded, verify_shared,
};

fn signing(alg: Alg) -> SigningKey {
    let private = PrivateKey::make(KeyUse::Sign(alg), [7; 32]).unwrap();
    private.into_signing_key().unwrap().unwrap()
}

/// Somebody with a key for each algorithm, and a token of each.
fn everything() -> (PublicKeys, Vec<String>) {
    let keys: Vec<SigningKey> = Alg::ALL.into_iter().map(signing).collect();
    let claims = json!({"sub": "a", "exp": 9}).as_object().unwrap().clone();
    let tokens = keys.iter().map(|key| key.sign("JWT", &claims).unwrap());
    let jwks: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
    let set = PublicKeys::parse(&json!({"keys": jwks})).unwrap();
    (set, tokens.collect())
}

/// `alg` of a header: what we know, what we refuse, and what looks like either.
fn alg() -> impl Strategy<Value = Value> {
    let known = [
        "ES256", "RS256", "PS256", "EdDSA", "HS256", "none", "None", "nOnE", "",
    ];
    prop_oneof![
        proptest::sample::select(known.to_vec()).prop_map(|alg| json!(alg)),
        "[A-Za-z0-9]{1,6}".prop_map(|alg| json!(alg)),
        Just(Value::Null),
        Just(json!(256)),
        Just(json!(["ES256"])),
    ]
}

/// A member of a JWK: sometimes what belongs there, sometimes anything.
fn member() -> impl Strategy<Value = (String, Value)> {
    let names = [
        "kty", "crv", "x", "y", "n", "e", "d", "k", "alg", "use", "kid", "key_ops", "x5c",
    ];
    let words = [
        "EC", "RSA", "OKP", "oct", "P-256", "P-384", "P-521", "Ed25519", "X25519", "AQAB", "sig",
        "enc", "ES256", "RS256", "RSA-OAEP", "ECDH-ES", "",
    ];
    let value = prop_oneof![
        4 => proptest::sample::select(words.to_vec()).prop_map(|word| json!(word)),
        4 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| json!(URL_SAFE_NO_PAD.encode(bytes))),
        1 => any::<String>().prop_map(|text| json!(text)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => Just(json!(["verify"])),
        1 => Just(Value::Null),
    ];
    (proptest::sample::select(names.to_vec()), value)
        .prop_map(|(name, value)| (name.to_owned(), value))
}

/// A JWK that is nearly one: the kind is right, the numbers are anything.
fn nearly() -> impl Strategy<Value = Value> {
    let number = |most| {
        proptest::collection::vec(any::<u8>(), 0..most)
            .prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    };
    let usage = proptest::sample::select(vec![json!("sig"), json!("enc"), Value::Null]);
    prop_oneof![
        (number(40), number(40), usage.clone()).prop_map(
            |(x, y, usage)| json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": usage})
        ),
        (number(40), usage.clone())
            .prop_map(|(x, usage)| json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": usage})),
        (number(40), usage.clone())
            .prop_map(|(x, usage)| json!({"kty": "OKP", "crv": "X25519", "x": x, "use": usage})),
        (number(1100), number(6), usage)
            .prop_map(|(n, e, usage)| json!({"kty": "RSA", "n": n, "e": e, "use": usage})),
    ]
}

fn try_everything(text: &str) {
    let _ = (kid_of(text), unverified_claims(text));
    assert!(verify_shared(text, "secret").is_err());
    if let Ok(message) = Encrypted::parse(text) {
        assert!(message.open(std::iter::empty()).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_passes_for_a_token(text in any::<String>(), dotted in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,5}") {
        let (keys, _) = everything_once();
        for text in [&text, &dotted] {
            try_everything(text);
            prop_assert!(keys.verify(text).is_err() && verify_embedded(text).is_err());
        }
    }

    #[test]
    fn no_header_makes_a_token_that_nobody_signed_pass(
        alg in alg(), typ in "[a-z+]{0,8}", kid in proptest::option::of(0_usize..4), payload in any::<String>(),
        signature in proptest::collection::vec(any::<u8>(), 0..300), claims in any::<bool>(),
    ) {
        let (keys, tokens) = everything_once();
        let kid = kid.and_then(|at| kid_of(&tokens[at]));
        let header = json!({"alg": alg, "typ": typ, "kid": kid}).to_string();
        let payload = if claims { json!({"sub": payload, "exp": 9}).to_string() } else { payload };
        let parts = [header.as_bytes(), payload.as_bytes(), &signature].map(|part| URL_SAFE_NO_PAD.encode(part));
        let token = parts.join(".");
        try_everything(&token);
        prop_assert!(keys.verify(&token).is_err());
    }

    #[test]
    fn a_token_with_any_bit_turned_is_refused(which in 0_usize..4, part in 0_usize..3, at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
        let (keys, tokens) = everything_once();
        let mut parts: Vec<Vec<u8>> = tokens[which].split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let length = parts[part].len();
        parts[part][at.index(length)] ^= 1 << bit;
        let token = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".");
        try_everything(&token);
        prop_assert!(keys.verify(&tokens[which]).is_ok());
        prop_assert!(keys.verify(&token).is_err());
    }

    #[test]
    fn no_key_set_panics_and_none_accepts_what_nobody_signed(
        wild in proptest::collection::vec(proptest::collection::vec(member(), 0..8), 0..3), close in proptest::collection::vec(nearly(), 0..3),
    ) {
        let wild = wild.into_iter().map(|members| Value::Object(members.into_iter().collect()));
        let set = json!({"keys": wild.chain(close).collect::<Vec<_>>()});
        let (_, tokens) = everything_once();
        if let Ok(keys) = PublicKeys::parse(&set) {
            prop_assert!(PublicKeys::check(&set).is_ok());
            for token in tokens {
                prop_assert!(keys.verify(token).is_err());
            }
            for alg in KeyAlg::ALL {
                let message = keys.encrypt(Encryption { alg, enc: Enc::A128Gcm }, "a.b.c");
                prop_assert_eq!(message.is_ok(), keys.takes(alg));
            }
        }
    }
}

/// Made once: RSA keys take their time.
fn everything_once() -> &'static (PublicKeys, Vec<String>) {
    static MADE: std::sync::LazyLock<(PublicKeys, Vec<String>)> =
        std::sync::LazyLock::new(everything);
    &MADE
}
