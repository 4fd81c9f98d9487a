//! How far the migrations of a database have come, without applying any.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::{Error, Location, MIGRATIONS};

/// The version of a database, and the one that this program brings it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The newest migration that was applied; 0 before the first.
    pub applied: i64,
    /// The newest migration of this program.
    pub newest: i64,
}

impl Version {
    /// Reads the version. A database that does not exist yet has version 0, and stays away.
    pub async fn of(location: &Location) -> Result<Version, Error> {
        const SQL: &str = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";
        let applied: Result<(i64,), sqlx::Error> = match location {
            Location::Sqlite(path) if !path.exists() => Ok((0,)),
            Location::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).read_only(true);
                let mut connection = SqliteConnection::connect_with(&options).await?;
                sqlx::query_as(SQL).fetch_one(&mut connection).await
            }
            Location::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                sqlx::query_as(SQL).fetch_one(&mut connection).await
            }
        };
        let newest = MIGRATIONS.iter().map(|(version, ..)| *version).max();
        Ok(Version {
            applied: match applied {
                Ok((applied,)) => applied,
                Err(error) if is_missing_table(&error) => 0,
                Err(error) => return Err(error.into()),
            },
            newest: newest.unwrap_or(0),
        })
    }
}

/// A code says so on one database, words on the other.
fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == "42P01")
            || error.message().starts_with("no such table")
    })
}
