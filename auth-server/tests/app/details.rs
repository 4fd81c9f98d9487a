//! A-90: rich authorization requests (RFC 9396).

use serde_json::{Value, json};

use crate::world::{TestApp, decode};

const TYPES: &str = r#"
[[authorization_details]]
name = "payment_initiation"
description = "Make a payment"

[[authorization_details]]
name = "account_information"
description = "See your accounts"
"#;

fn payment(amount: &str) -> Value {
    json!({"type": "payment_initiation", "instructedAmount": {"currency": "EUR", "amount": amount}, "creditorName": "Merchant A"})
}

fn asking(details: &Value) -> String {
    let text: String =
        url::form_urlencoded::byte_serialize(details.to_string().as_bytes()).collect();
    format!("scope=openid&authorization_details={text}")
}

#[tokio::test]
async fn people_see_what_they_allow_and_tokens_say_it() {
    for app in TestApp::everywhere_with(TYPES).await {
        let details = json!([payment("123.50"), {"type": "account_information"}]);
        let query = app.client("web").query(&asking(&details));
        let mut browser = app.browser();
        browser.go(&format!("/authorize?{query}")).await;
        browser.sign_in("alice").await;
        for words in [
            "Make a payment",
            "Currency: EUR; Amount: 123.50",
            "Merchant A",
            "See your accounts",
        ] {
            assert!(browser.page.contains(words), "{words}: {}", browser.page);
        }
        let answer = browser.submit("/consent", &[("decision", "allow")]).await;
        let code = answer.redirect_params()["code"].clone();
        let tokens = app.client("web").redeem(&code).await.json();
        assert_eq!(tokens["authorization_details"], details);
        let access = tokens["access_token"].as_str().unwrap();
        assert_eq!(decode(access).1["authorization_details"], details);
        let told = app
            .client("web")
            .post("/introspect", &[("token", access)])
            .await
            .json();
        assert_eq!(told["authorization_details"], details);

        // A refresh may ask for less, and the family keeps the whole.
        let refresh = async |token: &str, details: Option<&Value>| {
            let details = details.map(Value::to_string);
            let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
            fields.extend(
                details
                    .as_deref()
                    .map(|text| ("authorization_details", text)),
            );
            app.client("web").token(&fields).await
        };
        let token = tokens["refresh_token"].as_str().unwrap();
        let more = refresh(token, Some(&json!([payment("999")]))).await;
        assert_eq!(
            more.error(),
            (400, "invalid_authorization_details".to_owned())
        );
        let less = refresh(token, Some(&json!([payment("123.50")])))
            .await
            .json();
        assert_eq!(less["authorization_details"], json!([payment("123.50")]));
        let all = refresh(less["refresh_token"].as_str().unwrap(), None)
            .await
            .json();
        assert_eq!(all["authorization_details"], details);

        // No earlier consent speaks for a payment.
        browser.go(&format!("/authorize?{query}")).await;
        assert!(browser.shows("consent"));
        let silent = browser.go(&format!("/authorize?{query}&prompt=none")).await;
        assert_eq!(silent.redirect_params()["error"], "consent_required");
    }
}

#[tokio::test]
async fn an_answer_counts_for_the_details_that_the_page_showed() {
    let app = TestApp::with("https://as.example.com", TYPES).await;
    let mut browser = app.browser();
    let cheap = app.client("web").query(&asking(&json!([payment("1")])));
    browser.go(&format!("/authorize?{cheap}")).await;
    browser.sign_in("alice").await;
    let shown = browser
        .page
        .split("name=\"shown\" value=\"")
        .nth(1)
        .unwrap();
    let shown = shown.split('"').next().unwrap().to_owned();
    let dear = app.client("web").query(&asking(&json!([payment("1000")])));
    browser.go(&format!("/authorize?{dear}")).await;
    let answer = browser
        .submit("/consent", &[("decision", "allow"), ("shown", &shown)])
        .await;
    assert!(browser.shows("consent"), "{}", answer.text());
}

#[tokio::test]
async fn what_is_unknown_is_refused_and_types_are_advertised() {
    let more = format!(
        "{TYPES}\n[[clients]]\nid = \"reader\"\nredirect_uris = [\"https://app.example.com/cb\"]\ntoken_endpoint_auth_method = \"none\"\nauthorization_details_types = [\"account_information\"]\n"
    );
    let app = TestApp::with("https://as.example.com", &more).await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["authorization_details_types_supported"],
        json!(["payment_initiation", "account_information"])
    );
    for (client, details) in [
        ("web", json!([{"type": "other"}])),
        ("web", json!({})),
        ("reader", json!([payment("1")])),
    ] {
        let query = app.client(client).query(&asking(&details));
        let answer = app.browser().go(&format!("/authorize?{query}")).await;
        let error = answer.redirect_params()["error"].clone();
        assert_eq!(error, "invalid_authorization_details", "{details}");
    }
    let plain = TestApp::start().await;
    let metadata = plain.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata.get("authorization_details_types_supported"), None);
    let query = plain.client("web").query(&asking(&json!([payment("1")])));
    let answer = plain.browser().go(&format!("/authorize?{query}")).await;
    assert_eq!(
        answer.redirect_params()["error"],
        "invalid_authorization_details"
    );
}

#[tokio::test]
async fn a_machine_gets_details_of_the_types_that_its_operator_named() {
    let more = format!(
        "{TYPES}\n[[clients]]\nid = \"payer\"\nsecret_file = \"secret\"\ngrant_types = [\"client_credentials\"]\nauthorization_details_types = [\"payment_initiation\"]\n"
    );
    for app in TestApp::everywhere_with(&more).await {
        let ask = async |client: &str, details: &str| {
            let fields = [
                ("grant_type", "client_credentials"),
                ("authorization_details", details),
            ];
            app.secret_client(client).token(&fields).await
        };
        let details = json!([payment("1")]);
        let answer = ask("payer", &details.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["authorization_details"], details);
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(decode(token).1["authorization_details"], details);
        let web = app.client("web");
        let told = web.post("/introspect", &[("token", token)]).await.json();
        assert_eq!(told["authorization_details"], details);
        let account = json!([{"type": "account_information"}]).to_string();
        let unknown = json!([{"type": "other"}]).to_string();
        for (client, details) in [
            // Nobody named types for this one, and no user is asked.
            ("web", &*details.to_string()),
            ("payer", &account),
            ("payer", &unknown),
            ("payer", "[]"),
            ("payer", "{}"),
            ("payer", "x"),
        ] {
            let refused = ask(client, details).await;
            let error = (400, "invalid_authorization_details".to_owned());
            assert_eq!(refused.error(), error, "{client} {details}");
        }
        let plain = [("grant_type", "client_credentials")];
        let plain = app.secret_client("payer").token(&plain).await.json();
        assert_eq!(plain.get("authorization_details"), None);
    }
}
