//! Tokens that are bound to a key: B-11.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::world::{Answer, Key, World, now};

/// A client's key, and a token that is bound to it.
struct Bound {
    world: World,
    key: Key,
    token: String,
}

fn thumbprint(key: &Key) -> String {
    let member = |name: &str| key.public[name].as_str().unwrap();
    let (x, y) = (member("x"), member("y"));
    let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

fn changed(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

impl Bound {
    async fn start() -> Self {
        let world = World::start().await;
        let key = Key::new("client");
        let token = world.token_with(json!({ "cnf": { "jkt": thumbprint(&key) } }));
        Self { world, key, token }
    }

    fn proof(&self, claims: &Value) -> String {
        self.proof_by(&self.key, claims, &json!({}))
    }

    fn proof_by(&self, key: &Key, claims: &Value, header: &Value) -> String {
        let id = Key::new("").public["x"].clone();
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&self.token));
        let good = json!({
            "jti": id, "htm": "POST", "htu": self.world.resource, "iat": now(), "ath": hash,
        });
        let jwk = changed(key.public.clone(), &json!({ "kid": null }));
        let typed = json!({ "alg": "ES256", "typ": "dpop+jwt", "jwk": jwk });
        key.sign(&changed(typed, header), &changed(good, claims))
    }

    async fn send(&self, scheme: &str, token: &str, proofs: &[&str]) -> Answer {
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        let mut request = self.world.message(None, &list);
        request = request.header("authorization", format!("{scheme} {token}"));
        for proof in proofs {
            request = request.header("dpop", *proof);
        }
        self.world.send(request).await
    }
}

fn second_challenge(answer: &Answer) -> String {
    let mut lines = answer.headers.get_all("www-authenticate").iter();
    assert!(
        lines
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("Bearer ")
    );
    lines
        .next()
        .map_or_else(String::new, |line| line.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_bound_token_is_good_with_a_proof_of_its_key_once() {
    let bound = Bound::start().await;
    for scheme in ["DPoP", "dpop"] {
        let proof = bound.proof(&json!({}));
        let answer = bound.send(scheme, &bound.token, &[&proof]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let again = bound.send(scheme, &bound.token, &[&proof]).await;
        assert_eq!(again.status, 401);
        assert_eq!(again.json()["error"], "invalid_dpop_proof");
    }
    let other = bound.proof(&json!({ "htu": format!("{}?a=b#c", bound.world.resource) }));
    assert_eq!(
        bound.send("DPoP", &bound.token, &[&other]).await.status,
        200
    );
}

#[tokio::test]
async fn a_bound_token_sent_as_bearer_is_refused_also_with_a_proof() {
    let bound = Bound::start().await;
    let proof = bound.proof(&json!({}));
    for proofs in [vec![], vec![proof.as_str()]] {
        let answer = bound.send("Bearer", &bound.token, &proofs).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["error"], "invalid_token");
        assert!(second_challenge(&answer).starts_with("DPoP error=\"invalid_token\""));
    }
    let plain = bound.world.token();
    assert_eq!(bound.send("DPoP", &plain, &[&proof]).await.status, 401);
    assert_eq!(bound.send("Bearer", &plain, &[]).await.status, 200);
}

#[tokio::test]
async fn every_bad_proof_is_refused() {
    let bound = Bound::start().await;
    let claims = |changes: Value| bound.proof(&changes);
    let header = |changes: Value| bound.proof_by(&bound.key, &json!({}), &changes);
    let other = Key::new("other");
    let private = changed(bound.key.public.clone(), &json!({ "d": "AA" }));
    let long = "A".repeat(1400);
    let good = claims(json!({}));
    for (name, proof) in [
        ("nothing", String::new()),
        ("no JWT", "rubbish".to_owned()),
        ("too long", "a".repeat(9000)),
        ("cut", good[..good.len() - 2].to_owned()),
        (
            "another key",
            bound.proof_by(&other, &json!({}), &json!({})),
        ),
        ("another's jwk", header(json!({ "jwk": other.public }))),
        ("private jwk", header(json!({ "jwk": private }))),
        ("no jwk", header(json!({ "jwk": null }))),
        (
            "large jwk",
            header(json!({ "jwk": { "kty": "RSA", "n": long, "e": "AQAB" } })),
        ),
        (
            "symmetric jwk",
            header(json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AA" } })),
        ),
        ("alg none", header(json!({ "alg": "none" }))),
        ("alg of another curve", header(json!({ "alg": "ES384" }))),
        ("typ JWT", header(json!({ "typ": "JWT" }))),
        ("no typ", header(json!({ "typ": null }))),
        ("crit", header(json!({ "crit": ["b64"] }))),
        ("htm GET", claims(json!({ "htm": "GET" }))),
        ("no htm", claims(json!({ "htm": null }))),
        (
            "htu of another path",
            claims(json!({ "htu": bound.world.origin })),
        ),
        (
            "htu of another host",
            claims(json!({ "htu": "https://evil.example/mcp" })),
        ),
        ("no htu", claims(json!({ "htu": null }))),
        ("old", claims(json!({ "iat": now() - 130 }))),
        ("from the future", claims(json!({ "iat": now() + 90 }))),
        ("no iat", claims(json!({ "iat": null }))),
        ("no jti", claims(json!({ "jti": null }))),
        ("long jti", claims(json!({ "jti": "j".repeat(257) }))),
        ("no ath", claims(json!({ "ath": null }))),
        ("ath of another token", claims(json!({ "ath": "AA" }))),
    ] {
        let answer = bound.send("DPoP", &bound.token, &[&proof]).await;
        assert_eq!(answer.status, 401, "{name}");
        assert_eq!(answer.json()["error"], "invalid_dpop_proof", "{name}");
        let challenge = second_challenge(&answer);
        assert!(
            challenge.starts_with("DPoP error=\"invalid_dpop_proof\""),
            "{name}: {challenge}"
        );
    }
    let none = bound.send("DPoP", &bound.token, &[]).await;
    assert_eq!(none.json()["error"], "invalid_dpop_proof");
    let second = claims(json!({}));
    let two = bound.send("DPoP", &bound.token, &[&good, &second]).await;
    assert_eq!(two.json()["error"], "invalid_dpop_proof");
    assert_eq!(bound.send("DPoP", &bound.token, &[&good]).await.status, 200);
}
