//! What the person sees: type the code, sign in, compare, answer.

use auth_server::store::{Filter, Order};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use std::net::SocketAddr;

use super::{Device, ON, reach};
use crate::world::TestApp;

async fn app() -> TestApp {
    TestApp::with("https://as.example.com", ON).await
}

#[tokio::test]
async fn the_confirm_page_shows_the_code_the_client_what_it_wants_and_a_warning() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[("scope", "docs.read docs.write")]).await;
    let typed = device.user_code().to_lowercase().replace('-', " ");
    let browser = reach(&app, &typed, "alice").await;
    for words in [
        device.user_code(),
        "Television",
        "Documents",
        "docs.example.com",
        "Read your documents",
        "Change your documents",
        "Alice",
        "id=\"device-allow\"",
        "id=\"device-deny\"",
        "id=\"phishing\"",
        "only if you started this yourself",
    ] {
        assert!(browser.page.contains(words), "{words}");
    }
}

#[tokio::test]
async fn a_link_that_brings_the_code_still_asks_to_compare_it() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[]).await;
    let mut browser = reach(&app, device.user_code(), "alice").await;
    browser.go(device.text("verification_uri_complete")).await;
    assert!(browser.shows("device"), "nobody is led past the comparison");
    assert!(browser.page.contains("Does your device show this code?"));
    assert!(
        browser
            .page
            .contains(&format!("value=\"{}\"", device.user_code()))
    );
    assert!(browser.page.contains("id=\"phishing\""));
    browser
        .submit("/device", &[("user_code", device.user_code())])
        .await;
    assert!(
        browser.shows("device-confirm"),
        "the session is still alive"
    );
}

#[tokio::test]
async fn a_wrong_empty_or_used_code_is_told_on_the_page() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[]).await;
    let mut first = reach(&app, device.user_code(), "alice").await;
    first
        .submit("/device/confirm", &[("decision", "allow")])
        .await;
    let mut browser = app.browser();
    browser.go("/device").await;
    for (typed, says) in [
        ("", "Type the code"),
        ("BBBB-BBBB", "No device shows this code"),
        ("<script>", "No device shows this code"),
        (device.user_code(), "No device shows this code"),
    ] {
        browser.submit("/device", &[("user_code", typed)]).await;
        assert!(browser.shows("device"), "{typed}");
        assert!(browser.page.contains(says), "{typed}: {}", browser.page);
        assert!(!browser.page.contains("<script>"));
    }
    first
        .go(&format!("/device/confirm?user_code={}", device.user_code()))
        .await;
    assert!(
        first.shows("device"),
        "an answered code is like a wrong one"
    );
}

#[tokio::test]
async fn an_answer_needs_the_form_of_this_browser_and_what_it_showed() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[]).await;
    let mut browser = reach(&app, device.user_code(), "alice").await;
    for (fields, page) in [
        (vec![("decision", "allow"), ("csrf", "x")], "error"),
        (vec![("decision", "maybe")], "error"),
        (
            vec![("decision", "allow"), ("shown", "x")],
            "device-confirm",
        ),
    ] {
        browser
            .go(&format!("/device/confirm?user_code={}", device.user_code()))
            .await;
        browser.submit("/device/confirm", &fields).await;
        assert!(browser.shows(page), "{fields:?}");
    }
    app.wait(5);
    assert_eq!(device.poll().await.error().1, "authorization_pending");
    let mut stranger = app.browser();
    stranger
        .go(&format!("/device/confirm?user_code={}", device.user_code()))
        .await;
    assert!(stranger.shows("sign-in"));
}

#[tokio::test]
async fn switching_the_account_keeps_the_code() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[]).await;
    let mut browser = reach(&app, device.user_code(), "alice").await;
    browser
        .submit("/device/confirm", &[("decision", "switch")])
        .await;
    assert!(browser.shows("sign-in"));
    browser.sign_in("bob").await;
    assert!(browser.shows("device-confirm") && browser.page.contains("bob"));
}

