//! Signing in, and what a storm of it does to clients.

use anyhow::{Context as _, Result, ensure};

use crate::Bench;
use crate::http::Connection;
use crate::load::{Bodies, Load};
use crate::machine::cores;
use crate::raw;
use crate::seed::{PASSWORD, username};
use crate::site::Site;
use crate::table::{Measure, Target};
use crate::turns::Turn;

/// People who sign in for each check that can run: somebody always waits, also while others wait for the disk.
const SIGNING_IN: usize = 8;
/// Sign-ins that the server lets wait, as in `auth-server/src/flow/passwords.rs`.
const WAITING: f64 = 256.0;
/// A storm is this many times what the server can check.
const STORM: f64 = 10.0;
/// Milliseconds that a person of the storm rests before the next attempt.
const REST: u64 = 1_000;
/// How many clients ask for tokens meanwhile, and how many milliseconds each rests between two requests.
const CLIENTS: usize = 32;
const CLIENT_REST: u64 = 20;

pub(crate) async fn people(bench: &mut Bench, site: &Site) -> Result<()> {
    if !bench.wants("sign-in") && !bench.wants("sign-in-storm") {
        return Ok(());
    }
    let spare = cores().saturating_sub(1).max(1);
    let one = raw::password_checks(1, bench.scale.raw)?;
    bench.limit("argon2id, one core", one, "/s");
    let form = Form::open(site).await?;
    let (cookie, bodies) = (form.cookie, form.bodies);
    let alone = Load {
        headers: vec![cookie.clone()],
        ..Load::post(
            site.place.url("/sign-in"),
            Bodies::Cycle(&bodies),
            SIGNING_IN * spare,
            bench.scale.seconds,
        )
    };
    let mut turns = Vec::new();
    for _ in 0..bench.scale.turns {
        let ceiling = raw::password_checks(spare, bench.scale.raw)?;
        let outcome = bench.drive(&alone, Some(site.running.pid)).await?;
        turns.push(Turn::of_rate(ceiling, outcome));
    }
    let what = "argon2id, all cores but one";
    let measure = Measure::of_turns("sign-in", "/s", what, turns, Target::AtLeast(0.9))
        .note(format!("{} connections", SIGNING_IN * spare));
    bench.limit(what, measure.limit.value, "/s");
    let capacity = measure.value;
    if bench.wants("sign-in") {
        bench.table.measures.push(measure);
    }
    if bench.wants("sign-in-storm") {
        let measure = storm(bench, site, &cookie, &bodies, capacity).await?;
        bench.table.measures.push(measure);
    }
    Ok(())
}

/// The token endpoint's p99 while [`STORM`] times as many people sign in as the server can check.
async fn storm(
    bench: &Bench,
    site: &Site,
    cookie: &str,
    people: &[String],
    capacity: f64,
) -> Result<Measure> {
    let bodies = vec![site.seeds.machine_body(); 16];
    let clients = Load {
        pause: CLIENT_REST,
        ..Load::post(
            site.place.url("/token"),
            Bodies::Cycle(&bodies),
            CLIENTS,
            bench.scale.seconds,
        )
    };
    let folder = site.place.folder.as_path();
    // Who waits for an answer does not come again, so there are as many more.
    let crowd = (capacity * STORM * 1.25 * REST as f64 / 1e3 + WAITING) as usize;
    let crowd = Load {
        headers: vec![cookie.to_owned()],
        pause: REST,
        // It begins before the clients and ends after them.
        ..Load::post(
            site.place.url("/sign-in"),
            Bodies::Cycle(people),
            crowd,
            clients.seconds + 2,
        )
    };
    let (mut turns, mut notes, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.scale.turns {
        let quiet = clients.run(folder, Some(site.running.pid)).await?;
        let stormy = async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            clients.run(folder, Some(site.running.pid)).await
        };
        let (crowd, stormy) = tokio::try_join!(crowd.run(folder, None), stormy)?;
        let offered = crowd.offered / capacity;
        let accepted = crowd.requests.saturating_sub(crowd.refused);
        notes.push(format!(
            "{offered:.1} times as many, {accepted} signed in, {} were told to come back",
            crowd.refused
        ));
        if offered < STORM {
            failures.push(format!(
                "the storm was only {offered:.1} times the capacity"
            ));
        }
        if crowd.broken > 0 {
            failures.push(format!("{} sign-ins got no answer", crowd.broken));
        }
        failures.extend(quiet.complaint());
        turns.push(Turn::of_p99(quiet.p99, stormy));
    }
    let mut measure = Measure::of_turns("sign-in-storm", "ms", "quiet", turns, Target::Below(2.0))
        .note(format!(
            "p99 of client credentials, {CLIENTS} clients of one request in {CLIENT_REST} ms each, during many times as many sign-ins \
             as the server can check: {}",
            notes.join("; ")
        ));
    measure.failures.extend(failures);
    Ok(measure)
}

/// The sign-in form as a browser has it.
struct Form {
    /// A header line.
    cookie: String,
    /// One for each user.
    bodies: Vec<String>,
}

impl Form {
    async fn open(site: &Site) -> Result<Self> {
        let mut connection = Connection::open(site.place.port).await?;
        let page = connection.get("/sign-in", "").await?;
        let cookie = page
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next());
        let cookie = format!(
            "Cookie: {}",
            cookie.context("the sign-in page sets no cookie")?
        );
        let text = page.text();
        let csrf = text
            .split("name=\"csrf\" value=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let csrf = csrf.context("the sign-in page has no CSRF token")?;
        let password = PASSWORD.replace(' ', "+");
        let bodies: Vec<String> = (0..64)
            .map(|number| {
                format!(
                    "csrf={csrf}&username={}&password={password}",
                    username(number)
                )
            })
            .collect();
        let answer = connection
            .post("/sign-in", &format!("{cookie}\r\n"), &bodies[0])
            .await?;
        ensure!(
            answer.status == 303,
            "the sign-in was answered with {}: {}",
            answer.status,
            answer.text()
        );
        Ok(Self { cookie, bodies })
    }
}
