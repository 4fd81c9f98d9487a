//! More people sign in at once than the server lets wait. Programs that ask for tokens meanwhile get them as before: the
//! work of hashing stays off the threads that answer, is limited, and gives way to them.
//!
//! `cargo measure` holds the exact promise (p99 below twice the quiet one, on a machine of its own). Here other programs may
//! share the cores, so the bound has a floor. Tried: a server that hashes where it answers, one that hashes at the priority
//! of requests, and one that hashes for everybody at once all fail in every round.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{RequestBuilder, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::browser::Browser;
use crate::world::{Setup, World};

const PORT: u16 = 43145;
/// People who sign in again and again: those the server lets wait (256), and a quarter more.
const CROWD: u32 = 320;
/// Quiet and storm in turn, until one round holds: another program on the machine can only make a round worse.
const ROUNDS: usize = 5;
/// How long each half of a round is measured.
const MEASURED: Duration = Duration::from_secs(3);
/// Between two token requests, whether or not the one before was answered.
const PACE: Duration = Duration::from_millis(8);
/// Families of refresh tokens, used in turn, so that no two requests want the same token.
const FAMILIES: usize = 50;
/// A quiet p99 below this counts as this: on two cores in a debug build, one turn of the scheduler is a large part of it.
const FLOOR: Duration = Duration::from_millis(50);

/// The hashes that run at once: one core is left for everything else.
fn capacity() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).max(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_sign_ins_leaves_the_token_endpoint_alone() -> Result<()> {
    let world = World::start(Setup {
        alone: true,
        more: "[sign_in]\nattempts_per_account = 100000\nattempts_per_address = 100000\n",
        ..Setup::default()
    })
    .await?;
    let (robot, visitor) = (App::robot(&world), App::visitor(&world, PORT));
    let mut browser = Browser::new();
    let mut families = Vec::new();
    for _ in 0..FAMILIES {
        let (code, verifier) = visitor.code(&mut browser, &world).await?;
        let tokens = visitor.redeem(&code, &verifier).await?;
        families.push(tokens.get("refresh_token")?);
    }
    let mut browser = Browser::new();
    let page = browser.page(&format!("{}/sign-in", world.issuer)).await?;
    let input = [
        ("username", &*world.user.name),
        ("password", &*world.user.password),
    ];
    let form = browser.filled_in(&page, "login-submit", &input)?;

    let mut behind = Vec::new();
    for _ in 0..ROUNDS {
        let round = Round::measure(&world, &form, &robot, &visitor, &mut families).await?;
        println!("{round:?}");
        let complaints = round.complaints();
        if complaints.is_empty() {
            return Ok(());
        }
        behind = complaints;
    }
    bail!("in each of {ROUNDS} rounds; in the last: {behind:?}");
}

/// What was measured.
#[derive(Debug)]
struct Round {
    /// p99 of the token endpoint before the storm, and in it.
    quiet: Duration,
    stormy: Duration,
    /// Password checks in a second on as many cores as the server may use for them, and nothing else running.
    ceiling: f64,
    /// Sign-ins in a second that succeeded.
    signed_in: f64,
    /// Sign-ins that were told to come back.
    refused: usize,
    hashing: Hashing,
}

impl Round {
    async fn measure(
        world: &World,
        form: &RequestBuilder,
        robot: &App,
        visitor: &App,
        families: &mut [String],
    ) -> Result<Self> {
        // The queue is in order, so this one ends after all that a storm before has left in it.
        while send(form).await? == Answered::ComeBack {
            sleep(Duration::from_millis(200)).await;
        }
        let ceiling = ceiling().await?;
        let quiet = p99(robot, visitor, families).await?;
        let mut storm = Storm::start(form)?;
        storm.breaks_out().await?;
        let (before, start) = (storm.signed_in(), Instant::now());
        let stormy = p99(robot, visitor, families).await?;
        let signed_in = rate(storm.signed_in() - before, start);
        let hashing = Hashing::watch(world.issuer_process()?).await?;
        let refused = storm.end().await?;
        Ok(Self {
            quiet,
            stormy,
            ceiling,
            signed_in,
            refused,
            hashing,
        })
    }

    fn complaints(&self) -> Vec<&'static str> {
        let hashing = &self.hashing;
        [
            (
                self.stormy >= 2 * self.quiet.max(FLOOR),
                "the token endpoint is slower than twice as slow",
            ),
            (
                self.signed_in < self.ceiling / 4.0,
                "fewer sign in than a quarter of those whose passwords can be checked",
            ),
            (self.refused == 0, "nobody was told to come back"),
            (
                hashing.most > 8 * capacity(),
                "more passwords are checked at once than there are cores",
            ),
            (
                hashing.polite * 2 <= hashing.seen,
                "hashing does not give way to requests",
            ),
        ]
        .into_iter()
        .filter_map(|(bad, complaint)| bad.then_some(complaint))
        .collect()
    }
}

