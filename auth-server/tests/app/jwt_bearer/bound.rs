//! JWTs that are bound to a key, and tokens that are.

use serde_json::json;

use super::{AS, GRANT, IDP, Platform, alice, assertion, bring, bring_with};
use crate::dpop::Key;
use crate::signer::Signer;
use crate::world::{START, TestApp, decode};

const TOKEN: &str = "https://as.example.com/token";

#[tokio::test]
async fn a_bound_jwt_is_worth_nothing_without_its_key() {
    let platform = Platform::new();
    for app in TestApp::everywhere_with(&platform.config()).await {
        let (own, other) = (Key::new(), Key::new());
        let cnf = json!({"cnf": {"jkt": own.thumbprint()}});
        for (typ, jwt) in [
            (None, alice(&cnf)),
            (Some("oauth-id-jag+jwt"), assertion(&cnf)),
        ] {
            let mut claims = jwt;
            claims["jti"] = json!(format!("{typ:?}"));
            let jwt = platform.sign(typ, &claims);
            let without = bring(&app, "app", &jwt, &[]).await;
            assert_eq!(without.error(), (400, "invalid_grant".into()));
            let wrong = other.proof("POST", TOKEN, &json!({}));
            let wrong = bring_with(&app, "app", &jwt, &[], &[("DPoP", &wrong)]).await;
            assert_eq!(wrong.error(), (400, "invalid_grant".into()));
            let right = own.proof("POST", TOKEN, &json!({}));
            let right = bring_with(&app, "app", &jwt, &[], &[("DPoP", &right)]).await;
            assert_eq!(right.json()["token_type"], "DPoP", "{}", right.text());
            let (_, token) = decode(right.json()["access_token"].as_str().unwrap());
            assert_eq!(token["cnf"], json!({"jkt": own.thumbprint()}));
        }
        // A certificate that the client's tokens are not bound to was not shown for them.
        let certificate = json!({"jti": "3", "cnf": {"x5t#S256": "abc"}});
        let refused = bring(&app, "app", &platform.sign(None, &alice(&certificate)), &[]).await;
        assert_eq!(refused.error(), (400, "invalid_grant".into()));
    }
}

#[tokio::test]
async fn a_client_whose_tokens_are_bound_gets_no_other_here() {
    let platform = Platform::new();
    let config = platform.config().replacen(
        "id = \"app\"",
        "id = \"app\"\ndpop_bound_access_tokens = true",
        1,
    );
    let app = TestApp::with(AS, &config).await;
    let jwt = platform.sign(None, &alice(&json!({})));
    let refused = bring(&app, "app", &jwt, &[]).await;
    assert_eq!(refused.error(), (400, "invalid_dpop_proof".into()));
    let proof = Key::new().proof("POST", TOKEN, &json!({}));
    let bound = bring_with(&app, "app", &jwt, &[], &[("DPoP", &proof)]).await;
    assert_eq!(bound.json()["token_type"], "DPoP", "{}", bound.text());
}

#[tokio::test]
async fn a_client_of_fapi2_brings_no_jwt_that_is_signed_with_rs256() {
    let signer = Signer::new();
    for (platform, status) in [(Platform::rsa(), 400), (Platform::new(), 200)] {
        let file = platform.file();
        let config = format!(
            "[features]\njwt_bearer = true\n\n[[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = \"{file}\"\n\
             user = \"login\"\nclients = [\"bank\"]\n\n[[clients]]\nid = \"bank\"\nprofile = \"fapi2\"\n\
             token_endpoint_auth_method = \"private_key_jwt\"\ngrant_types = [\"{GRANT}\"]\n{}",
            signer.line()
        );
        let app = TestApp::with(AS, &config).await;
        let own = json!({"iss": "bank", "sub": "bank", "aud": AS, "exp": START + 60, "jti": "1"});
        let own = signer.sign(None, &own);
        let jwt = platform.sign(None, &alice(&json!({})));
        let fields = [
            ("grant_type", GRANT),
            ("assertion", &jwt),
            ("client_assertion", &own),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
        ];
        let proof = Key::new().proof("POST", TOKEN, &json!({}));
        let request = axum::http::Request::post("/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("DPoP", proof);
        let body = axum::body::Body::from(crate::world::encode(&fields));
        let answer = app.send(request.body(body).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        if status == 400 {
            assert_eq!(answer.error().1, "invalid_grant");
        }
    }
}
