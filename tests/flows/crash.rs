//! The authorization server is killed in the middle of its work, a hundred times. Whatever it had acknowledged still holds:
//! refresh tokens, codes allowed, codes used, revocations, registrations, sessions. What was asked and not answered may
//! have happened or not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::{Answer, App};
use crate::browser::Browser;
use crate::need;
use crate::site::Site;
use crate::world::{Setup, World, fresh_database};

const CLIENTS: usize = 4;
const CRASHES: usize = 100;

/// Tokens that a client got, newest first.
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn read(answer: &Answer) -> Result<Self> {
        Ok(Self {
            access: answer.get("access_token")?,
            refresh: answer.get("refresh_token")?,
        })
    }
}

/// Something that the server answered for.
enum Acknowledged {
    /// Tokens of a family that goes on.
    Refreshed,
    /// A code, not redeemed.
    Allowed { code: String, verifier: String },
    /// A code and what it gave.
    Redeemed {
        code: String,
        verifier: String,
        tokens: Tokens,
    },
    /// These tokens.
    Revoked(Tokens),
    /// A client that may be read here with this token.
    Registered { uri: String, token: String },
    /// A browser with a session.
    SignedIn(Browser),
}

impl Acknowledged {
    const KINDS: usize = 6;
    const REFRESHED: usize = 5;

    /// Of the kinds below three, `live` begins with the one that is due.
    fn kind(&self) -> usize {
        match self {
            Self::Allowed { .. } => 0,
            Self::Redeemed { .. } => 1,
            Self::Revoked(_) => 2,
            Self::Registered { .. } => 3,
            Self::SignedIn(_) => 4,
            Self::Refreshed => Self::REFRESHED,
        }
    }

    /// Checks that it still holds.
    async fn holds(self, app: &App, robot: &App, site: &Site) -> Result<()> {
        match self {
            // Checked where the newest token of the family is known.
            Self::Refreshed => Ok(()),
            Self::Allowed { code, verifier } => {
                let answer = app.redeem(&code, &verifier).await?;
                answer.get("access_token").context("a code")?;
                Ok(())
            }
            Self::Redeemed {
                code,
                verifier,
                tokens,
            } => {
                active(robot, &tokens, true).await.context("redeemed")?;
                let next = app.refresh(&tokens.refresh).await?;
                let next = next.get("refresh_token").context("redeemed")?;
                let again = app.redeem(&code, &verifier).await?;
                refused(&again).context("a code was used again")?;
                // A code that comes twice ends what came from it.
                refused(&app.refresh(&next).await?)
                    .context("the tokens of a code that was used twice")
            }
            Self::Revoked(tokens) => {
                active(robot, &tokens, false).await.context("revoked")?;
                refused(&app.refresh(&tokens.refresh).await?).context("revoked")
            }
            Self::Registered { uri, token } => {
                let status = app.http.get(uri).bearer_auth(token).send().await?.status();
                ensure!(status == StatusCode::OK, "a registration: {status}");
                Ok(())
            }
            Self::SignedIn(mut browser) => account(&browser.page(&home(site)).await?),
        }
    }
}

fn home(site: &Site) -> String {
    format!("{}/", site.issuer)
}

fn account(page: &crate::browser::Page) -> Result<()> {
    ensure!(
        page.kind().as_deref() == Some("account"),
        "not signed in: {}",
        page.describe()
    );
    Ok(())
}

async fn active(robot: &App, tokens: &Tokens, due: bool) -> Result<()> {
    let about = robot
        .ask("introspection_endpoint", &[("token", &tokens.access)])
        .await?;
    ensure!(about.body["active"] == due, "{about:?}");
    Ok(())
}

fn refused(answer: &Answer) -> Result<()> {
    ensure!(answer.error() == Some("invalid_grant"), "{answer:?}");
    Ok(())
}

