//! OpenID Connect CIBA Core 1.0: backchannel authentication, from the client's request to its tokens.

mod pages;
mod ping;
mod requests;
mod signed;
mod tokens;

use auth_server::store::{Filter, Order};
use serde_json::Value;

use crate::world::{Answer, Browser, TestApp};

const GRANT: &str = "urn:openid:params:grant-type:ciba";
/// The switch, and clients that declare the grant.
const ON: &str = r#"
[features]
ciba = true
device = true

[[authorization_details]]
name = "payment"
description = "Make a payment"

[[clients]]
id = "counter"
client_name = "Bank Counter"
secret_file = "secret"
grant_types = ["urn:openid:params:grant-type:ciba", "refresh_token"]
backchannel_token_delivery_mode = "poll"

[[clients]]
id = "till"
client_name = "Shop Till"
secret_file = "secret"
grant_types = ["urn:openid:params:grant-type:ciba", "urn:ietf:params:oauth:grant-type:device_code"]
backchannel_token_delivery_mode = "poll"

[[clients]]
id = "portal"
client_name = "Portal"
secret_file = "secret"
redirect_uris = ["https://app.example.com/cb"]
grant_types = ["authorization_code", "urn:openid:params:grant-type:ciba"]
backchannel_token_delivery_mode = "poll"

[[clients]]
id = "vault"
client_name = "Vault"
secret_file = "secret"
grant_types = ["urn:openid:params:grant-type:ciba"]
backchannel_token_delivery_mode = "poll"
default_max_age = 60
"#;

/// What a client asks for.
const ASK: [(&str, &str); 2] = [("scope", "openid"), ("login_hint", "alice")];

/// A client that waits for its user.
struct Asked<'a> {
    app: &'a TestApp,
    id: &'static str,
    begun: Value,
}

impl<'a> Asked<'a> {
    async fn begin(app: &'a TestApp, id: &'static str, more: &[(&str, &str)]) -> Asked<'a> {
        let answer = ask(app, id, more).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
        Asked {
            app,
            id,
            begun: answer.json(),
        }
    }

    fn auth_req_id(&self) -> &str {
        self.begun["auth_req_id"].as_str().unwrap()
    }

    async fn poll(&self) -> Answer {
        self.poll_as(self.id, &[]).await
    }

    async fn poll_as(&self, client: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("grant_type", GRANT), ("auth_req_id", self.auth_req_id())];
        fields.extend(more);
        self.app.secret_client(client).token(&fields).await
    }
}

/// A request with these parameters; those of [`ASK`] where they name no others.
async fn ask(app: &TestApp, id: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = more.to_vec();
    let named = |name: &str| more.iter().any(|(given, _)| *given == name);
    let hinted = named("id_token_hint") || named("login_hint_token");
    for (name, value) in ASK {
        let hinted = name == "login_hint" && hinted;
        if !named(name) && !hinted {
            fields.push((name, value));
        }
    }
    fields.retain(|(_, value)| *value != "-");
    raw(app, id, &fields).await
}

/// A request with these parameters and no others.
async fn raw(app: &TestApp, id: &str, fields: &[(&str, &str)]) -> Answer {
    app.secret_client(id).post("/bc-authorize", fields).await
}

/// How many requests wait for a user.
async fn waiting(app: &TestApp, username: &str) -> usize {
    let store = &app.server.store;
    let user = store.user_by_name(username).await.unwrap().unwrap();
    let now = app.server.now();
    store.polled_for(&user.id, 100, now).await.unwrap().len()
}

/// The outcomes of the events of a kind, oldest first.
async fn audited(app: &TestApp, kind: &str) -> Vec<String> {
    let filter = Filter {
        kind: Some(kind.into()),
        ..Filter::default()
    };
    let store = &app.server.store;
    let rows = store.audited(&filter, Order::OldestFirst, None, 1000);
    let rows = rows.await.unwrap().into_iter();
    rows.map(|row| row.outcome).collect()
}

/// Signs in at the page of approvals.
async fn reach<'a>(app: &'a TestApp, username: &str) -> Browser<'a> {
    let mut browser = app.browser();
    browser.go("/approve").await;
    assert!(browser.shows("sign-in"), "{}", browser.page);
    browser.sign_in(username).await;
    assert!(browser.shows("approve"), "{}", browser.page);
    browser
}

/// Answers the first request that waits for alice.
async fn answer<'a>(app: &'a TestApp, decision: &str) -> Browser<'a> {
    let mut browser = reach(app, "alice").await;
    decide(&mut browser, decision).await;
    browser
}

/// Sends the form of the first request on the page.
async fn decide(browser: &mut Browser<'_>, decision: &str) -> Answer {
    browser.submit("/approve", &[("decision", decision)]).await
}
