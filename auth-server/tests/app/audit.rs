//! The audit trail: each kind of event says who, which client, from where and how it ended, is written with its change or
//! not at all, and holds no secret. Refusals are written in bounded amount.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};

use auth_server::flow::keys;
use auth_server::protocol::event::{Caller, Entry, Event, Kind};
use auth_server::store::{Audited, Filter, Order};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{Answer, CALLBACK, PASSWORD, SECRET, START, TestApp};

/// The prefixes of everything that is minted, and the shape of a JWT.
const SECRETS: [&str; 8] = ["ac_", "rt_", "cs_", "ra_", "ss_", "bs_", "rq_", "eyJ"];

async fn trail(app: &TestApp) -> Vec<Audited> {
    find(app, Filter::default()).await
}

async fn find(app: &TestApp, filter: Filter) -> Vec<Audited> {
    let store = &app.server.store;
    store
        .audited(&filter, Order::OldestFirst, None, 10_000)
        .await
        .unwrap()
}

async fn of_kind(app: &TestApp, kind: Kind) -> Vec<Audited> {
    let kind = Some(kind.as_str().to_owned());
    find(
        app,
        Filter {
            kind,
            ..Filter::default()
        },
    )
    .await
}

/// Kind, outcome, user, client and detail of the newest row of a kind.
async fn newest(app: &TestApp, kind: Kind) -> [String; 5] {
    let row = of_kind(app, kind).await.pop().unwrap();
    let text = |text: Option<String>| text.unwrap_or_default();
    [
        row.kind,
        row.outcome,
        text(row.username),
        text(row.client_id),
        row.detail,
    ]
}

/// A request from an address.
async fn from(app: &TestApp, address: &str, mut request: Request<Body>) -> Answer {
    let address = SocketAddr::new(address.parse().unwrap(), 1);
    request.extensions_mut().insert(ConnectInfo(address));
    app.send(request).await
}

/// A token request of `web` with a wrong secret.
async fn wrong_secret(app: &TestApp, address: &str) -> Answer {
    let body = "grant_type=client_credentials&client_id=web&client_secret=cs_wrong";
    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    let answer = from(app, address, request).await;
    assert_eq!(answer.error(), (401, "invalid_client".into()));
    answer
}

async fn manage(app: &TestApp, method: Method, path: &str, token: &str, body: Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(body.to_string()))
        .unwrap();
    app.send(request).await
}

fn metadata(name: &str) -> Value {
    json!({
        "client_name": name,
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "client_secret_basic",
    })
}

/// Everything that a person and a program can do, and what is refused to them.
async fn live(app: &TestApp) {
    let (web, spa) = (app.client("web"), app.client("spa"));
    let mut browser = app.browser();
    browser.go("/sign-in").await;
    browser
        .submit("/sign-in", &[("username", "alice"), ("password", "wrong")])
        .await;
    let tokens = web.tokens("scope=openid+docs.read+offline_access").await;
    let refreshed = web.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    let refreshed = refreshed.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    web.post("/revoke", &[("token", &refreshed)]).await;
    // The page lists what was connected last first.
    app.wait(1);
    let code = spa.code("").await;
    assert_eq!(spa.redeem(&code).await.status, StatusCode::OK);
    assert_eq!(spa.redeem(&code).await.status, StatusCode::BAD_REQUEST);
    let machine = web
        .token(&[
            ("grant_type", "client_credentials"),
            ("resource", crate::world::DOCS),
        ])
        .await
        .json();
    web.post(
        "/revoke",
        &[("token", machine["access_token"].as_str().unwrap())],
    )
    .await;
    wrong_secret(app, "192.0.2.7").await;

    let registered = manage(app, Method::POST, "/register", "", metadata("Robot")).await;
    let registered = registered.json();
    let id = registered["client_id"].as_str().unwrap();
    let token = registered["registration_access_token"].as_str().unwrap();
    let path = format!("/register/{id}");
    manage(app, Method::GET, &path, "ra_wrong", Value::Null).await;
    let mut changed = metadata("Better robot");
    changed["client_id"] = json!(id);
    let answer = manage(app, Method::PUT, &path, token, changed).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let answer = manage(app, Method::DELETE, &path, token, Value::Null).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    let useless = json!({"redirect_uris": ["javascript:alert(1)"]});
    manage(app, Method::POST, "/register", "", useless).await;

    // The first page of a new browser is the sign-in; then alice disconnects and leaves.
    browser.sign_in("alice").await;
    browser.go(&format!("/authorize?{}", web.query(""))).await;
    let page = browser.go("/").await;
    let connected = page.text().split("name=\"grant\" value=\"").nth(1).unwrap();
    let grant = connected.split('"').next().unwrap().to_owned();
    browser
        .submit("/account/disconnect", &[("grant", &grant)])
        .await;
    browser
        .go(&format!(
            "/authorize?{}",
            web.query("prompt=consent&scope=docs.write")
        ))
        .await;
    browser.submit("/consent", &[("decision", "deny")]).await;
    browser.go("/").await;
    browser.submit("/sign-out", &[]).await;
    keys::rotate(&app.server, true, &Caller::Operator)
        .await
        .unwrap();
}