/// What one worker needs.
#[derive(Clone)]
struct Work {
    app: App,
    site: Arc<Site>,
    acknowledged: UnboundedSender<Acknowledged>,
    /// Set once the server is up again: a worker that asked nothing while it was gone has not noticed.
    stop: CancellationToken,
}

/// The end of a load: a request found no server, or lost it before the whole answer was there. Anything else is an error.
fn end(error: anyhow::Error) -> Result<()> {
    let lost = error
        .chain()
        .any(|cause| cause.downcast_ref::<reqwest::Error>().is_some());
    if lost { Ok(()) } else { Err(error) }
}

impl Work {
    fn note(&self, what: Acknowledged) -> Result<()> {
        self.acknowledged.send(what).ok().context("nobody listens")
    }

    /// Refreshes until the server is gone. Gives the last tokens it got an answer with.
    async fn refresh(self, mut tokens: Tokens) -> Result<Tokens> {
        while !self.stop.is_cancelled() {
            match self.app.refresh(&tokens.refresh).await {
                Ok(answer) => tokens = Tokens::read(&answer)?,
                Err(error) => return end(error).map(|()| tokens),
            }
            self.note(Acknowledged::Refreshed)?;
        }
        Ok(tokens)
    }

    /// Works until the server is gone.
    async fn until_the_end(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let ended = self.stop.run_until_cancelled(work).await;
        ended.unwrap_or(Ok(())).or_else(end)
    }

    /// Has the signed-in user allow again and again, and leaves the code, or redeems it, or redeems it and revokes what it
    /// gave: in turn, and `turn` tells with which of the three to begin.
    async fn live(&self, browser: &mut Browser, mut turn: usize) -> Result<()> {
        loop {
            let (code, verifier) = self.app.code(browser, &self.site).await?;
            if turn.is_multiple_of(3) {
                self.note(Acknowledged::Allowed { code, verifier })?;
            } else {
                let tokens = Tokens::read(&self.app.redeem(&code, &verifier).await?)?;
                if turn % 3 == 1 {
                    self.note(Acknowledged::Redeemed {
                        code,
                        verifier,
                        tokens,
                    })?;
                } else {
                    let form = [("token", &*tokens.refresh)];
                    let answer = self.app.ask("revocation_endpoint", &form).await?;
                    ensure!(answer.status == StatusCode::OK, "revocation: {answer:?}");
                    self.note(Acknowledged::Revoked(tokens))?;
                }
            }
            turn += 1;
        }
    }

    async fn register(&self) -> Result<()> {
        let metadata = json!({
            "client_name": "Passing by",
            "redirect_uris": ["http://127.0.0.1/callback"],
            "token_endpoint_auth_method": "client_secret_basic",
        });
        loop {
            let answer = self
                .app
                .http
                .post(self.app.named("registration_endpoint"))
                .header("content-type", "application/json")
                .body(metadata.to_string())
                .send()
                .await?;
            let status = answer.status();
            let text = answer.text().await?;
            ensure!(
                status == StatusCode::CREATED,
                "registration: {status} {text}"
            );
            let body: Value = serde_json::from_str(&text)?;
            let member = |name: &str| {
                let text = body[name].as_str().map(str::to_owned);
                text.with_context(|| format!("no {name} in {body}"))
            };
            self.note(Acknowledged::Registered {
                uri: member("registration_client_uri")?,
                token: member("registration_access_token")?,
            })?;
        }
    }

    async fn sign_in(&self) -> Result<()> {
        loop {
            let mut browser = Browser::through(self.app.http.clone());
            let form = browser
                .page(&format!("{}/sign-in", self.site.issuer))
                .await?;
            account(&browser.sign_in(&form, &self.site.user).await?.page()?)?;
            self.note(Acknowledged::SignedIn(browser))?;
        }
    }
}

