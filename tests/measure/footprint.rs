//! What the server takes: memory, time to start and to stop, disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Bench;
use crate::fill::{Fill, Filling};
use crate::http::Connection;
use crate::load::{Bodies, Load};
use crate::machine::{Usage, said};
use crate::seed::Seeds;
use crate::server::{Place, Running};
use crate::site::Site;
use crate::table::{Limit, Measure, Target};

/// Connections of the load under which memory is measured.
const CONNECTIONS: usize = 1_000;
/// Tokens that are asked for when the server is told to stop.
const LAST_CONNECTIONS: usize = 32;
/// What [`footprint`] measures.
pub(crate) const MEASURES: [&str; 4] = ["memory-idle", "memory-load", "start", "stop"];
const DAY: i64 = 86_400;
const BELOW: Target = Target::Below(1.0);

/// Memory, start and stop.
pub(crate) async fn footprint(bench: &mut Bench) -> Result<()> {
    let place = Place::new(&bench.steady, "footprint", None)?;
    let first = place.start(&bench.program).await?;
    if bench.wants("memory-idle") {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let usage = Usage::of(first.pid)?;
        let measure = Measure::new(
            "memory-idle",
            usage.rss,
            "MB",
            Limit::of("target", 40.0),
            BELOW,
        )
        .note(format!(
            "{:.1} MB of it are not backed by a file",
            usage.anonymous
        ));
        bench.table.measures.push(measure);
    }
    let first_start = first.started_in;
    first.stop().await?;
    if !["memory-load", "start", "stop"]
        .iter()
        .any(|name| bench.wants(name))
    {
        return Ok(());
    }

    let seeds = Seeds::new(&place.store, &place.master, bench.scale.users).await?;
    let (grants, clients) = (bench.scale.grants, bench.scale.clients);
    let mut filling = Filling::open(&place.folder.join("auth.db")).await?;
    let now = seeds.now();
    let fill = Fill {
        tokens: grants,
        family: 1,
        expires: (now + DAY, now + 30 * DAY),
        mark: 'm',
    };
    filling.tokens(&fill, seeds.somebody()?).await?;
    filling.clients(clients).await?;
    filling.close().await?;

    let mut starts = Vec::new();
    for _ in 0..3 {
        let running = place.start(&bench.program).await?;
        starts.push(running.started_in);
        running.stop().await?;
    }
    starts.sort();
    if bench.wants("start") {
        let milliseconds = starts[1].as_secs_f64() * 1e3;
        let measure = Measure::new("start", milliseconds, "ms", Limit::of("target", 300.0), BELOW).note(format!(
            "from the start of the process to its first answer, the middle one of three, on a store with {grants} grants and as many refresh tokens; the very \
             first start, which makes the keys, {first_start:.0?}"
        ));
        bench.table.measures.push(measure);
    }
    let site = Site {
        running: place.start(&bench.program).await?,
        place,
        seeds,
    };
    if bench.wants("memory-load") {
        let measure = under_load(bench, &site).await?;
        bench.table.measures.push(measure);
    }
    if bench.wants("stop") {
        let measure = stop(site).await?;
        bench.table.measures.push(measure);
    } else {
        site.close().await?;
    }
    Ok(())
}

/// Half of the connections refresh, half of them are machines: each of another client.
async fn under_load(bench: &Bench, site: &Site) -> Result<Measure> {
    let seconds = bench.scale.seconds;
    let (grants, clients) = (bench.scale.grants, bench.scale.clients);
    let tokens = site.seeds.refresh_tokens(bench.scale.refreshes).await?;
    let tokens: Vec<String> = tokens.into_iter().map(|token| token.body).collect();
    let machines: Vec<String> = (0..clients)
        .map(|number| {
            let proof = site.seeds.machine_proof(&format!("copy-{number}"));
            format!("grant_type=client_credentials&{proof}")
        })
        .collect();
    let (url, folder) = (site.place.url("/token"), site.place.folder.as_path());
    let refreshing = Load::post(
        url.clone(),
        Bodies::Cycle(&tokens),
        CONNECTIONS / 2,
        seconds,
    );
    let asking = Load::post(url, Bodies::Cycle(&machines), CONNECTIONS / 2, seconds);
    let most = async {
        let (until, mut most, mut anonymous) = (Duration::from_secs(seconds + 1), 0.0_f64, 0.0_f64);
        let began = Instant::now();
        while began.elapsed() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let usage = Usage::of(site.running.pid)?;
            (most, anonymous) = (most.max(usage.rss), anonymous.max(usage.anonymous));
        }
        anyhow::Ok((most, anonymous))
    };
    let (refreshed, asked, (most, anonymous)) =
        tokio::try_join!(refreshing.run(folder, None), asking.run(folder, None), most)?;
    let broken = refreshed.broken + asked.broken;
    Ok(Measure::new("memory-load", most, "MB", Limit::of("target", 150.0), BELOW)
        .note(format!(
            "the most of any moment with {grants} grants, {clients} clients and {CONNECTIONS} connections at work: {:.0} refreshes and {:.0} \
             machine tokens a second, {} told to come back; {anonymous:.1} MB are not backed by a file",
            refreshed.rate,
            asked.rate,
            refreshed.refused + asked.refused
        ))
        .fail_if(broken > 0, format!("{broken} requests got no answer")))
}

