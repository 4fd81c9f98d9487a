//! Bringing a database to the newest version, one process at a time: PostgreSQL by the advisory lock that sqlx takes,
//! SQLite by one transaction around everything that is pending. A database from a newer program is taken as it is,
//! because migrations only add; one whose migration was begun and not ended is refused.

use std::borrow::Cow;

use sqlx::Connection as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::open::MIGRATIONS;
use super::{Error, Version};

pub(super) async fn sqlite(connection: &mut SqliteConnection) -> Result<(), Error> {
    let version = Version::within(connection).await?;
    if version.applied >= version.newest {
        // Only looks: a command does not wait for the server's writer.
        migrator().run(&mut *connection).await?;
    } else {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        migrator().run(&mut *tx).await?;
        tx.commit().await?;
    }
    tell_newer(version);
    Ok(())
}

pub(super) async fn postgres(connection: &mut PgConnection) -> Result<(), Error> {
    migrator().run(&mut *connection).await?;
    tell_newer(Version::within_postgres(connection).await?);
    Ok(())
}

fn tell_newer(
    Version {
        applied, newest, ..
    }: Version,
) {
    if applied > newest {
        tracing::warn!(
            database = applied,
            program = newest,
            "the database was brought to a newer version by a newer program; migrations only add, so this one goes on"
        );
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(
            *version,
            Cow::Borrowed(*name),
            MigrationType::Simple,
            sqlx::SqlStr::from_static(sql),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator
}
