//! The endpoints that clients call: tokens for machines, codes, refresh tokens, introspection.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Bench;
use crate::http::Connection;
use crate::load::{Bodies, Load, Outcome};
use crate::peers;
use crate::raw::{self, Answering, Kind};
use crate::server::SlowFsync;
use crate::site::Site;
use crate::table::{Limit, Measure, Target};

/// `PostgreSQL` connections of one server, as in `auth-server/src/store`.
const POSTGRES_CONNECTIONS: usize = 32;
/// Most requests of one `SQLite` transaction, as in `auth-server/src/store/writer.rs`.
const GROUP: usize = 256;
/// What a disk with an ordinary fsync must carry, in requests a second.
const SLOW_DISK_RATE: f64 = 5_000.0;
/// Introspections a second of one core.
const INTROSPECTIONS: f64 = 10_000.0;

/// Client credentials against a bare server that signs, and against peers.
pub(crate) async fn client_credentials(bench: &mut Bench, site: &Site) -> Result<()> {
    let name = "client-credentials";
    if !bench.wants(name) {
        return Ok(());
    }
    let bodies = vec![site.seeds.machine_body(); 16];
    let bare = Answering::start(&site.place.folder, b"").await?;
    let load = bench.post(format!("{}/token", bare.url), Bodies::Cycle(&bodies));
    let limit = bench.drive(&load, Some(bare.pid)).await?;
    bare.stop().await?;
    ensure!(
        limit.complaint().is_none(),
        "the bare server failed: {limit:?}"
    );
    bench.limit("axum and one signature", limit.rate, "/s");
    let load = bench.post(site.place.url("/token"), Bodies::Cycle(&bodies));
    let outcome = bench.drive(&load, Some(site.running.pid)).await?;
    let limit = Limit::of("axum and one signature", limit.rate);
    let mut measure = Measure::rate(name, outcome.clone(), limit, Target::AtLeast(0.7));
    if bench.options.peers {
        measure.peers = peers::client_credentials(bench).await;
    }
    // Targets that the comparison has to meet are measures of their own.
    let compared = measure.peers.iter().filter_map(|(peer, theirs)| {
        let (name, times) = peers::target(peer)?;
        let limit = Limit::of(*peer, theirs.rate);
        Some(Measure::rate(
            name,
            outcome.clone(),
            limit,
            Target::AtLeast(times),
        ))
    });
    let compared: Vec<Measure> = compared.collect();
    bench.table.measures.push(measure);
    bench.table.measures.extend(compared);
    Ok(())
}

/// A token request that writes, on one store.
pub(crate) struct Writing<'a> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The database for the bare loop; a new file when there is none.
    pub(crate) postgres: Option<String>,
    pub(crate) slow: Option<&'a SlowFsync>,
}

/// Codes or refresh tokens against the bare loop on the same database.
pub(crate) async fn writing(bench: &mut Bench, site: &Site, what: Writing<'_>) -> Result<()> {
    let Writing {
        name,
        kind,
        postgres,
        slow,
    } = what;
    if !bench.wants(name) {
        return Ok(());
    }
    let on_postgres = postgres.is_some();
    let file = site
        .place
        .folder
        .join(format!("{name}.db"))
        .display()
        .to_string();
    let store = postgres.unwrap_or(file);
    let width = if on_postgres {
        POSTGRES_CONNECTIONS
    } else {
        bench.options.connections.min(GROUP)
    };
    let most = if on_postgres { 4_000.0 } else { 12_000.0 } * bench.scale.raw.as_secs_f64();
    let raw = raw::commits(kind, &store, width, most as usize, bench.scale.raw, slow).await?;
    let bare = if on_postgres {
        format!("bare sqlx loop, {name}")
    } else {
        format!("bare group commit, {name}")
    };
    bench.limit(&bare, raw, "/s");
    let outcome = redeem(bench, site, kind, raw).await?;
    let ratio = outcome.rate / raw;
    let measure = match slow {
        Some(slow) => {
            let limit = Limit::of("target", SLOW_DISK_RATE);
            Measure::rate(name, outcome, limit, Target::AtLeast(1.0)).note(format!(
                "an fsync lasts {:?} at least, the disk's own or made longer by a preloaded library; {ratio:.2} of the bare loop on the same",
                slow.delay
            ))
        }
        None => Measure::rate(
            name,
            outcome,
            Limit::of("bare loop", raw),
            Target::AtLeast(0.8),
        ),
    };
    bench.table.measures.push(measure);
    Ok(())
}

/// Drives codes or refresh tokens, each used once; more are prepared when they do not last.
async fn redeem(bench: &Bench, site: &Site, kind: Kind, expected_rate: f64) -> Result<Outcome> {
    let seconds = Duration::from_secs(bench.scale.seconds + bench.scale.warm).as_secs_f64();
    let mut count = (expected_rate * seconds * 1.25) as usize + 2_000;
    loop {
        let bodies: Vec<String> = match kind {
            Kind::Code => {
                let codes = site.seeds.codes(count).await?;
                codes.into_iter().map(|code| code.body).collect()
            }
            Kind::Refresh => {
                let tokens = site.seeds.refresh_tokens(count).await?;
                tokens.into_iter().map(|token| token.body).collect()
            }
        };
        let warm =
            count * bench.scale.warm as usize / (bench.scale.warm + bench.scale.seconds) as usize;
        let (warm, rest) = bodies.split_at(warm);
        if !warm.is_empty() {
            let load = Load {
                seconds: bench.scale.warm,
                ..bench.post(site.place.url("/token"), Bodies::Once(warm))
            };
            load.run(&site.place.folder, None).await?;
        }
        let load = bench.post(site.place.url("/token"), Bodies::Once(rest));
        let outcome = load.run(&site.place.folder, Some(site.running.pid)).await?;
        if !outcome.exhausted || count > 4_000_000 {
            return Ok(outcome);
        }
        count *= 2;
    }
}

/// Introspection of users' access tokens by the operator's client.
pub(crate) async fn introspection(bench: &mut Bench, site: &Site) -> Result<()> {
    let name = "introspection";
    if !bench.wants(name) {
        return Ok(());
    }
    let proof = site.seeds.machine_proof(crate::seed::MACHINE);
    let mut connection = Connection::open(site.place.port).await?;
    let mut bodies = Vec::new();
    for token in site.seeds.refresh_tokens(256).await? {
        let answer = connection.post("/token", "", &token.body).await?;
        let answer: Value = serde_json::from_slice(&answer.body)?;
        let token = answer["access_token"].as_str().context("no access token")?;
        bodies.push(format!("token={token}&{proof}"));
    }
    let answer = connection.post("/introspect", "", &bodies[0]).await?;
    ensure!(
        answer.text().contains("\"active\":true"),
        "{}",
        answer.text()
    );
    let load = bench.post(site.place.url("/introspect"), Bodies::Cycle(&bodies));
    let outcome = bench.drive(&load, Some(site.running.pid)).await?;
    let cpu = outcome.cpu_micros.context("no CPU time")?;
    let (rate, complaint) = (outcome.rate, outcome.complaint());
    let limit = Limit::of("target", INTROSPECTIONS);
    let mut measure = Measure::new(name, 1e6 / cpu, "/s", limit, Target::AtLeast(1.0)).note(
        format!("for each second of the server's CPU time; {rate:.0}/s beside the load generator"),
    );
    measure.failures.extend(complaint);
    measure.load = Some(outcome);
    bench.table.measures.push(measure);
    Ok(())
}