/// How a worker's last request went.
struct Last {
    answered_at: Instant,
    answers: u64,
    /// How a request ended that got no answer.
    dropped: Option<String>,
}

/// From the last answer to the end of the process, with requests on the way when it is told to stop.
async fn stop(site: Site) -> Result<Measure> {
    let Site {
        place,
        seeds,
        mut running,
    } = site;
    let mut workers = Vec::new();
    for token in seeds.refresh_tokens(LAST_CONNECTIONS).await? {
        workers.push(tokio::spawn(ask_until_closed(place.port, token.body)));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.ask_to_stop().await?;
    let asked = Instant::now();
    let (ended, last) = tokio::join!(end(&mut running), async {
        let (mut latest, mut answers, mut dropped) = (asked, 0, Vec::new());
        for worker in workers {
            let last = worker.await??;
            latest = latest.max(last.answered_at);
            answers += last.answers;
            dropped.extend(last.dropped);
        }
        anyhow::Ok((latest, answers, dropped))
    });
    let (ended, (latest, answers, dropped)) = (ended?, last?);
    seeds.close().await;
    let milliseconds = ended.saturating_duration_since(latest).as_secs_f64() * 1e3;
    Ok(Measure::new("stop", milliseconds, "ms", Limit::of("target", 1_000.0), BELOW)
        .note(format!(
            "from the last answer to the end of the process; {LAST_CONNECTIONS} connections got {answers} answers, and {} requests \
             that were sent got none; the end came {:.0?} after SIGTERM",
            dropped.len(),
            ended.duration_since(asked)
        ))
        .fail_if(
            !dropped.is_empty(),
            format!("requests were dropped: {}", dropped.join("; ")),
        ))
}

async fn end(running: &mut Running) -> Result<Instant> {
    running.ended().await?;
    Ok(Instant::now())
}

/// Refreshes one token again and again, which its grace allows, until the server says that the connection ends or takes
/// no more. A request that was sent on a living connection and got no answer was dropped.
async fn ask_until_closed(port: u16, body: String) -> Result<Last> {
    let mut last = Last {
        answered_at: Instant::now(),
        answers: 0,
        dropped: None,
    };
    loop {
        let Ok(mut connection) = Connection::open(port).await else {
            return Ok(last);
        };
        let (opened, before) = (Instant::now(), last.answers);
        loop {
            let answer = match connection.post("/token", "", &body).await {
                Ok(answer) => answer,
                Err(error) => {
                    let (age, count) = (opened.elapsed(), last.answers - before);
                    last.dropped = Some(format!(
                        "{error:#} after {count} answers on a connection of {age:.1?}"
                    ));
                    return Ok(last);
                }
            };
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            last.answered_at = Instant::now();
            last.answers += 1;
            if answer.is_last() {
                break;
            }
        }
    }
}

/// The file and what it needs.
pub(crate) fn binary(bench: &mut Bench) -> Result<()> {
    if !bench.wants("binary") {
        return Ok(());
    }
    let program: &Path = &bench.program;
    let bytes = program.metadata()?.len();
    let output = std::process::Command::new("ldd")
        .arg(program)
        .output()
        .context("ldd")?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = output
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let libraries: Vec<&str> = libraries
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    let glibc = [
        "linux-vdso",
        "ld-linux",
        "libc.",
        "libm.",
        "libdl.",
        "libpthread.",
        "librt.",
        "libresolv.",
    ];
    let others = libraries.iter().filter(|name| {
        !glibc.iter().any(|ours| name.starts_with(ours)) && !["statically", "not"].contains(name)
    });
    let others: Vec<&str> = others.copied().collect();
    let linker = said("cc", &["--version"]);
    let measure = Measure::new(
        "binary",
        bytes as f64 / 1e6,
        "MB",
        Limit::of("target", 25.0),
        BELOW,
    )
    .note(format!("needs {}; {linker}", quoted(&libraries)))
    .fail_if(
        !others.is_empty(),
        format!("needs more than glibc: {}", quoted(&others)),
    );
    bench.table.measures.push(measure);
    Ok(())
}

/// Names as code, since the notes of a run go into a README.
fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