async fn hundred_crashes(database: Option<String>, port: u16) -> Result<()> {
    // Every crash leaves a sign-in that was counted and did not end; and all that is done here comes from one address.
    let more = "[sign_in]\nattempts_per_account = 100000\nattempts_per_address = 100000\n\
                [registration]\nper_address_and_hour = 100000\nper_hour = 100000\n";
    let mut world = World::start(Setup {
        database,
        alone: true,
        more,
        ..Setup::default()
    })
    .await?;
    let (app, robot) = (App::visitor(&world, port), App::robot(&world));
    let site = Arc::new(Site::find(world.resource.clone(), world.user.clone()).await?);
    let mut browser = Browser::new();
    let mut families = Vec::new();
    for _ in 0..CLIENTS {
        let (code, verifier) = app.code(&mut browser, &world).await?;
        families.push(Tokens::read(&app.redeem(&code, &verifier).await?)?);
    }
    let mut total = [0; Acknowledged::KINDS];
    for crash in 1..=CRASHES {
        let (acknowledged, mut all) = unbounded_channel();
        let work = Work {
            app: app.clone(),
            site: Arc::clone(&site),
            acknowledged,
            stop: CancellationToken::new(),
        };
        let stop = work.stop.clone();
        let mut refreshing = JoinSet::new();
        for tokens in families.drain(..) {
            refreshing.spawn(work.clone().refresh(tokens));
        }
        let mut others = JoinSet::new();
        let mut own = browser;
        let living = work.clone();
        let living = tokio::spawn(async move {
            let ended = living.until_the_end(living.live(&mut own, crash)).await;
            (own, ended)
        });
        let registering = work.clone();
        others.spawn(async move { registering.until_the_end(registering.register()).await });
        others.spawn(async move { work.until_the_end(work.sign_in()).await });

        // Under way for certain, one of the kinds in turn too, and killed at another moment every time.
        let mut least = [0; Acknowledged::KINDS];
        least[Acknowledged::REFRESHED] = CLIENTS * 2 + crash % 40;
        least[crash % Acknowledged::KINDS] += 1;
        let (mut facts, mut count) = (Vec::new(), [0; Acknowledged::KINDS]);
        let under_way = async {
            while count.iter().zip(&least).any(|(count, least)| count < least) {
                let fact = all.recv().await.context("the load has stopped")?;
                count[fact.kind()] += 1;
                facts.push(fact);
            }
            anyhow::Ok(())
        };
        let under_way = timeout(Duration::from_secs(30), under_way).await;
        world
            .crash_and_restart()
            .await
            .with_context(|| format!("restart {crash}"))?;
        stop.cancel();
        while let Some(tokens) = refreshing.join_next().await {
            families.push(tokens??);
        }
        let (own, ended) = living.await?;
        browser = own;
        ended?;
        while let Some(ended) = others.join_next().await {
            ended??;
        }
        under_way.with_context(|| format!("only {count:?} in 30 s"))??;
        while let Some(fact) = all.recv().await {
            count[fact.kind()] += 1;
            facts.push(fact);
        }
        for (total, count) in total.iter_mut().zip(count) {
            *total += count;
        }

        let lost = || format!("lost in crash {crash}");
        try_join_all(
            facts
                .into_iter()
                .map(|fact| fact.holds(&app, &robot, &site)),
        )
        .await
        .with_context(lost)?;
        let newest = families.iter_mut().map(async |tokens| {
            active(&robot, tokens, true).await?;
            *tokens = Tokens::read(&app.refresh(&tokens.refresh).await?)?;
            anyhow::Ok(())
        });
        try_join_all(newest).await.with_context(lost)?;
    }
    println!(
        "{CRASHES} crashes; acknowledged codes allowed, redeemed, revocations, registrations, sign-ins, refreshes: {total:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_a_hundred_crashes_on_sqlite() -> Result<()> {
    hundred_crashes(None, 43119).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_a_hundred_crashes_on_postgresql() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    hundred_crashes(Some(fresh_database(&server).await?), 43144).await
}
