//! rotation of the signing keys.

use auth_server::flow::keys;
use auth_server::protocol::event::Caller;
use auth_server::protocol::jwt::{Enc, Encryption, KeyAlg, PublicKeys};
use auth_server::store::StoredKey;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::world::{START, TestApp, decode};

async fn kids(app: &TestApp) -> Vec<String> {
    let jwks = app.get("/jwks.json").await.json();
    jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn signed_by(app: &TestApp) -> String {
    let answer = app
        .client("web")
        .token(&[("grant_type", "client_credentials")])
        .await
        .json();
    decode(answer["access_token"].as_str().unwrap()).0["kid"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_key_set_is_public_and_cacheable() {
    let app = TestApp::start().await;
    let answer = app.get("/jwks.json").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert_eq!(
        keys.iter()
            .map(|key| key["alg"].as_str().unwrap())
            .collect::<std::collections::BTreeSet<_>>(),
        ["ES256", "RS256"].into()
    );
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
}

#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_the_old_one_stays_until_its_tokens_ended() {
    for app in TestApp::everywhere().await {
        let old = signed_by(&app).await;
        keys::rotate(&app.server, false, &Caller::Operator)
            .await
            .unwrap();
        assert_eq!(kids(&app).await.len(), 4);
        assert_eq!(signed_by(&app).await, old, "the next key waits");
        let last = app.client("spa").tokens("scope=openid").await;
        app.wait(keys::PUBLISHED_AHEAD);
        keys::refresh(&app.server).await.unwrap();
        let new = signed_by(&app).await;
        assert_ne!(new, old);
        assert!(kids(&app).await.contains(&old));
        let still = app
            .client("web")
            .post(
                "/introspect",
                &[("token", last["refresh_token"].as_str().unwrap())],
            )
            .await;
        assert_eq!(still.status, StatusCode::OK);
        app.wait(900 + 61);
        keys::refresh(&app.server).await.unwrap();
        assert!(!kids(&app).await.contains(&old));
        assert_eq!(kids(&app).await.len(), 2);
    }
}

#[tokio::test]
async fn keys_rotate_by_themselves_when_they_are_due() {
    let app = TestApp::with("https://as.example.com", "[keys]\nrotation = \"1d\"\n").await;
    keys::rotate_when_due(&app.server).await.unwrap();
    assert_eq!(kids(&app).await.len(), 2);
    app.wait(86_400);
    for _ in 0..2 {
        keys::rotate_when_due(&app.server).await.unwrap();
        keys::refresh(&app.server).await.unwrap();
    }
    assert_eq!(kids(&app).await.len(), 4, "once, not twice");
}

/// A public client for each algorithm.
fn clients(algorithms: &[&str]) -> String {
    let client = |alg: &&str| {
        format!(
            "[[clients]]\nid = \"{alg}\"\ntoken_endpoint_auth_method = \"none\"\nredirect_uris = [\"https://app.example.com/cb\"]\n\
             id_token_signed_response_alg = \"{alg}\"\nuserinfo_signed_response_alg = \"{alg}\"\n"
        )
    };
    algorithms.iter().map(client).collect()
}

const ALL: [&str; 4] = ["PS256", "RS256", "ES256", "EdDSA"];

#[tokio::test]
async fn every_algorithm_has_a_key_of_its_own_and_signs_what_a_client_asks_for() {
    let more = format!(
        "[keys]\nalgorithms = [\"PS256\", \"RS256\", \"ES256\", \"EdDSA\"]\n{}",
        clients(&ALL)
    );
    for app in TestApp::everywhere_with(&more).await {
        let metadata = app.get("/.well-known/openid-configuration").await.json();
        for of in ["id_token", "userinfo"] {
            assert_eq!(
                metadata[format!("{of}_signing_alg_values_supported")],
                json!(ALL)
            );
        }
        let jwks = app.get("/jwks.json").await.json();
        let keys = PublicKeys::parse(&jwks).unwrap();
        for alg in ALL {
            let tokens = app.client(alg).tokens("scope=openid").await;
            let id_token = tokens["id_token"].as_str().unwrap();
            let (header, claims) = keys.verify(id_token).unwrap();
            assert_eq!(header["alg"], alg);
            let access = tokens["access_token"].as_str().unwrap();
            let half = if alg == "EdDSA" { 43 } else { 22 };
            assert_eq!(claims["at_hash"].as_str().unwrap().len(), half);
            assert_eq!(decode(access).0["alg"], "ES256");
            let request = Request::get("/userinfo")
                .header("authorization", format!("Bearer {access}"))
                .body(Body::empty())
                .unwrap();
            let (header, _) = keys.verify(app.send(request).await.text()).unwrap();
            assert_eq!(header["alg"], alg);
            let key = jwks["keys"].as_array().unwrap();
            let key = key.iter().find(|key| key["kid"] == header["kid"]).unwrap();
            assert_eq!((&key["alg"], &key["use"]), (&json!(alg), &json!("sig")));
        }
        assert_eq!(kids(&app).await.len(), 4);
        keys::rotate(&app.server, false, &Caller::Operator)
            .await
            .unwrap();
        assert_eq!(kids(&app).await.len(), 8);
    }
}

#[tokio::test]
async fn without_rs256_the_first_algorithm_takes_its_place_and_a_resource_may_want_another() {
    let more = "[keys]\nalgorithms = [\"EdDSA\", \"ES256\"]\n\
                [[resources]]\nid = \"https://fapi.example.com\"\nsigning_alg = \"EdDSA\"\nscopes = []\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let alg = |token: &Value| decode(token.as_str().unwrap()).0["alg"].clone();
    let docs = "scope=openid&resource=https://docs.example.com/mcp";
    let tokens = app.client("spa").tokens(docs).await;
    assert_eq!(alg(&tokens["id_token"]), "EdDSA");
    assert_eq!(alg(&tokens["access_token"]), "ES256");
    let fapi = "scope=openid&resource=https://fapi.example.com";
    let tokens = app.client("spa").tokens(fapi).await;
    assert_eq!(alg(&tokens["access_token"]), "EdDSA");
    let metadata =
        json!({"redirect_uris": ["https://a.example/cb"], "id_token_signed_response_alg": "PS256"});
    let request = Request::post("/register").header("content-type", "application/json");
    let request = request.body(Body::from(metadata.to_string())).unwrap();
    let answer = app.send(request).await;
    assert_eq!(answer.error(), (400, "invalid_client_metadata".to_owned()));
    assert!(answer.text().contains("EdDSA, ES256"), "{}", answer.text());
}

#[tokio::test]
async fn what_others_encrypt_to_is_published_when_every_node_has_it_and_opens_for_a_day_longer() {
    let off = TestApp::start().await;
    assert_eq!(encryption_keys(&off).await.len(), 0);
    for app in TestApp::everywhere_with("[features]\nencryption = true\n").await {
        let how = Encryption {
            alg: KeyAlg::EcdhEsA256Kw,
            enc: Enc::A256CbcHs512,
        };
        let old = encryption_keys(&app).await;
        assert_eq!(old.len(), 2);
        for key in &old {
            assert_eq!((&key["use"], &key["alg"]), (&json!("enc"), &json!(null)));
        }
        let set = PublicKeys::parse(&json!({"keys": old})).unwrap();
        let message = set.encrypt(how, "signed").unwrap();
        assert_eq!(app.server.keys.decrypt(&message).unwrap(), "signed");
        keys::rotate(&app.server, false, &Caller::Operator)
            .await
            .unwrap();
        assert_eq!(encryption_keys(&app).await, old, "the next ones wait");
        app.wait(keys::PUBLISHED_AHEAD);
        keys::refresh(&app.server).await.unwrap();
        let new = encryption_keys(&app).await;
        assert!(new.len() == 2 && new.iter().all(|key| !old.contains(key)));
        app.wait(86_399);
        keys::refresh(&app.server).await.unwrap();
        assert_eq!(app.server.keys.decrypt(&message).unwrap(), "signed");
        app.wait(1);
        keys::refresh(&app.server).await.unwrap();
        assert!(app.server.keys.decrypt(&message).is_err());
        let message = PublicKeys::parse(&json!({"keys": new}))
            .unwrap()
            .encrypt(how, "signed")
            .unwrap();
        keys::rotate(&app.server, true, &Caller::Operator)
            .await
            .unwrap();
        assert!(app.server.keys.decrypt(&message).is_err(), "withdrawn");
    }
}

async fn encryption_keys(app: &TestApp) -> Vec<Value> {
    let jwks = app.get("/jwks.json").await.json();
    let keys = jwks["keys"].as_array().unwrap().clone();
    keys.into_iter().filter(|key| key["use"] == "enc").collect()
}

#[tokio::test]
async fn a_key_of_an_algorithm_that_only_a_newer_node_knows_is_left_alone() {
    for app in TestApp::everywhere().await {
        let before = kids(&app).await;
        let row = StoredKey {
            kid: "next".into(),
            alg: "ML-DSA-44".into(),
            sealed: "sealed".into(),
            created_at: START,
            signs_from: START,
            retires_at: None,
        };
        let store = &app.server.store;
        let added = store.write(row, |tx, row| Box::pin(tx.insert_key(row)));
        assert!(added.await.unwrap());
        keys::refresh(&app.server).await.unwrap();
        keys::ensure(&app.server).await.unwrap();
        assert_eq!(kids(&app).await, before);
    }
}
