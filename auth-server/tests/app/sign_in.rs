//! Signing in and out.

use axum::http::StatusCode;

use crate::world::{PASSWORD, START, TestApp};

#[tokio::test]
async fn a_wrong_password_an_unknown_user_and_a_disabled_one_get_the_same_page() {
    let app = TestApp::start().await;
    app.server
        .store
        .write((), |tx, ()| {
            Box::pin(async { tx.disable_user("bob", 1).await })
        })
        .await
        .unwrap();
    let mut pages = Vec::new();
    for (username, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("bob", PASSWORD)] {
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        let answer = browser
            .submit(
                "/sign-in",
                &[("username", username), ("password", password)],
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.text().contains("id=\"error\""));
        let csrf = answer
            .text()
            .split("name=\"csrf\" value=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        pages.push(answer.text().replace(&csrf, "").replace(username, ""));
    }
    assert_eq!(pages[0], pages[1]);
    assert_eq!(pages[1], pages[2]);
}

#[tokio::test]
async fn attempts_are_limited_per_account_and_forgotten_after_the_window() {
    for app in TestApp::everywhere_with("[sign_in]\nattempts_per_account = 3\n").await {
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        for _ in 0..3 {
            let answer = browser
                .submit("/sign-in", &[("username", "alice"), ("password", "wrong")])
                .await;
            assert_eq!(answer.status, StatusCode::OK);
        }
        let answer = browser.sign_in("Alice").await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.header("retry-after"), "900");
        assert_eq!(browser.cookie("__Host-session"), None);
        app.wait(901);
        browser.sign_in("alice").await;
        assert!(browser.shows("account") && browser.cookie("__Host-session").is_some());
    }
}

#[tokio::test]
async fn attempts_are_limited_per_address_whatever_the_account() {
    let app = TestApp::with(
        "https://as.example.com",
        "[sign_in]\nattempts_per_address = 5\n",
    )
    .await;
    let mut browser = app.browser();
    browser.go("/sign-in").await;
    for n in 0..5 {
        browser
            .submit(
                "/sign-in",
                &[("username", &format!("user{n}")), ("password", "wrong")],
            )
            .await;
    }
    assert_eq!(
        browser.sign_in("alice").await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn who_is_told_to_come_back_has_not_used_up_an_attempt() {
    let app = TestApp::with(
        "https://as.example.com",
        "[sign_in]\nattempts_per_account = 1\n",
    )
    .await;
    let mut waiting = Vec::new();
    while let Ok(place) = app.server.passwords.place() {
        waiting.push(place);
    }
    assert_eq!(waiting.len(), 256);
    let mut browser = app.browser();
    for _ in 0..3 {
        browser.go("/sign-in").await;
        let answer = browser.sign_in("alice").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), "2");
    }
    waiting.clear();
    browser.go("/sign-in").await;
    browser.sign_in("alice").await;
    assert!(browser.shows("account"));
}

