//! The database: whether it answers, how far its migrations have come, and how its server is set up.

use super::{Extent, Findings, files};
use crate::config::Config;
use crate::effects::Effects;
use crate::store::{self, Facts, Location, PostgresFacts, StoredKey, Version};

const ABOUT: &str = "store.url";
/// The oldest PostgreSQL that its makers still mend in 2026.
const OLDEST: i64 = 14;
/// Seconds between two clocks that are worth a word, and that break what is short-lived.
const SKEW: (i64, i64) = (2, 30);

/// Asks the database; gives the signing keys in it when it answers.
pub(super) async fn check(
    found: &mut Findings,
    config: &Config,
    effects: &Effects,
    extent: Extent,
) -> Option<Vec<StoredKey>> {
    if let Location::Sqlite(file) = &config.store {
        files::database(found, file);
    }
    let facts = match store::facts(&config.store).await {
        Ok(facts) => facts,
        Err(error) => {
            let change = "store.url, or what keeps the database away";
            found.error(ABOUT, format!("cannot be read: {error}"), change);
            return None;
        }
    };
    let Facts {
        version,
        keys,
        postgres,
    } = facts;
    migrations(found, version);
    if let Some(postgres) = postgres {
        rights(found, &postgres, version);
        server(found, &postgres);
        connections(found, &postgres, extent.nodes);
        clock(found, postgres.clock - effects.now());
    }
    Some(keys)
}

fn migrations(found: &mut Findings, version: Version) {
    const ABOUT: &str = "migrations";
    let Version {
        applied,
        newest,
        unfinished,
    } = version;
    if let Some(unfinished) = unfinished {
        let says = store::Error::Unfinished(unfinished);
        found.error(ABOUT, says, "the database: `auth-server restore`");
    } else if applied > newest {
        let says = format!("the database is at version {applied}, this program at {newest}");
        found.warning(
            ABOUT,
            says,
            "nothing during an upgrade; else the newer program",
        );
    } else if applied < newest {
        let says = format!("version {newest} is pending, the database is at {applied}");
        found.ok(ABOUT, format!("{says}; the first start applies it"));
    } else {
        found.ok(ABOUT, format!("version {applied}, nothing is pending"));
    }
}

/// What our role may do.
fn rights(found: &mut Findings, postgres: &PostgresFacts, version: Version) {
    if postgres.read_only {
        found.error(
            ABOUT,
            "the database takes no writes: it is a standby or set to read-only",
            "store.url: the primary",
        );
    } else if !postgres.may_write {
        found.error(
            ABOUT,
            "the role may not write the tables",
            "the owner of the tables: the role of store.url",
        );
    } else if !postgres.may_create && version.applied < version.newest {
        found.error(
            ABOUT,
            "the role may not create tables, and migrations are pending",
            "GRANT CREATE ON SCHEMA, or `auth-server migrate` with a role that may",
        );
    } else {
        found.ok(ABOUT, "the database answers and takes writes");
    }
    if postgres.superuser {
        found.warning(
            ABOUT,
            "the role is a superuser",
            "store.url: a role that owns its own database and nothing else",
        );
    }
    if !postgres.private {
        found.warning(
            ABOUT,
            "the connection to the database is not encrypted",
            "store.url: add ?sslmode=verify-full",
        );
    }
}

/// How the server is set up.
fn server(found: &mut Findings, postgres: &PostgresFacts) {
    const ABOUT: &str = "PostgreSQL";
    let before = found.0.len();
    let (major, minor) = (postgres.server / 10_000, postgres.server % 10_000);
    if major < OLDEST {
        let says = format!("version {major}.{minor} is mended no more");
        found.warning(ABOUT, says, "PostgreSQL 14 or newer");
    }
    if !postgres.durable {
        found.warning(
            ABOUT,
            "fsync or full_page_writes is off: a power cut can destroy the database",
            "postgresql.conf: fsync = on, full_page_writes = on",
        );
    }
    if postgres.synchronous_commit == "off" {
        found.warning(
            ABOUT,
            "synchronous_commit is off: a crash forgets revocations and makes used tokens new",
            "postgresql.conf: synchronous_commit = on",
        );
    }
    if postgres.encoding != "UTF8" {
        let says = format!("the encoding is {}", postgres.encoding);
        found.error(ABOUT, says, "a database with ENCODING 'UTF8'");
    }
    if found.0.len() == before {
        found.ok(ABOUT, format!("version {major}.{minor}, durable commits"));
    }
}

fn connections(found: &mut Findings, postgres: &PostgresFacts, nodes: u32) {
    const ABOUT: &str = "connections";
    let (pool, have) = (postgres.pool, postgres.connections);
    let need = i64::from(pool) * i64::from(nodes);
    let says = format!("{nodes} × {pool} are needed, the database allows {have}");
    if need > have {
        found.error(
            ABOUT,
            says,
            "postgresql.conf: max_connections, or fewer nodes",
        );
    } else {
        found.ok(ABOUT, says);
    }
}

fn clock(found: &mut Findings, ahead: i64) {
    const ABOUT: &str = "clock";
    let says = format!("{} s between this clock and the database's", ahead.abs());
    let change = "time synchronization on both machines";
    if ahead.abs() > SKEW.1 {
        found.error(ABOUT, says, change);
    } else if ahead.abs() > SKEW.0 {
        found.warning(ABOUT, says, change);
    } else {
        found.ok(ABOUT, says);
    }
}
