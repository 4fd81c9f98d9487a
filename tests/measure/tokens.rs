//! The endpoints that clients call: tokens for machines, codes, refresh tokens, introspection.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Bench;
use crate::disk::SlowFsync;
use crate::http::Connection;
use crate::load::{Bodies, Load, Outcome};
use crate::peers;
use crate::postgres::Postgres;
use crate::raw::{self, Answering, Constant, Kind};
use crate::site::Site;
use crate::table::{Limit, Measure, Target};
use crate::turns::Turn;

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
    let bare = Answering::start(&site.place.folder, &Constant::default()).await?;
    let signing = bench.post(format!("{}/token", bare.url), Bodies::Cycle(&bodies));
    let load = bench.post(site.place.url("/token"), Bodies::Cycle(&bodies));
    bench.warm(&signing).await?;
    bench.warm(&load).await?;
    let mut turns = Vec::new();
    for turn in 0..bench.scale.turns {
        let (bare, ours) = ((&signing, bare.pid), (&load, site.running.pid));
        let (limit, outcome) = bench.drive_both(turn, bare, ours).await?;
        turns.push(Turn::of_rate(limit.rate, outcome));
    }
    bare.stop().await?;
    let what = "axum and one signature";
    let mut measure = Measure::of_turns(name, "/s", what, turns, Target::AtLeast(0.7));
    bench.limit(what, measure.limit.value, "/s");
    if bench.options.peers {
        measure.peers = peers::client_credentials(bench).await;
    }
    // Targets that the comparison has to meet are measures of their own.
    let compared = measure.peers.iter().filter_map(|(peer, theirs)| {
        let (name, times) = peers::target(peer)?;
        let limit = Limit::of(*peer, theirs.rate);
        let outcome = measure.load.clone()?;
        Some(Measure::rate(name, outcome, limit, Target::AtLeast(times)))
    });
    let compared: Vec<Measure> = compared.collect();
    bench.table.measures.push(measure);
    bench.table.measures.extend(compared);
    Ok(())
}

/// A token request that writes, on one store.
pub(crate) struct Writing<'a> {
    /// Of the measure against the bare loop on the same store.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Where the bare loop gets its databases; new files when there is none.
    pub(crate) postgres: Option<&'a Postgres>,
    /// A rate is asked for as well where an fsync is slow.
    pub(crate) slow: Option<&'a SlowFsync>,
}

impl Writing<'_> {
    /// The measures that this gives: the ratio to the bare loop, and the rate on a slow disk.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let rate = self.slow.map(|_| match self.kind {
            Kind::Code => "code-sqlite-slow-rate",
            Kind::Refresh => "refresh-sqlite-slow-rate",
        });
        [Some(self.name), rate].into_iter().flatten().collect()
    }
}

/// Codes or refresh tokens against the bare loop on the same database.
pub(crate) async fn writing(bench: &mut Bench, site: &Site, what: Writing<'_>) -> Result<()> {
    let names = what.names();
    let Writing {
        name,
        kind,
        postgres,
        slow,
    } = what;
    let (mut turns, mut bare, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..bench.scale.turns {
        let (width, pace, store) = if let Some(postgres) = postgres {
            let database = format!("{name}_{turn}").replace('-', "_");
            let url = postgres.database(&database).await?;
            (POSTGRES_CONNECTIONS, 4_000.0, url)
        } else {
            let file = site.place.folder.join(format!("{name}-{turn}.db"));
            let width = bench.options.writing_connections().min(GROUP);
            (width, 12_000.0, file.display().to_string())
        };
        let (time, most) = (bench.scale.raw, pace * bench.scale.raw.as_secs_f64());
        let raw = raw::commits(kind, &store, width, most as usize, time, slow).await?;
        let outcome = redeem(bench, site, kind, raw).await?;
        bare.push(raw);
        rates.push(Turn::of_rate(SLOW_DISK_RATE, outcome.clone()));
        turns.push(Turn::of_rate(raw, outcome));
    }
    bare.sort_by(f64::total_cmp);
    let what = match postgres {
        Some(_) => "bare sqlx loop",
        None => "bare group commit",
    };
    bench.limit(&format!("{what}, {name}"), bare[bare.len() / 2], "/s");
    let limits = [("bare loop", turns, 0.8), ("target", rates, 1.0)];
    for (name, (limit, turns, least)) in names.into_iter().zip(limits) {
        if bench.wants(name) {
            let measure = Measure::of_turns(name, "/s", limit, turns, Target::AtLeast(least));
            bench.table.measures.push(match slow {
                Some(slow) => measure.note(format!("an fsync lasts {:?} at least", slow.delay)),
                None => measure,
            });
        }
    }
    Ok(())
}

/// Drives codes or refresh tokens, each used once; more are prepared when they do not last.
async fn redeem(bench: &Bench, site: &Site, kind: Kind, expected_rate: f64) -> Result<Outcome> {
    let seconds = Duration::from_secs(bench.scale.seconds + bench.scale.warm).as_secs_f64();
    let connections = bench.options.writing_connections();
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
                connections,
                ..bench.post(site.place.url("/token"), Bodies::Once(warm))
            };
            load.run(&site.place.folder, None).await?;
        }
        let load = Load {
            connections,
            ..bench.post(site.place.url("/token"), Bodies::Once(rest))
        };
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