#[tokio::test]
async fn each_kind_of_event_says_who_what_client_address_and_outcome() {
    for app in TestApp::everywhere_with("[audit]\nclient_credentials = true\n").await {
        live(&app).await;
        let rows = trail(&app).await;
        let seen: BTreeSet<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
        // Commands, documents, devices, approvals and notices have their own tests.
        for kind in Kind::ALL {
            let elsewhere = matches!(
                kind,
                Kind::Operator
                    | Kind::Document
                    | Kind::UserCode
                    | Kind::LogoutNotice
                    | Kind::ApprovalRequest
                    | Kind::Ping
            );
            assert_eq!(seen.contains(kind.as_str()), !elsewhere, "{kind:?}");
        }
        let said: Vec<String> = rows
            .iter()
            .map(|row| {
                let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".into());
                // Registered clients have fresh ids, grants and keys too.
                let client = part(&row.client_id);
                let client = client.split_once('_').map_or(&*client, |(kind, _)| kind);
                let detail: Vec<&str> = row
                    .detail
                    .split(' ')
                    .filter(|word| {
                        let number = word.trim_end_matches(',').parse::<i64>().is_ok();
                        !word.starts_with("gr_") && word.len() <= 20 && !number
                    })
                    .collect();
                let (user, address) = (part(&row.username), part(&row.address));
                let detail = detail.join(" ");
                format!(
                    "{} {}: {user} {client} {address}: {detail}",
                    row.kind, row.outcome
                )
            })
            .collect();
        insta::assert_snapshot!("audit_trail", said.join("\n"));
        for row in &rows {
            let by_request = !matches!(row.address.as_deref(), Some("operator" | "server"));
            assert_eq!(row.request_id.is_some(), by_request, "{row:?}");
            assert!((START..=START + 1).contains(&row.at));
        }
    }
}

#[tokio::test]
async fn the_row_carries_the_id_and_the_address_of_the_request() {
    for app in TestApp::everywhere().await {
        let answer = wrong_secret(&app, "192.0.2.7").await;
        let rows = of_kind(&app, Kind::ClientAuthentication).await;
        assert_eq!(
            rows[0].request_id.as_deref(),
            Some(answer.header("x-request-id"))
        );
        assert_eq!(rows[0].address.as_deref(), Some("192.0.2.7"));
        assert_eq!(
            newest(&app, Kind::ClientAuthentication).await,
            [
                "client_authentication",
                "refused",
                "",
                "web",
                "the client secret is wrong"
            ]
        );
    }
}

