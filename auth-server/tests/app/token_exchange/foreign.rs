//! JWTs of trusted issuers as subject and actor tokens.

use serde_json::{Value, json};

use super::{ACCESS, DOCS, MAIL, ON, exchange, text, tokens};
use crate::dpop::Key;
use crate::jwt_bearer::{GRANT as BEARER, IDP, Platform};
use crate::world::{START, TestApp, decode};

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const AS: &str = "https://as.example.com";

/// `gateway` may exchange what the issuer says of users, for mail; its own workload shows who it is as an actor.
fn config(platform: &Platform) -> String {
    let file = platform.file();
    let named = "subject_clients = [\"spa\"]";
    let on = ON.replacen(named, &format!("{named}\nissuers = [\"{IDP}\"]"), 1);
    let on = on.replace("id_jag = true", "id_jag = true\njwt_bearer = true");
    let grants = "\"client_credentials\"]\nscope";
    let on = on.replacen(
        grants,
        &format!("\"client_credentials\", \"{BEARER}\"]\nscope"),
        1,
    );
    format!(
        "{on}\n[[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = \"{file}\"\nuser = \"login\"\nclients = [\"*\"]\n\n\
         [[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = \"{file}\"\nclient = \"gateway\"\nclaims = {{ sub = \"agent:gateway\" }}\n\n\
         [[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = \"{file}\"\nclient = \"proxy\"\nclaims = {{ sub = \"agent:proxy\" }}\n"
    )
}

fn jwt(platform: &Platform, change: &Value) -> String {
    let mut claims = json!({"iss": IDP, "sub": "u-1", "login": "alice", "aud": AS, "jti": "1",
        "iat": START, "exp": START + 300});
    let object = claims.as_object_mut().unwrap();
    object.extend(change.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    platform.sign(None, &claims)
}

fn subject<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("subject_token_type", JWT), ("resource", MAIL)];
    all.extend(more);
    all
}

#[tokio::test]
async fn a_jwt_of_a_named_issuer_stands_for_its_user_once_and_no_longer_than_it_lives() {
    let platform = Platform::new();
    for app in TestApp::everywhere_with(&config(&platform)).await {
        let brought = jwt(&platform, &json!({}));
        let answer = exchange(&app, "gateway", &brought, &subject(&[])).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["issued_token_type"], ACCESS);
        assert_eq!(answer["expires_in"], 300);
        let token = text(&answer, "access_token");
        let (_, claims) = decode(token);
        let own = decode(text(&tokens(&app, "spa").await, "access_token")).1;
        assert_eq!(claims["sub"], own["sub"], "the same user");
        assert_eq!(claims["scope"], "mail.read");
        let gateway = json!({"sub": "gateway", "client_id": "gateway"});
        assert_eq!(claims["act"], gateway);
        let told = app.secret_client("gateway");
        let told = told.post("/introspect", &[("token", token)]).await.json();
        assert_eq!(told["username"], "alice");
        let again = exchange(&app, "gateway", &brought, &subject(&[])).await;
        assert_eq!(again.error(), (400, "invalid_request".into()), "once");
        let grant = [
            ("grant_type", BEARER),
            ("assertion", brought.as_str()),
            ("resource", MAIL),
        ];
        let again = app.secret_client("gateway").token(&grant).await;
        assert_eq!(again.error(), (400, "invalid_grant".into()));
        assert!(again.text().contains("used before"), "{}", again.text());
        app.wait(300);
        let told = app.secret_client("gateway");
        let told = told.post("/introspect", &[("token", token)]).await.json();
        assert_eq!(told, json!({"active": false}));
    }
}

