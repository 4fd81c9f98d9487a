//! DPoP proofs: made for another request, none is accepted.
#![no_main]

use auth_server::protocol::dpop::{Asked, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let asked = Asked {
        method: "POST",
        url: "https://as.example.com/token",
        access_token: None,
        now: 1_795_219_200,
    };
    if let Ok(proof) = check(input, &asked) {
        assert_eq!(proof.thumbprint.len(), 43);
        let elsewhere = Asked {
            url: "https://other.example.com/token",
            ..asked
        };
        assert!(check(input, &elsewhere).is_err());
    }
});