#[tokio::test]
async fn a_machine_token_writes_nothing_unless_it_is_asked_for() {
    let request = [
        ("grant_type", "client_credentials"),
        ("resource", crate::world::DOCS),
    ];
    for app in TestApp::everywhere().await {
        let log = Log::default();
        let guard = log.listen();
        let before = trail(&app).await.len();
        let answer = app.client("web").token(&request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        drop(guard);
        assert_eq!(trail(&app).await.len(), before);
        let line = log.line("kind=\"tokens_issued\"");
        let id = answer.header("x-request-id");
        for part in ["outcome=\"done\"", "client_id=\"web\"", id] {
            assert!(line.contains(part), "{line}");
        }
    }
    for app in TestApp::everywhere_with("[audit]\nclient_credentials = true\n").await {
        app.client("web").token(&request).await;
        assert_eq!(
            newest(&app, Kind::TokensIssued).await,
            [
                "tokens_issued",
                "done",
                "",
                "web",
                "client_credentials docs.read docs.write"
            ]
        );
    }
}

#[tokio::test]
async fn a_throttled_sign_in_names_the_account_and_the_limit() {
    for app in TestApp::everywhere_with("[sign_in]\nattempts_per_account = 2\n").await {
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        for _ in 0..3 {
            browser
                .submit("/sign-in", &[("username", "alice"), ("password", "wrong")])
                .await;
        }
        let rows = of_kind(&app, Kind::SignIn).await;
        let outcomes: Vec<&str> = rows.iter().map(|row| row.outcome.as_str()).collect();
        assert_eq!(outcomes, ["refused", "refused", "throttled"]);
        assert!(
            rows.iter()
                .all(|row| row.username.as_deref() == Some("alice"))
        );
        assert_eq!(rows[2].detail, "too many attempts for this user");
    }
}

#[tokio::test]
async fn refusals_are_written_in_bounded_amount_and_the_rest_is_told() {
    let log = Log::default();
    let config = "[audit]\nrefusals_per_hour = 20\n";
    for app in Box::pin(log.hears(TestApp::everywhere_with(config))).await {
        let guard = log.listen();
        for _ in 0..5 {
            wrong_secret(&app, "192.0.2.7").await;
        }
        drop(guard);
        let written = of_kind(&app, Kind::ClientAuthentication).await;
        assert_eq!(written.len(), 2, "a tenth for one network");
        let lines = log.text().matches("kind=\"client_authentication\"").count();
        assert_eq!(lines, 5, "each is logged and counted");
        wrong_secret(&app, "192.0.2.8").await;
        assert_eq!(
            newest(&app, Kind::ClientAuthentication).await[4],
            "the client secret is wrong; 3 before it were not written"
        );
        for n in 9..60 {
            wrong_secret(&app, &format!("192.0.2.{n}")).await;
        }
        assert_eq!(of_kind(&app, Kind::ClientAuthentication).await.len(), 20);
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        browser
            .submit("/sign-in", &[("username", "bob"), ("password", "wrong")])
            .await;
        assert_eq!(
            newest(&app, Kind::SignIn).await[2],
            "bob",
            "a kind of its own"
        );
    }
}

#[tokio::test]
async fn a_refused_registration_is_written_without_what_was_sent() {
    for app in TestApp::everywhere_with("[registration]\nper_address_and_hour = 1\n").await {
        let useless = json!({"redirect_uris": ["https://cs_secret.example.com/cb#ra_x"]});
        manage(&app, Method::POST, "/register", "", useless).await;
        assert_eq!(
            newest(&app, Kind::ClientRegistered).await,
            [
                "client_registered",
                "refused",
                "",
                "",
                "invalid_redirect_uri"
            ]
        );
        for _ in 0..2 {
            manage(&app, Method::POST, "/register", "", metadata("Robot")).await;
        }
        assert_eq!(newest(&app, Kind::ClientRegistered).await[1], "throttled");
    }
}

#[tokio::test]
async fn a_change_that_fails_leaves_neither_row_nor_line() {
    let log = Log::default();
    for app in Box::pin(log.hears(TestApp::everywhere())).await {
        let guard = log.listen();
        let store = &app.server.store;
        let record = |user: &'static str| {
            let event = Event::SignOut {
                user: user.into(),
                client: None,
            };
            let entry = app.server.entry(event, &Caller::Server);
            store.write(entry, move |tx, entry: &Entry| {
                Box::pin(async move {
                    tx.record(entry, START);
                    match user {
                        "lost" => Err(sqlx::Error::RowNotFound),
                        _ => Ok(()),
                    }
                })
            })
        };
        // Both in one group of the writer.
        let (lost, kept) = tokio::join!(record("lost"), record("kept"));
        assert!(lost.is_err() && kept.is_ok());
        drop(guard);
        let rows = of_kind(&app, Kind::SignOut).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].user_id.as_deref(), Some("kept"));
        assert!(log.text().contains("user_id=\"kept\""), "{}", log.text());
        assert!(!log.text().contains("lost"), "{}", log.text());
    }
}

#[tokio::test]
async fn a_lost_claim_leaves_no_row_of_tokens() {
    for app in TestApp::everywhere().await {
        let spa = app.client("spa");
        let code = spa.code("").await;
        let (one, two) = tokio::join!(spa.redeem(&code), spa.redeem(&code));
        let won = [one, two]
            .iter()
            .filter(|answer| answer.status.is_success())
            .count();
        assert_eq!(won, 1);
        assert_eq!(of_kind(&app, Kind::TokensIssued).await.len(), 1);
        assert_eq!(
            newest(&app, Kind::Replay).await[..4],
            ["replay", "refused", "alice", "spa"]
        );
    }
}

#[tokio::test]
async fn no_secret_stands_in_a_row_or_in_the_log() {
    let log = Log::default();
    let config = "[audit]\nclient_credentials = true\n";
    for app in Box::pin(log.hears(TestApp::everywhere_with(config))).await {
        let guard = log.listen();
        live(&app).await;
        // Secrets in fields where they do not belong.
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        browser
            .submit("/sign-in", &[("username", PASSWORD), ("password", "x")])
            .await;
        app.post_form(
            "/token",
            &[
                ("grant_type", "client_credentials"),
                ("client_id", SECRET),
                ("client_secret", "web"),
            ],
        )
        .await;
        drop(guard);
        let rows = format!("{:?}", trail(&app).await);
        for (place, text) in [("rows", rows), ("log", log.text())] {
            assert!(text.contains("client_authentication"), "{place}");
            for secret in SECRETS.iter().chain([&PASSWORD]) {
                let found = text.match_indices(secret).find(|(at, _)| {
                    // A prefix begins a word.
                    !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c))
                });
                assert_eq!(found, None, "{place}: {secret}");
            }
        }
    }
}

