//! Whether a large store is slower than a small one, and what forgetting a million rows costs those who wait.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::Bench;
use crate::fill::{Fill, Filling};
use crate::load::{Bodies, Load, Outcome};
use crate::seed::Seeds;
use crate::server::Place;
use crate::site::Site;
use crate::table::{Measure, Target};
use crate::turns::Turn;

const DAY: i64 = 86_400;
/// Refresh tokens of each grant.
const FAMILY: usize = 10;
/// Clients that refresh at once, and the milliseconds that each rests: a busy server that is not at its limit, where a
/// p99 tells about the store and not about the queue in front of it.
const CLIENTS: usize = 32;
const REST: u64 = 20;
/// The server sweeps every 30 s; the first time so long after its start.
const FIRST_SWEEP: Duration = Duration::from_secs(30);
/// The longest time between two looks at whether it is due, in a quick run, with that of the quiet turn before it.
const LONGEST_STEP: Duration = Duration::from_secs(7);

/// p99 of refresh in a small store and in a large one.
pub(crate) async fn growth(bench: &mut Bench) -> Result<()> {
    if !bench.wants("growth") {
        return Ok(());
    }
    let (few, many) = (1_000, bench.scale.rows);
    let small = filled(bench, "few", few).await?;
    let large = filled(bench, "many", many).await?;
    let (mut turns, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.turns {
        let quick = refresh(bench, &small).await?;
        failures.extend(quick.complaint());
        turns.push(Turn::of_p99(quick.p99, refresh(bench, &large).await?));
    }
    small.close().await?;
    large.close().await?;
    let what = format!("{few} rows");
    let mut measure = Measure::of_turns("growth", "ms", &what, turns, Target::Below(1.3)).note(format!(
        "p99 of refresh, {CLIENTS} clients of one request in {REST} ms each, with {many} refresh tokens of a tenth as many grants in the store"
    ));
    measure.failures.extend(failures);
    bench.table.measures.push(measure);
    Ok(())
}

async fn filled(bench: &Bench, name: &str, rows: usize) -> Result<Site> {
    let place = Place::new(&bench.steady, name, None)?;
    let seeds = Seeds::new(&place.store, &place.master, bench.scale.users).await?;
    let now = seeds.now();
    let fill = Fill {
        tokens: rows,
        family: FAMILY,
        expires: (now + DAY, now + 30 * DAY),
        mark: 'g',
    };
    let mut filling = Filling::open(&place.folder.join("auth.db")).await?;
    filling.tokens(&fill, seeds.somebody()?).await?;
    filling.close().await?;
    let running = place.start(&bench.program).await?;
    Ok(Site {
        place,
        seeds,
        running,
    })
}

async fn refresh(bench: &Bench, site: &Site) -> Result<Outcome> {
    let seconds = bench.scale.seconds;
    let most = CLIENTS * usize::try_from(seconds * 1_000 / REST + 1)?;
    let tokens = site.seeds.refresh_tokens(most).await?;
    let bodies: Vec<String> = tokens.into_iter().map(|token| token.body).collect();
    let load = Load {
        pause: REST,
        ..Load::post(
            site.place.url("/token"),
            Bodies::Once(&bodies),
            CLIENTS,
            seconds,
        )
    };
    load.run(&site.place.folder, Some(site.running.pid)).await
}

/// A server with expired rows that will sweep them soon. Begun early, so that the wait costs nothing.
pub(crate) struct Sweep {
    site: Site,
    began: Instant,
    rows: usize,
    /// When the rows ended, unix seconds, the first and the last.
    ended: (i64, i64),
}

impl Sweep {
    pub(crate) async fn prepare(bench: &Bench) -> Result<Option<Self>> {
        if !bench.wants("sweep") {
            return Ok(None);
        }
        let rows = bench.scale.expired;
        let place = Place::new(&bench.steady, "sweep", None)?;
        let seeds = Seeds::new(&place.store, &place.master, bench.scale.users).await?;
        let now = seeds.now();
        let ended = (now - 9 * DAY, now - 2 * DAY);
        let fill = Fill {
            tokens: rows,
            family: FAMILY,
            expires: ended,
            mark: 's',
        };
        let mut filling = Filling::open(&place.folder.join("auth.db")).await?;
        filling.tokens(&fill, seeds.somebody()?).await?;
        filling.close().await?;
        let running = place.start(&bench.program).await?;
        let site = Site {
            place,
            seeds,
            running,
        };
        Ok(Some(Self {
            site,
            began: Instant::now(),
            rows,
            ended,
        }))
    }

    /// True when the first sweep comes so soon that there is no time for anything else before the quiet measure.
    pub(crate) fn is_due(&self) -> bool {
        self.began.elapsed() + LONGEST_STEP > FIRST_SWEEP
    }

    /// p99 of refresh before and during the sweep.
    pub(crate) async fn measure(self, bench: &mut Bench) -> Result<()> {
        let Self { site, rows, .. } = &self;
        let path = site.place.folder.join("auth.db");
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let untouched = self.left(&mut connection).await? >= 1.0;
        let mut quiet = Vec::new();
        for _ in 0..bench.scale.turns {
            quiet.push(refresh(bench, site).await?);
        }
        let untouched = untouched && self.left(&mut connection).await? >= 1.0;
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.left(&mut connection).await? >= 1.0 {
            ensure!(Instant::now() < deadline, "the server does not sweep");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut failures: Vec<String> = quiet.iter().filter_map(Outcome::complaint).collect();
        let mut turns = Vec::new();
        for quiet in quiet {
            if self.left(&mut connection).await? <= 0.0 {
                failures.push("the sweep was over too soon".to_owned());
            }
            turns.push(Turn::of_p99(quiet.p99, refresh(bench, site).await?));
        }
        let left = self.left(&mut connection).await?;
        connection.close().await?;
        let mut measure = Measure::of_turns("sweep", "ms", "quiet", turns, Target::Below(1.5))
            .note(format!(
                "p99 of refresh, {CLIENTS} clients of one request in {REST} ms each, while {rows} expired refresh tokens and their grants \
                 are swept; {:.0} % were gone at the end",
                (1.0 - left) * 100.0
            ))
            .fail_if(!untouched, "the sweep began before the quiet measure ended");
        measure.failures.extend(failures);
        bench.table.measures.push(measure);
        self.site.close().await
    }

    /// Which part of the expired rows is still there. They go in the order of their end, so the first one tells.
    async fn left(&self, connection: &mut SqliteConnection) -> Result<f64> {
        let (first, last) = self.ended;
        let sql = "SELECT MIN(expires_at) FROM refresh_tokens";
        let (oldest,): (Option<i64>,) = sqlx::query_as(sql).fetch_one(connection).await?;
        let oldest = oldest.unwrap_or(last).min(last);
        Ok((last - oldest) as f64 / (last - first) as f64)
    }
}