#[tokio::test]
async fn an_actor_shows_who_it_is_by_its_platforms_jwt_or_as_a_user_of_the_issuer() {
    let platform = Platform::new();
    let app = TestApp::with(AS, &config(&platform)).await;
    let own = tokens(&app, "spa").await;
    let subject = text(&own, "access_token");
    let agent =
        |jti: &str, sub: &str| jwt(&platform, &json!({"sub": sub, "login": null, "jti": jti}));
    let mine = agent("a", "agent:gateway");
    let actor = [("actor_token", mine.as_str()), ("actor_token_type", JWT)];
    let answer = exchange(&app, "gateway", subject, &actor).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (_, claims) = decode(text(&answer.json(), "access_token"));
    assert_eq!(
        claims["act"],
        json!({"sub": "gateway", "client_id": "gateway"})
    );
    let again = exchange(&app, "gateway", subject, &actor).await;
    assert_eq!(again.error(), (400, "invalid_request".into()), "once");
    for other in [
        agent("b", "agent:proxy"),
        agent("c", "agent:nobody"),
        jwt(&platform, &json!({"login": "nobody", "jti": "d"})),
    ] {
        let actor = [("actor_token", other.as_str()), ("actor_token_type", JWT)];
        let refused = exchange(&app, "gateway", subject, &actor).await;
        assert_eq!(refused.error(), (400, "invalid_request".into()));
    }
    let bob = jwt(&platform, &json!({"login": "bob", "jti": "e"}));
    let actor = [("actor_token", bob.as_str()), ("actor_token_type", JWT)];
    let answer = exchange(&app, "gateway", subject, &actor).await.json();
    let (_, claims) = decode(text(&answer, "access_token"));
    assert!(claims["act"]["sub"].as_str().unwrap().starts_with("us_"));
    assert_ne!(claims["act"]["sub"], claims["sub"]);
}

#[tokio::test]
async fn who_acted_at_the_issuer_stays_in_the_chain() {
    let platform = Platform::new();
    let app = TestApp::with(AS, &config(&platform)).await;
    let brought = jwt(&platform, &json!({"act": {"sub": "helper"}}));
    let answer = exchange(&app, "gateway", &brought, &subject(&[]))
        .await
        .json();
    let (_, claims) = decode(text(&answer, "access_token"));
    assert_eq!(
        claims["act"],
        json!({"sub": "gateway", "client_id": "gateway", "act": {"sub": "helper", "iss": IDP}})
    );
}

#[tokio::test]
async fn every_bad_jwt_client_and_target_is_refused_and_the_jwt_stays_good() {
    let platform = Platform::new();
    let app = TestApp::with(AS, &config(&platform)).await;
    let invalid = (400, "invalid_request".to_owned());
    for change in [
        json!({"iss": "https://other.example"}),
        json!({"aud": "https://other.example"}),
        json!({"aud": [AS, "https://other.example"]}),
        json!({"exp": START}),
        json!({"exp": START - 30}),
        json!({"exp": START + 7200}),
        json!({"exp": null}),
        json!({"nbf": START + 61}),
        json!({"sub": null}),
        json!({"login": "nobody"}),
        json!({"sub": "agent:gateway", "login": null}),
        json!({"may_act": {"sub": "gateway"}}),
        json!({"act": "x"}),
        json!({"cnf": {"jkt": Key::new().thumbprint()}}),
    ] {
        let refused = exchange(&app, "gateway", &jwt(&platform, &change), &subject(&[])).await;
        assert_eq!(refused.error(), invalid, "{change}");
    }
    let good = jwt(&platform, &json!({}));
    for (client, more, error) in [
        ("proxy", subject(&[]), "invalid_request"),
        ("unlisted", subject(&[]), "unauthorized_client"),
        (
            "gateway",
            vec![("subject_token_type", JWT), ("resource", DOCS)],
            "invalid_target",
        ),
        (
            "gateway",
            vec![("subject_token_type", JWT)],
            "invalid_target",
        ),
        (
            "gateway",
            subject(&[("scope", "mail.send")]),
            "invalid_scope",
        ),
        (
            "gateway",
            subject(&[
                (
                    "requested_token_type",
                    "urn:ietf:params:oauth:token-type:id-jag",
                ),
                ("audience", "https://other-as.example.net"),
            ]),
            "invalid_request",
        ),
    ] {
        let refused = exchange(&app, client, &good, &more).await;
        assert_eq!(refused.error(), (400, error.into()), "{client} {more:?}");
    }
    let jag = platform.sign(
        Some("oauth-id-jag+jwt"),
        &json!({"iss": IDP, "sub": "u", "login": "alice", "aud": AS, "jti": "9", "iat": START,
            "exp": START + 300, "client_id": "gateway"}),
    );
    let stranger = jwt(&Platform::new(), &json!({}));
    for other in [jag.as_str(), &stranger, "x", &format!("{good}.x")] {
        let refused = exchange(&app, "gateway", other, &subject(&[])).await;
        assert_eq!(refused.error(), invalid);
    }
    let answer = exchange(&app, "gateway", &good, &subject(&[])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