#[tokio::test]
async fn strangers_cannot_lock_the_owner_out_on_a_device_that_is_known() {
    let limits = "[sign_in]\nattempts_per_account = 3\nattempts_per_address = 4\n";
    for app in TestApp::everywhere_with(limits).await {
        let guess = [("username", "alice"), ("password", "wrong")];
        let mut owner = app.browser();
        owner.go("/sign-in").await;
        owner.sign_in("alice").await;
        let mark = owner.cookie("__Host-device").unwrap().to_owned();
        owner.go("/logout").await;
        owner.submit("/logout", &[("decision", "confirm")]).await;
        assert_eq!(owner.cookie("__Host-device"), Some(mark.as_str()));

        // Until both the account and the address, which everybody in these tests shares, are used up.
        let mut stranger = app.browser();
        stranger.go("/sign-in").await;
        for _ in 0..5 {
            stranger.submit("/sign-in", &guess).await;
        }
        let answer = stranger.sign_in("alice").await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        owner.go("/sign-in").await;
        owner.sign_in("alice").await;
        assert!(owner.shows("account"), "{}", owner.page);

        // The budget of the device is no larger, and wrong guesses on it are no one else's.
        let mut thief = app.browser();
        thief.go("/sign-in").await;
        thief.set_cookie("__Host-device", &mark);
        for _ in 0..3 {
            let answer = thief.submit("/sign-in", &guess).await;
            assert_eq!(answer.status, StatusCode::OK);
        }
        let answer = thief.sign_in("alice").await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        // It is nothing for another account.
        let answer = thief.sign_in("bob").await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test]
async fn a_device_is_known_until_the_password_changes_and_a_made_up_mark_is_none() {
    let limits = "[sign_in]\nattempts_per_account = 1\n";
    for app in TestApp::everywhere_with(limits).await {
        let mut owner = app.browser();
        owner.go("/sign-in").await;
        owner.sign_in("alice").await;
        let mark = owner.cookie("__Host-device").unwrap().to_owned();
        let hash = auth_server::credential::password::hash_with(PASSWORD, [9; 16], 8, 1).unwrap();
        app.server
            .store
            .write(hash, |tx, hash| {
                Box::pin(tx.set_password("alice", hash, START))
            })
            .await
            .unwrap();
        let mut stranger = app.browser();
        stranger.go("/sign-in").await;
        stranger
            .submit("/sign-in", &[("username", "alice"), ("password", "wrong")])
            .await;
        for mark in [mark.as_str(), "dv_a.1795219200.b", "x"] {
            let mut browser = app.browser();
            browser.go("/sign-in").await;
            browser.set_cookie("__Host-device", mark);
            let answer = browser.sign_in("alice").await;
            assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{mark}");
        }
        app.wait(901);
        owner.go("/sign-in").await;
        owner.sign_in("alice").await;
        assert!(owner.shows("account"));
        assert_ne!(owner.cookie("__Host-device"), Some(mark.as_str()));
    }
}

#[tokio::test]
async fn no_window_of_another_site_holds_our_own_pages_but_clients_may_wait_for_theirs() {
    let app = TestApp::start().await;
    for (path, policy) in [
        ("/", "same-origin"),
        ("/logout", ""),
        ("/end-session", ""),
        ("/nothing", "same-origin"),
        ("/sign-in", ""),
        ("/authorize?client_id=nobody", ""),
    ] {
        let answer = app.get(path).await;
        assert_eq!(
            answer.header("cross-origin-opener-policy"),
            policy,
            "{path}"
        );
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
    }
}

#[tokio::test]
async fn parallel_guesses_cannot_slip_through_the_limit() {
    for app in TestApp::everywhere_with("[sign_in]\nattempts_per_account = 3\n").await {
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        let (page, cookie) = (
            browser.page.clone(),
            browser.cookie("__Host-browser").unwrap().to_owned(),
        );
        let guesses = (0..20).map(|_| {
            let (app, page, cookie) = (&app, page.clone(), cookie.clone());
            async move {
                let mut browser = app.browser();
                browser.page = page;
                browser.set_cookie("__Host-browser", &cookie);
                browser
                    .submit("/sign-in", &[("username", "alice"), ("password", "wrong")])
                    .await
                    .status
            }
        });
        let statuses = futures_util::future::join_all(guesses).await;
        assert_eq!(
            statuses
                .iter()
                .filter(|status| **status == StatusCode::OK)
                .count(),
            3,
            "{statuses:?}"
        );
    }
}

#[tokio::test]
async fn a_form_needs_its_csrf_token_from_the_same_browser() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser.go("/sign-in").await;
    for csrf in ["", "wrong"] {
        let answer = browser
            .submit(
                "/sign-in",
                &[
                    ("csrf", csrf),
                    ("username", "alice"),
                    ("password", PASSWORD),
                ],
            )
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text().contains("form_expired"));
        browser.go("/sign-in").await;
    }
    let page = browser.page.clone();
    let mut other = app.browser();
    other.page = page.clone();
    assert_eq!(other.sign_in("alice").await.status, StatusCode::FORBIDDEN);
    other.go("/sign-in").await;
    other.page = page;
    assert_eq!(other.sign_in("alice").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_shown_to_one_user_cannot_be_answered_by_another() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("spa").query("")))
        .await;
    browser.sign_in("alice").await;
    let consent = browser.page.clone();
    browser.go("/sign-in").await;
    browser.sign_in("bob").await;
    browser.page = consent;
    let answer = browser.submit("/consent", &[("decision", "allow")]).await;
    assert!(answer.text().contains("form_expired"));
}

