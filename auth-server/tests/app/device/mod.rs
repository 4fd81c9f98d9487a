//! RFC 8628, A-90: device authorization, from the device's first request to its tokens.

mod codes;
mod pages;

use serde_json::Value;

use crate::world::{Answer, Browser, TestApp};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The switch, and two clients that declare the grant.
const ON: &str = r#"
[features]
device = true

[[clients]]
id = "tv"
client_name = "Television"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]

[[clients]]
id = "console"
client_name = "Game Console"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code"]
"#;

/// A device that shows its code.
struct Device<'a> {
    app: &'a TestApp,
    id: &'static str,
    begun: Value,
}

impl<'a> Device<'a> {
    async fn begin(app: &'a TestApp, id: &'static str, more: &[(&str, &str)]) -> Device<'a> {
        let answer = app.client(id).post("/device_authorization", more).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Device {
            app,
            id,
            begun: answer.json(),
        }
    }

    fn text(&self, member: &str) -> &str {
        self.begun[member].as_str().unwrap()
    }

    fn user_code(&self) -> &str {
        self.text("user_code")
    }

    async fn poll(&self) -> Answer {
        self.poll_as(self.id).await
    }

    async fn poll_as(&self, client: &str) -> Answer {
        let code = self.text("device_code");
        let fields = [("grant_type", GRANT), ("device_code", code)];
        self.app.client(client).token(&fields).await
    }
}

/// Types the code and signs in, as far as the confirm page.
async fn reach<'a>(app: &'a TestApp, code: &str, username: &str) -> Browser<'a> {
    let mut browser = app.browser();
    browser.go("/device").await;
    assert!(browser.shows("device"));
    browser.submit("/device", &[("user_code", code)]).await;
    assert!(browser.shows("sign-in"), "{}", browser.page);
    browser.sign_in(username).await;
    assert!(browser.shows("device-confirm"), "{}", browser.page);
    browser
}

async fn answer<'a>(app: &'a TestApp, code: &str, decision: &str) -> Browser<'a> {
    let mut browser = reach(app, code, "alice").await;
    browser
        .submit("/device/confirm", &[("decision", decision)])
        .await;
    browser
}
