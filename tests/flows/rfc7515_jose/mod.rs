//! RFC 7515 and RFC 7516, JSON Web Signature and Encryption: the examples of their appendices. Those with algorithms that this
//! server never takes are refused, here and where a client could send them.

use anyhow::{Result, anyhow, ensure};
use auth_server::protocol::jwt::{Encrypted, PublicKeys};
use serde_json::{Value, json};

use super::relying_party::{REDIRECT_URI, RelyingParty, toml};
use super::wire::unfold;
use crate::browser::Browser;
use crate::world::{Setup, World};

/// RFC 7515 A.2
const RS256: &str = include_str!("rs256.jwt");
const RS256_KEY: &str = include_str!("rs256.json");
/// RFC 7515 A.3
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.
    DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7515 A.1: a secret of both sides is no public key.
const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// RFC 7515 A.4: another curve than the one of ES256.
const ES512: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.
    AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjEqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
/// RFC 7515 A.5: nobody's word.
const NONE: &str = "eyJhbGciOiJub25lIn0.
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
/// RFC 7516 A.2: RSAES-PKCS1-v1_5 answers to whoever asks a million times (RFC 8725 §3.2).
const RSA1_5: &str = include_str!("rsa1_5.jwe");

/// The keys of A.2 and A.3, the secret of A.1, as one set.
fn keys() -> Result<Value> {
    let rsa: Value = serde_json::from_str(RS256_KEY)?;
    Ok(json!({"keys": [
        rsa,
        {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
    ]}))
}

#[test]
fn rs256_and_es256_are_verified_and_the_other_examples_refused() -> Result<()> {
    let keys = PublicKeys::parse(&keys()?).map_err(|why| anyhow!("{why}"))?;
    for good in [RS256, ES256] {
        let (_, claims) = keys.verify(&unfold(good)).map_err(|why| anyhow!("{why}"))?;
        ensure!(
            claims["iss"] == "joe" && claims["exp"] == 1_300_819_380,
            "{claims:?}"
        );
        ensure!(claims["http://example.com/is_root"] == true, "{claims:?}");
    }
    for bad in [HS256, ES512, NONE] {
        ensure!(keys.verify(&unfold(bad)).is_err(), "{bad}");
    }
    let why = Encrypted::parse(&unfold(RSA1_5))
        .err()
        .map(|why| why.to_string());
    ensure!(why.is_some_and(|why| why.contains("alg must be one of")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_in_them_is_refused_as_a_request_and_never_advertised() -> Result<()> {
    let own = keys()?;
    let public = toml(&json!({"keys": [own["keys"][0], own["keys"][1]]}))?;
    let more = format!(
        "[features]\nencryption = true\n[[clients]]\nid = \"joe\"\nsecret_file = \"robot\"\nredirect_uris = [\"{REDIRECT_URI}\"]\njwks = {public}\n"
    );
    let world = World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await?;
    let joe = RelyingParty::confidential(&world, "joe");
    // The good ones are joe's, and expired in 2011.
    for object in [RS256, ES256, HS256, ES512, NONE, RSA1_5] {
        let object = unfold(object);
        let answer = joe
            .silently(&mut Browser::new(), &[("request", &object)])
            .await?;
        ensure!(answer == "invalid_request_object", "{object}: {answer}");
    }
    let metadata = world.metadata.to_string();
    ensure!(metadata.contains("RSA-OAEP"), "{metadata}");
    for never in ["\"RSA1_5\"", "\"HS512\"", "\"ES512\""] {
        ensure!(!metadata.contains(never), "{never} in {metadata}");
    }
    for name in [
        "id_token",
        "userinfo",
        "request_object",
        "authorization",
        "introspection",
    ] {
        let algs = &world.metadata[format!("{name}_signing_alg_values_supported")];
        ensure!(!algs.to_string().contains("\"none\""), "{name}: {algs}");
    }
    Ok(())
}
