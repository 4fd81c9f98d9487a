//! DPoP proofs: made for another request, none is accepted.

use auth_server::protocol::dpop::{self, Asked};

pub(crate) fn check(input: &str) {
    let urls = |host: &str| vec![format!("https://{host}.example.com/token")];
    let (ours, others) = (urls("as"), urls("other"));
    let asked = Asked {
        method: "POST",
        urls: &ours,
        access_token: None,
        now: 1_795_219_200,
    };
    if let Ok(proof) = dpop::check(input, &asked) {
        assert_eq!(proof.thumbprint.len(), 43);
        let elsewhere = Asked {
            urls: &others,
            ..asked
        };
        assert!(dpop::check(input, &elsewhere).is_err());
    }
}
