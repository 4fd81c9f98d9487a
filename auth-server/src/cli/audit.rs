//! `auth-server audit`: who did what, from where, and how it ended.

use std::io::Write as _;

use auth_server::config::{Span, normal_username};
use auth_server::flow::operator::Operator;
use auth_server::protocol::event::{Kind, Outcome};
use auth_server::store::{Audited, Cursor, Filter, Order};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::output::{self, table};
use super::{Result, Source, mendable};

/// Rows that an export reads at once.
const PAGE: i64 = 1000;
/// Seconds after which no event with that time can still come in: a request may last 30 s, and clocks of nodes differ.
const SETTLED: i64 = 60;

/// Search and export the audit trail
///
/// Sign-ins, consents, tokens, revocations, clients, keys and the operator's own commands, each with who, which client,
/// from where, and the outcome. Events are kept for `audit.keep`.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  auth-server audit list --since 24h --outcome refused
  auth-server audit export > events.jsonl")]
pub(super) enum Audit {
    List(List),
    Export(Export),
}

/// Show events, the newest first
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server audit list --user alice --since 7d
  auth-server audit list --kind sign_in --outcome refused --address 192.0.2.7
  auth-server audit list --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z --json")]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// Go on after the `next` of an earlier answer
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Answer in JSON; `next` is the value for --after, if there may be more
    #[arg(long)]
    json: bool,
}

/// Write events as JSON Lines, the oldest first
///
/// Every line carries the `cursor` to go on after. Without --until, the last minute is left for the next export: an event
/// of it may still be on its way into the database, and an export that goes on after a cursor would miss it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server audit export > events.jsonl
  last=$(tail -n 1 events.jsonl | jq -r .cursor)
  auth-server audit export ${last:+--after=\"$last\"} >> events.jsonl")]
pub(super) struct Export {
    #[command(flatten)]
    which: Which,
    /// Go on after the `cursor` of an earlier line
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

/// Which events.
#[derive(Args)]
struct Which {
    /// From this time on: as long ago as 24h, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    since: Option<When>,
    /// Before this time: as long ago as 24h, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    until: Option<When>,
    /// Of this user: the name, or the `sub` of one who was deleted
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Of this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Of this kind
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    kind: Option<String>,
    /// With this outcome
    #[arg(long, value_name = "OUTCOME", value_parser = outcomes())]
    outcome: Option<String>,
    /// From this address; `operator` for commands, `server` for what it does by itself
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

/// A time: so long ago, or a date.
#[derive(Clone, Copy)]
enum When {
    Ago(i64),
    At(i64),
}

impl Audit {
    pub(super) async fn run(self, source: &Source) -> Result {
        match self {
            Audit::List(list) => list.run(source).await,
            Audit::Export(export) => export.run(source).await,
        }
    }
}

impl List {
    async fn run(self, source: &Source) -> Result {
        source
            .work(async |operator| {
                let filter = self.which.filter(&operator).await?;
                let events = operator
                    .store
                    .audited(&filter, Order::NewestFirst, self.after.as_ref(), self.limit)
                    .await?;
                let full = i64::try_from(events.len()).is_ok_and(|rows| rows >= self.limit);
                let next = events.last().filter(|_| full).map(Audited::cursor);
                let next = next.map(|cursor| cursor.to_string());
                if self.json {
                    let events: Vec<Value> = events.iter().map(shown).collect();
                    return output::json(&json!({"events": events, "next": next}));
                }
                table(
                    [
                        "TIME", "KIND", "OUTCOME", "USER", "CLIENT", "ADDRESS", "DETAIL",
                    ],
                    events.into_iter().map(row),
                )?;
                match next {
                    Some(next) => output::hint(&format!("there may be more: add --after {next}")),
                    None => Ok(()),
                }
            })
            .await
    }
}

impl Export {
    async fn run(self, source: &Source) -> Result {
        source
            .work(async |operator| {
                let mut filter = self.which.filter(&operator).await?;
                filter.until = filter.until.or(Some(operator.effects.now() - SETTLED));
                let mut after = self.after.clone();
                let mut out = std::io::BufWriter::new(std::io::stdout());
                loop {
                    let page = operator
                        .store
                        .audited(&filter, Order::OldestFirst, after.as_ref(), PAGE)
                        .await?;
                    for event in &page {
                        writeln!(out, "{}", shown(event))?;
                    }
                    out.flush()?;
                    match page.last() {
                        Some(last) => after = Some(last.cursor()),
                        None => return Ok(()),
                    }
                }
            })
            .await
    }
}

impl Which {
    async fn filter(&self, operator: &Operator<'_>) -> Result<Filter> {
        let now = operator.effects.now();
        let user = match &self.user {
            Some(name) => Some(user_id(operator, name).await?),
            None => None,
        };
        Ok(Filter {
            since: self.since.map(|when| when.seconds(now)),
            until: self.until.map(|when| when.seconds(now)),
            user,
            client: self.client.clone(),
            kind: self.kind.clone(),
            outcome: self.outcome.clone(),
            address: self.address.clone(),
        })
    }
}

/// The `sub` of a user; one that is known no more may still stand in the trail.
async fn user_id(operator: &Operator<'_>, name: &str) -> Result<String> {
    if let Some(username) = normal_username(name)
        && let Some(user) = operator.store.user_by_name(&username).await?
    {
        return Ok(user.id);
    }
    if name.starts_with("us_") {
        return Ok(name.to_owned());
    }
    mendable(format!(
        "there is no user `{name}`; a user who was deleted is found by the sub, like us_..."
    ))
}

impl When {
    fn parse(text: &str) -> std::result::Result<When, String> {
        if let Ok(Span(seconds)) = Span::parse(text) {
            return Ok(When::Ago(seconds));
        }
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            format!(
                "`{text}`: a time is so long ago, like 24h, or RFC 3339, like 2026-11-21T08:00:00Z"
            )
        })?;
        Ok(When::At(at.unix_timestamp()))
    }

    fn seconds(self, now: i64) -> i64 {
        match self {
            When::Ago(seconds) => now.saturating_sub(seconds),
            When::At(seconds) => seconds,
        }
    }
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(Kind::ALL.map(Kind::as_str))
}

fn outcomes() -> PossibleValuesParser {
    PossibleValuesParser::new(Outcome::ALL.map(Outcome::as_str))
}

fn row(event: Audited) -> [String; 7] {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        output::time(event.at),
        event.kind,
        event.outcome,
        dash(event.username.or(event.user_id)),
        dash(event.client_id),
        dash(event.address),
        event.detail,
    ]
}

fn shown(event: &Audited) -> Value {
    json!({
        "cursor": event.cursor().to_string(),
        "at": event.at,
        "time": output::time(event.at),
        "kind": event.kind,
        "outcome": event.outcome,
        "user_id": event.user_id,
        "username": event.username,
        "client_id": event.client_id,
        "address": event.address,
        "request_id": event.request_id,
        "detail": event.detail,
    })
}
