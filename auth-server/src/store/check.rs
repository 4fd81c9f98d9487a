//! What a database says of itself, without a change to it: no migration, no side file, no lock that anybody waits for.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::open::CONNECTIONS;
use super::{Error, Location, StoredKey, Version};

/// How long a database may take to answer.
const LONGEST: Duration = Duration::from_secs(10);

/// What a database says of itself.
#[derive(Debug)]
pub struct Facts {
    /// How far its migrations have come.
    pub version: Version,
    /// The newest signing keys in it, at most 64.
    pub keys: Vec<StoredKey>,
    /// What PostgreSQL tells about its server.
    pub postgres: Option<PostgresFacts>,
}

/// What a PostgreSQL server says of itself and of our role.
#[derive(Debug, sqlx::FromRow)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is the answer to one question of the check"
)]
pub struct PostgresFacts {
    /// `server_version_num`: 150004 is 15.4.
    pub server: i64,
    /// `max_connections` without those that are reserved for superusers.
    pub connections: i64,
    /// Most connections that one node of ours opens.
    #[sqlx(skip)]
    pub pool: u32,
    /// `fsync` and `full_page_writes`.
    pub durable: bool,
    /// `synchronous_commit`.
    pub synchronous_commit: String,
    /// A standby, or read-only by its settings.
    pub read_only: bool,
    /// Whether our role is a superuser.
    pub superuser: bool,
    /// Whether our role may create tables in its schema.
    pub may_create: bool,
    /// Whether our role may write the tables that are there.
    pub may_write: bool,
    /// Encoding of the database.
    pub encoding: String,
    /// The server's clock, unix seconds.
    pub clock: i64,
    /// Whether the connection is encrypted, or stays on this machine.
    #[sqlx(skip)]
    pub private: bool,
}

/// Asks the database. A SQLite file that is not there has version 0, and stays away.
pub async fn facts(location: &Location) -> Result<Facts, Error> {
    let asked = async {
        match location {
            Location::Sqlite(path) => sqlite(path).await,
            Location::Postgres(url) => postgres(url).await,
        }
    };
    tokio::time::timeout(LONGEST, asked)
        .await
        .unwrap_or_else(|_| Err(Error::Unusable("the database does not answer".into())))
}

const KEYS: &str = "SELECT kid, alg, sealed, created_at, signs_from, retires_at FROM keys \
                    ORDER BY signs_from DESC, kid LIMIT 64";

async fn sqlite(path: &Path) -> Result<Facts, Error> {
    let mut facts = Facts {
        version: Version::of_nothing(),
        keys: Vec::new(),
        postgres: None,
    };
    if !path.exists() {
        return Ok(facts);
    }
    // With nothing in the side file everything stands in the database itself, and reading as if nobody wrote makes no
    // side files.
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(std::fs::metadata(&wal).map_or(0, |about| about.len()) == 0);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    facts.version = Version::within(&mut connection).await?;
    if facts.version.applied > 0 {
        facts.keys = sqlx::query_as(KEYS).fetch_all(&mut connection).await?;
    }
    connection.close().await?;
    Ok(facts)
}

async fn postgres(url: &str) -> Result<Facts, Error> {
    const SQL: &str = "SELECT CAST(current_setting('server_version_num') AS BIGINT) AS server, \
        CAST(current_setting('max_connections') AS BIGINT) - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS connections, \
        current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS durable, \
        current_setting('synchronous_commit') AS synchronous_commit, \
        pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only, \
        current_setting('is_superuser') = 'on' AS superuser, \
        COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AS may_create, \
        NOT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename IN ('users', 'grants', 'keys', 'audit') \
            AND NOT has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), 'INSERT, UPDATE, DELETE')) AS may_write, \
        current_setting('server_encoding') AS encoding, \
        CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp())) AS BIGINT) AS clock";
    const ENCRYPTED: &str =
        "SELECT COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), FALSE)";
    let options: PgConnectOptions = url.parse()?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let mut postgres: PostgresFacts = sqlx::query_as(SQL).fetch_one(&mut connection).await?;
    // And the one that listens for changes.
    postgres.pool = CONNECTIONS + 1;
    let here = ["localhost", "127.0.0.1", "::1", "[::1]"];
    let encrypted: bool = match options.get_ssl_mode() {
        PgSslMode::Disable => false,
        _ => {
            sqlx::query_scalar(ENCRYPTED)
                .fetch_one(&mut connection)
                .await?
        }
    };
    postgres.private =
        encrypted || options.get_socket().is_some() || here.contains(&options.get_host());
    let version = Version::within_postgres(&mut connection).await?;
    let keys = if version.applied > 0 {
        sqlx::query_as(KEYS).fetch_all(&mut connection).await?
    } else {
        Vec::new()
    };
    connection.close().await?;
    Ok(Facts {
        version,
        keys,
        postgres: Some(postgres),
    })
}
