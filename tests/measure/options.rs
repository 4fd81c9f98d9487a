//! What can be asked of a run, and how large it is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::raw::Raw;

/// Every measure, in the order of the table.
pub(crate) const MEASURES: [&str; 21] = [
    "client-credentials",
    "code-sqlite",
    "refresh-sqlite",
    "code-sqlite-slow",
    "code-sqlite-slow-rate",
    "refresh-sqlite-slow",
    "refresh-sqlite-slow-rate",
    "code-postgres",
    "refresh-postgres",
    "introspection",
    "sign-in",
    "sign-in-storm",
    "discovery",
    "jwks",
    "memory-idle",
    "memory-load",
    "start",
    "stop",
    "growth",
    "sweep",
    "binary",
];

/// What a quick run leaves out where it has them on the steady disk.
const NOT_QUICK: [&str; 2] = ["code-sqlite", "refresh-sqlite"];

/// Measures auth-server on this machine: wrk drives it, and the raw limits of the machine are taken in the same run
///
/// Prints a table and writes target/measure.json. Needs wrk; measures PostgreSQL where it is installed.
#[derive(Parser)]
#[command(name = "cargo measure", max_term_width = 100)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) raw: Option<Raw>,
    /// Shorter loads and smaller stores, codes and refresh tokens on the steady disk alone; in under 50 seconds
    #[arg(long)]
    pub(crate) quick: bool,
    /// These measures alone
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Put other servers beside it: node-oidc-provider, Keycloak, Hydra; installed into target/peers where they can be
    #[arg(long)]
    pub(crate) peers: bool,
    /// Measure this program instead of building one
    #[arg(long, value_name = "PATH")]
    pub(crate) auth_server: Option<PathBuf>,
    /// Connections of each load; twice as many for codes and refresh tokens
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = at_least_one())]
    pub(crate) connections: usize,
    /// How often limit and value are taken by turns; the middle ratio counts. By default 5, or 1 with --quick;
    /// metadata and keys once, and ten times more for each turn after the first, for a third of the time (at least 1 s)
    #[arg(long, value_name = "COUNT", value_parser = at_least_one())]
    pub(crate) turns: Option<usize>,
    /// Seconds of each load; by default 3, or 1 with --quick
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: Option<u64>,
    /// Milliseconds that an fsync lasts at least on the steady disk, which is memory where it has room; with 0 all is measured on
    /// the disk of the build, but what needs a slow one
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2)]
    pub(crate) fsync_delay: u64,
    /// Refresh tokens of the large store of `growth`; by default ten million, or 100,000 with --quick
    #[arg(long, value_name = "COUNT")]
    pub(crate) rows: Option<usize>,
    /// Expired refresh tokens of `sweep`; by default a million, or 100,000 with --quick
    #[arg(long, value_name = "COUNT")]
    pub(crate) expired: Option<usize>,
    /// Where the JSON goes; target/measure.json by default
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// How large the run is.
pub(crate) struct Scale {
    /// Of each load.
    pub(crate) seconds: u64,
    /// Of the load before, which does not count.
    pub(crate) warm: u64,
    /// Of each raw limit.
    pub(crate) raw: Duration,
    /// How often limit and value are taken.
    pub(crate) turns: usize,
    pub(crate) users: usize,
    pub(crate) rows: usize,
    pub(crate) expired: usize,
    /// Grants and clients of the store whose server's memory is measured, and refresh tokens in use.
    pub(crate) grants: usize,
    pub(crate) clients: usize,
    pub(crate) refreshes: usize,
}

impl Options {
    /// True when this measure is part of the run.
    pub(crate) fn wants(&self, name: &str, has_slow_disk: bool) -> bool {
        if self.only.is_empty() {
            return !(self.quick && has_slow_disk && NOT_QUICK.contains(&name));
        }
        self.only.iter().any(|wanted| wanted == name)
    }

    /// Connections of codes and refresh tokens: while some wait for a commit, others are at work.
    pub(crate) fn writing_connections(&self) -> usize {
        2 * self.connections
    }
}

impl Scale {
    pub(crate) fn of(options: &Options) -> Self {
        let Options {
            seconds,
            turns,
            rows,
            expired,
            ..
        } = *options;
        if options.quick {
            Self {
                seconds: seconds.unwrap_or(1),
                warm: 0,
                raw: Duration::from_millis(400),
                turns: turns.unwrap_or(1),
                users: 1_000,
                rows: rows.unwrap_or(100_000),
                expired: expired.unwrap_or(100_000),
                grants: 10_000,
                clients: 1_000,
                refreshes: 5_000,
            }
        } else {
            Self {
                seconds: seconds.unwrap_or(3),
                warm: 2,
                raw: Duration::from_secs(3),
                turns: turns.unwrap_or(5),
                users: 10_000,
                rows: rows.unwrap_or(10_000_000),
                expired: expired.unwrap_or(1_000_000),
                grants: 1_000_000,
                clients: 100_000,
                refreshes: 50_000,
            }
        }
    }

    /// How many turns metadata and keys take, and the seconds of each load: they are quick to answer, so that what other programs
    /// take of the machine shows most, and the closer limit and value are to each other, the more of it they share.
    pub(crate) fn short_turns(&self) -> (usize, u64) {
        (10 * (self.turns - 1) + 1, self.seconds.div_ceil(3))
    }

    /// For the head of the table.
    pub(crate) fn text(&self, options: &Options) -> String {
        let Self {
            seconds,
            warm,
            turns,
            rows,
            expired,
            grants,
            clients,
            ..
        } = self;
        let (short_turns, short) = self.short_turns();
        format!(
            "{}{} connections, {} for codes and refresh tokens, loads of {seconds} s after {warm} s to warm up, {turns} turns, \
             metadata and keys {short_turns} of {short} s; stores of up to {rows} rows, {expired} expired, {grants} grants, {clients} clients",
            if options.quick { "--quick, " } else { "" },
            options.connections,
            options.writing_connections()
        )
    }
}