#[tokio::test]
async fn events_are_found_by_user_client_kind_outcome_address_and_time() {
    for app in TestApp::everywhere().await {
        live(&app).await;
        app.wait(100);
        wrong_secret(&app, "192.0.2.9").await;
        let all = trail(&app).await;
        let alice = app.server.store.user_by_name("alice").await.unwrap();
        let alice = alice.unwrap().id;
        let text = |text: &str| Some(text.to_owned());
        let check = async |filter: Filter, fits: &dyn Fn(&Audited) -> bool| {
            let found: Vec<String> = find(&app, filter).await.into_iter().map(|r| r.id).collect();
            let expected = all.iter().filter(|row| fits(row)).map(|row| row.id.clone());
            assert_eq!(found, expected.collect::<Vec<_>>());
            assert!(!found.is_empty() && found.len() < all.len());
        };
        let any = Filter::default;
        check(
            Filter {
                user: Some(alice.clone()),
                ..any()
            },
            &|row| row.user_id.as_ref() == Some(&alice),
        )
        .await;
        check(
            Filter {
                client: text("web"),
                outcome: text("refused"),
                ..any()
            },
            &|row| row.client_id.as_deref() == Some("web") && row.outcome == "refused",
        )
        .await;
        check(
            Filter {
                kind: text("consent"),
                ..any()
            },
            &|row| row.kind == "consent",
        )
        .await;
        check(
            Filter {
                address: text("192.0.2.9"),
                ..any()
            },
            &|row| row.address.as_deref() == Some("192.0.2.9"),
        )
        .await;
        check(
            Filter {
                since: Some(START + 100),
                ..any()
            },
            &|row| row.at >= START + 100,
        )
        .await;
        check(
            Filter {
                until: Some(START + 100),
                ..any()
            },
            &|row| row.at < START + 100,
        )
        .await;
    }
}

#[tokio::test]
async fn pages_in_both_directions_hold_every_row_once() {
    for app in TestApp::everywhere().await {
        live(&app).await;
        app.wait(5);
        live(&app).await;
        let all: Vec<String> = trail(&app).await.into_iter().map(|row| row.id).collect();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let (mut after, mut paged) = (None, Vec::new());
            loop {
                let store = &app.server.store;
                let page = store
                    .audited(&Filter::default(), order, after.as_ref(), 3)
                    .await
                    .unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.cursor());
                paged.extend(page.into_iter().map(|row| row.id));
            }
            if order == Order::NewestFirst {
                paged.reverse();
            }
            assert_eq!(paged, all);
        }
    }
}

#[tokio::test]
async fn events_are_kept_for_the_configured_time() {
    for app in TestApp::everywhere().await {
        wrong_secret(&app, "192.0.2.7").await;
        app.wait(86_400);
        wrong_secret(&app, "192.0.2.8").await;
        let sweep = async || app.sweep(i64::MAX / 2, 86_400, app.server.now()).await;
        sweep().await;
        assert_eq!(of_kind(&app, Kind::ClientAuthentication).await.len(), 2);
        app.wait(1);
        sweep().await;
        let left = of_kind(&app, Kind::ClientAuthentication).await;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].address.as_deref(), Some("192.0.2.8"));
    }
}

/// Wants every line and keeps none.
struct Everything;

impl tracing::Subscriber for Everything {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// What is logged in this thread: the runtime of a test has only one. The writer of SQLite has its own.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Opens stores whose writers are heard too.
    async fn hears<T>(&self, opening: impl Future<Output = T>) -> T {
        let guard = self.listen();
        let opened = opening.await;
        drop(guard);
        opened
    }

    /// Hears what is said from now on; what was heard before is forgotten.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        // Somebody who wants everything, in every thread: else a line that a thread without a listener meets first may be
        // taken for one that nobody wants.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| {
            tracing::subscriber::set_global_default(Everything).unwrap();
        });
        self.0.lock().unwrap().clear();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The one line with this part.
    fn line(&self, part: &str) -> String {
        let text = self.text();
        let mut lines = text.lines().filter(|line| line.contains(part));
        let line = lines.next().unwrap_or_else(|| panic!("no {part}: {text}"));
        assert_eq!(lines.next(), None);
        line.to_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}