#[tokio::test]
async fn cookies_are_bound_to_the_host_and_hidden_from_scripts() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let first = browser.go("/sign-in").await;
    assert_eq!(
        first.header("set-cookie").split_once(';').unwrap().1,
        " Path=/; HttpOnly; SameSite=Lax; Secure"
    );
    assert!(first.header("set-cookie").starts_with("__Host-browser=bs_"));
    let http = TestApp::with("http://localhost:8080", "").await;
    let plain = http.get("/sign-in").await;
    assert!(
        plain.header("set-cookie").starts_with("browser=bs_")
            && !plain.header("set-cookie").contains("Secure")
    );
}

#[tokio::test]
async fn the_session_id_changes_at_sign_in_and_dies_at_sign_out() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser.set_cookie("__Host-session", "ss_chosen-by-an-attacker");
    browser.go("/sign-in").await;
    browser.sign_in("alice").await;
    let first = browser.cookie("__Host-session").unwrap().to_owned();
    assert_ne!(first, "ss_chosen-by-an-attacker");
    browser.go("/sign-in").await;
    browser.sign_in("alice").await;
    let second = browser.cookie("__Host-session").unwrap().to_owned();
    assert_ne!(first, second);
    let mut thief = app.browser();
    thief.set_cookie("__Host-session", &first);
    thief.go("/").await;
    assert!(!thief.page.contains("Alice"));

    browser.go("/logout").await;
    assert!(browser.page.contains("id=\"logout-confirm\""));
    browser.submit("/logout", &[("decision", "confirm")]).await;
    assert!(browser.shows("signed-out"));
    assert_eq!(browser.cookie("__Host-session"), None);
    thief.set_cookie("__Host-session", &second);
    thief.go("/").await;
    assert!(!thief.page.contains("Alice"));
}

#[tokio::test]
async fn a_session_ends_without_use_and_at_its_absolute_end() {
    let app = TestApp::with(
        "https://as.example.com",
        "[sessions]\nlifetime = \"2h\"\nidle = \"1h\"\n",
    )
    .await;
    let mut browser = app.browser();
    browser.go("/sign-in").await;
    browser.sign_in("alice").await;
    for _ in 0..3 {
        app.wait(2000);
        browser.go("/").await;
        assert!(browser.page.contains("Alice"));
    }
    app.wait(2000);
    browser.go("/").await;
    assert!(!browser.page.contains("Alice"), "past the absolute end");
    browser.go("/sign-in").await;
    browser.sign_in("alice").await;
    app.wait(3600);
    browser.go("/").await;
    assert!(!browser.page.contains("Alice"), "idle too long");
}

#[tokio::test]
async fn the_sign_in_page_works_by_element_ids_and_links_the_clients_policies() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("web").query("")))
        .await;
    for id in ["username", "password", "login-submit"] {
        assert!(browser.page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(
        browser.page.contains("https://app.example.com/privacy")
            && browser.page.contains("https://app.example.com/terms")
    );
    assert!(!browser.page.contains("<script"));
}

#[tokio::test]
async fn cancelling_the_sign_in_returns_to_the_client() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("spa").query("")))
        .await;
    let params = browser
        .submit("/sign-in", &[("action", "cancel")])
        .await
        .redirect_params();
    assert_eq!(
        (params["error"].as_str(), params["state"].as_str()),
        ("access_denied", "s")
    );
}

#[tokio::test]
async fn oversized_and_foreign_bodies_are_refused() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser.go("/sign-in").await;
    let answer = browser
        .submit(
            "/sign-in",
            &[("username", &"a".repeat(70_000)), ("password", "x")],
        )
        .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = axum::http::Request::post("/sign-in")
        .header("content-type", "application/json")
        .body("{}".into())
        .unwrap();
    assert_eq!(
        app.send(json).await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[test]
fn an_unknown_user_costs_as_much_time_as_a_wrong_password() {
    use auth_server::credential::password;
    let hash = password::hash(PASSWORD, [7; 16]).unwrap();
    let run = |hash: Option<&str>| {
        let start = std::time::Instant::now();
        assert!(!password::verify("wrong", hash));
        start.elapsed()
    };
    // In turns and the shortest of many, because other work on the machine only ever lengthens a run. Without the work
    // for unknown users the one would be a thousand times the other.
    let runs: Vec<_> = (0..15).map(|_| (run(Some(&hash)), run(None))).collect();
    let known = runs.iter().map(|(known, _)| *known).min().unwrap();
    let unknown = runs.iter().map(|(_, unknown)| *unknown).min().unwrap();
    assert!(
        known < unknown * 4 && unknown < known * 4,
        "{known:?} {unknown:?}"
    );
}
