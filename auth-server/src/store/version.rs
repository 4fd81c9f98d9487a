//! How far the migrations of a database have come, without applying any.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::open::MIGRATIONS;
use super::{Error, Location};

/// The version of a database, and the one that this program brings it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The newest migration that was applied; 0 before the first.
    pub applied: i64,
    /// The newest migration of this program.
    pub newest: i64,
    /// A migration that was begun and not ended.
    pub unfinished: Option<i64>,
}

const SQL: &str = "SELECT MAX(CASE WHEN success THEN version END), MIN(CASE WHEN NOT success THEN version END) FROM _sqlx_migrations";

impl Version {
    /// Reads the version. A database that does not exist yet has version 0, and stays away.
    pub async fn of(location: &Location) -> Result<Version, Error> {
        match location {
            Location::Sqlite(path) if !path.exists() => Ok(Version::of_nothing()),
            Location::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).read_only(true);
                Version::within(&mut SqliteConnection::connect_with(&options).await?).await
            }
            Location::Postgres(url) => {
                Version::within_postgres(&mut PgConnection::connect(url).await?).await
            }
        }
    }

    /// The version of a database that does not exist yet.
    pub(super) fn of_nothing() -> Version {
        let newest = MIGRATIONS.iter().map(|(version, ..)| *version).max();
        Version {
            applied: 0,
            newest: newest.unwrap_or(0),
            unfinished: None,
        }
    }

    pub(super) async fn within(connection: &mut SqliteConnection) -> Result<Version, Error> {
        Version::from_row(sqlx::query_as(SQL).fetch_one(connection).await)
    }

    pub(super) async fn within_postgres(connection: &mut PgConnection) -> Result<Version, Error> {
        Version::from_row(sqlx::query_as(SQL).fetch_one(connection).await)
    }

    fn from_row(row: Result<(Option<i64>, Option<i64>), sqlx::Error>) -> Result<Version, Error> {
        let nothing = Version::of_nothing();
        match row {
            Ok((applied, unfinished)) => Ok(Version {
                applied: applied.unwrap_or(0),
                unfinished,
                ..nothing
            }),
            Err(error) if is_missing_table(&error) => Ok(nothing),
            Err(error) => Err(error.into()),
        }
    }
}

/// A code says so on one database, words on the other.
fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == "42P01")
            || error.message().starts_with("no such table")
    })
}
