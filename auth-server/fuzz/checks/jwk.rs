//! Key sets: the cheap check refuses nothing that the full one accepts, and what is accepted verifies nothing unsigned.

use auth_server::protocol::jwt::{Enc, Encryption, KeyAlg, PublicKeys};

pub(crate) fn check(input: &[u8]) {
    let Ok(jwks) = serde_json::from_slice(input) else {
        return;
    };
    let Ok(keys) = PublicKeys::parse(&jwks) else {
        return;
    };
    assert!(PublicKeys::check(&jwks).is_ok());
    for head in [
        "eyJhbGciOiJub25lIn0",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJFUzI1NiJ9",
    ] {
        assert!(keys.verify(&format!("{head}.e30.")).is_err());
    }
    for alg in KeyAlg::ALL {
        let _ = keys.encrypt(
            Encryption {
                alg,
                enc: Enc::A128Gcm,
            },
            "a.b.c",
        );
    }
}