/// Password checks in a second.
async fn ceiling() -> Result<f64> {
    use auth_server::credential::password;
    let hash = password::hash("x", [7; 16]).map_err(anyhow::Error::msg)?;
    let (count, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut threads = JoinSet::new();
    for _ in 0..capacity() {
        let (count, hash) = (Arc::clone(&count), hash.clone());
        threads.spawn_blocking(move || {
            while start.elapsed() < Duration::from_secs(1) {
                count.fetch_add(
                    usize::from(password::verify("x", Some(&hash))),
                    Ordering::Relaxed,
                );
            }
        });
    }
    threads.join_all().await;
    Ok(rate(count.load(Ordering::Relaxed), start))
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

/// People who sign in again and again.
struct Storm {
    stop: CancellationToken,
    signed_in: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    people: JoinSet<Result<()>>,
}

impl Storm {
    fn start(form: &RequestBuilder) -> Result<Self> {
        let mut storm = Self {
            stop: CancellationToken::new(),
            signed_in: Arc::default(),
            refused: Arc::default(),
            people: JoinSet::new(),
        };
        for person in 0..CROWD {
            let form = form.try_clone().context("the form cannot be sent twice")?;
            let (signed_in, refused) = (Arc::clone(&storm.signed_in), Arc::clone(&storm.refused));
            let stop = storm.stop.clone();
            // Not in step with the others.
            let rest = Duration::from_millis(800) + Duration::from_millis(2) * person;
            storm.people.spawn(async move {
                let person = sign_in_again_and_again(&form, rest, &signed_in, &refused);
                stop.run_until_cancelled(person).await.unwrap_or(Ok(()))
            });
        }
        Ok(storm)
    }

    fn signed_in(&self) -> usize {
        self.signed_in.load(Ordering::Relaxed)
    }

    /// Waits until the queue is full, hashes are under way, and the first rush is over.
    async fn breaks_out(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.signed_in() == 0 || self.refused.load(Ordering::Relaxed) == 0 {
            if let Some(person) = self.people.try_join_next() {
                person??;
            }
            ensure!(Instant::now() < deadline, "the queue does not get full");
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Sends everybody home, answered or not; gives how many were told to come back.
    async fn end(mut self) -> Result<usize> {
        self.stop.cancel();
        while let Some(person) = self.people.join_next().await {
            person??;
        }
        Ok(self.refused.load(Ordering::Relaxed))
    }
}

async fn sign_in_again_and_again(
    form: &RequestBuilder,
    rest: Duration,
    signed_in: &AtomicUsize,
    refused: &AtomicUsize,
) -> Result<()> {
    loop {
        match send(form).await? {
            Answered::SignedIn => {
                signed_in.fetch_add(1, Ordering::Relaxed);
            }
            Answered::ComeBack => {
                refused.fetch_add(1, Ordering::Relaxed);
                sleep(rest).await;
            }
        }
    }
}

#[derive(PartialEq)]
enum Answered {
    SignedIn,
    ComeBack,
}

async fn send(form: &RequestBuilder) -> Result<Answered> {
    let form = form.try_clone().context("the form cannot be sent twice")?;
    let answer = form.send().await?;
    let retry_after = answer.headers().contains_key("retry-after");
    match answer.status() {
        StatusCode::SEE_OTHER => Ok(Answered::SignedIn),
        StatusCode::SERVICE_UNAVAILABLE if retry_after => Ok(Answered::ComeBack),
        status => bail!("a sign-in got {status}: {}", answer.text().await?),
    }
}

/// Sends refreshes and client credentials in turn at a steady pace; gives the time that 99 of 100 took at most.
async fn p99(robot: &App, visitor: &App, families: &mut [String]) -> Result<Duration> {
    let mut requests = JoinSet::new();
    let mut beat = interval(PACE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let start = Instant::now();
    let mut times = Vec::new();
    // Families whose token is not under way.
    let mut idle: Vec<usize> = (0..families.len()).collect();
    let mut refresh = false;
    while start.elapsed() < MEASURED || !requests.is_empty() {
        tokio::select! {
            Some(done) = requests.join_next() => {
                let (place, token, time): (Option<usize>, String, Duration) = done??;
                times.push(time);
                if let Some(place) = place {
                    families[place] = token;
                    idle.insert(0, place);
                }
            }
            due = beat.tick(), if start.elapsed() < MEASURED => {
                refresh = !refresh;
                let place = if refresh { idle.pop() } else { None };
                let token = place.map(|place| families[place].clone());
                let app = if place.is_some() { visitor.clone() } else { robot.clone() };
                requests.spawn(async move {
                    let got = if let Some(token) = token {
                        app.refresh(&token).await?.get("refresh_token")?
                    } else {
                        let form = [("grant_type", "client_credentials"), ("resource", &*app.resource)];
                        app.token(&form).await?.get("access_token")?
                    };
                    anyhow::Ok((place, got, due.elapsed()))
                });
            }
        }
    }
    times.sort();
    Ok(times[times.len() * 99 / 100])
}

/// The threads of the server that check passwords, seen at many moments.
#[derive(Debug, Default)]
struct Hashing {
    seen: usize,
    /// Those that give way.
    polite: usize,
    /// At one moment.
    most: usize,
}

impl Hashing {
    async fn watch(process: u32) -> Result<Self> {
        let mut all = Self::default();
        for _ in 0..100 {
            let now = standings(process)?;
            let hashing = now.get("password").map_or(&[][..], Vec::as_slice);
            all.seen += hashing.len();
            all.polite += hashing.iter().filter(|one| one.gives_way()).count();
            all.most = all.most.max(hashing.len());
            sleep(Duration::from_millis(7)).await;
        }
        Ok(all)
    }
}

/// How a thread stands behind others that want its core.
#[derive(Debug)]
struct Standing {
    nice: i64,
    /// As `sched_setscheduler(2)` has it.
    policy: i64,
}

impl Standing {
    fn gives_way(&self) -> bool {
        const SCHED_IDLE: i64 = 5;
        self.policy == SCHED_IDLE || self.nice > 0
    }
}

/// Those of the threads of a process, by name.
fn standings(process: u32) -> Result<HashMap<String, Vec<Standing>>> {
    let mut threads: HashMap<String, Vec<Standing>> = HashMap::new();
    for thread in std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"))? {
        // A thread may end meanwhile.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else {
            continue;
        };
        // proc(5): id, name in parentheses, state, …; the nice value is the 19th of all, the policy the 41st.
        let (head, rest) = stat.rsplit_once(')').context("no name")?;
        let name = head.split_once('(').context("no name")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).context("a field is missing");
        threads.entry(name.to_owned()).or_default().push(Standing {
            nice: field(19)?.parse()?,
            policy: field(41)?.parse()?,
        });
    }
    Ok(threads)
}