#[tokio::test]
async fn wrong_codes_are_limited_for_a_network_and_for_an_account() {
    for app in TestApp::everywhere_with(ON).await {
        let device = Device::begin(&app, "tv", &[]).await;
        let mut signed_in = reach(&app, device.user_code(), "alice").await;
        let mut browser = app.browser();
        browser.go("/device").await;
        for _ in 0..20 {
            let wrong = browser
                .submit("/device", &[("user_code", "BBBBBBBB")])
                .await;
            assert_eq!(wrong.status, 200);
        }
        let right = [("user_code", device.user_code())];
        let refused = browser.submit("/device", &right).await;
        assert_eq!(refused.status, 429, "a right code is not looked at either");
        assert!(browser.shows("device") && !refused.header("retry-after").is_empty());

        signed_in.go("/device").await;
        for _ in 0..20 {
            signed_in
                .submit("/device", &[("user_code", "BBBBBBBB")])
                .await;
            assert!(signed_in.shows("device"), "an account has its own limit");
        }
        let code = device.user_code();
        let page = format!("/device/confirm?user_code={code}");
        assert_eq!(signed_in.go(&page).await.status, 429);
        let filter = Filter {
            kind: Some("user_code".into()),
            ..Filter::default()
        };
        let store = &app.server.store;
        let rows = store.audited(&filter, Order::OldestFirst, None, 100);
        let rows = rows.await.unwrap();
        let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
        assert_eq!((count("refused"), count("throttled")), (40, 2));
    }
}

#[tokio::test]
async fn right_codes_use_up_nothing() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[]).await;
    let mut browser = app.browser();
    for _ in 0..40 {
        browser.go("/device").await;
        browser
            .submit("/device", &[("user_code", device.user_code())])
            .await;
        assert!(browser.shows("sign-in"));
    }
}

/// `POST /device` from an address, with the browser's cookie and form.
async fn guess(app: &TestApp, address: SocketAddr, code: &str) -> (u16, String) {
    let form = app.get("/device").await;
    let cookie = form
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let csrf = form.text().split("name=\"csrf\" value=\"").nth(1).unwrap();
    let csrf = csrf.split('"').next().unwrap();
    let mut request = Request::post("/device")
        .header("cookie", cookie)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("csrf={csrf}&user_code={code}")))
        .unwrap();
    request.extensions_mut().insert(ConnectInfo(address));
    let answer = app.send(request).await;
    (answer.status.as_u16(), answer.header("location").to_owned())
}

#[tokio::test]
async fn when_strangers_everywhere_guess_only_who_signs_in_is_answered() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[]).await;
    for n in 0..1000_u16 {
        let address = SocketAddr::from(([10, 9, (n / 20).to_be_bytes()[1], 1], 1));
        assert_eq!(guess(&app, address, "BBBBBBBB").await.0, 200, "{n}");
    }
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 1));
    for code in ["BBBB-BBBB", device.user_code()] {
        let (status, location) = guess(&app, elsewhere, code).await;
        assert_eq!(status, 303, "right and wrong look alike");
        assert_eq!(location, format!("/sign-in?user_code={code}"));
    }
    let mut browser = app.browser();
    browser
        .go(&format!("/sign-in?user_code={}", device.user_code()))
        .await;
    browser.sign_in("alice").await;
    assert!(browser.shows("device-confirm"));
}

#[tokio::test]
async fn a_device_without_a_qr_code_of_its_own_gets_one() {
    let app = app().await;
    let device = Device::begin(&app, "tv", &[]).await;
    let uri = device.text("verification_qr_uri").to_owned();
    let path = uri.strip_prefix("https://as.example.com").unwrap();
    let picture = app.get(path).await;
    assert_eq!(picture.header("content-type"), "image/svg+xml");
    assert!(picture.text().starts_with("<svg "));
    let screen = app
        .get(&format!("/device/show?user_code={}", device.user_code()))
        .await;
    assert!(screen.text().contains(device.user_code()) && screen.text().contains(path));
    for bad in [
        "/device/qr.svg",
        "/device/qr.svg?user_code=x",
        "/device/show?user_code=%3Cb%3E",
    ] {
        assert_eq!(app.get(bad).await.status, 400, "{bad}");
    }
}
