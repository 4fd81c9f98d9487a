//! Why the store did not answer, and which of PostgreSQL's errors pass by themselves.

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue of writes is full: answer 503.
    #[error("the store is busy")]
    Busy,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// A row that we wrote cannot be read back.
    #[error("a stored {0} is malformed")]
    Malformed(&'static str),
    /// The file is in use by another process.
    #[error("{0}")]
    Locked(String),
    /// The database went away, or cannot take writes now: it ends, starts, or hands over to a standby. Answer 503.
    #[error(transparent)]
    Away(sqlx::Error),
    /// The files are not as they must be; the text says what to mend.
    #[error("{0}")]
    Unusable(String),
    /// The database refused.
    #[error(transparent)]
    Sql(sqlx::Error),
    /// A migration failed.
    #[error(transparent)]
    Migrate(sqlx::migrate::MigrateError),
    /// A migration was begun and not ended: what its tables hold is not known.
    #[error(
        "the database was left in the middle of migration {0}; bring a backup from before it back"
    )]
    Unfinished(i64),
}

impl Error {
    /// The word under which it is counted.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Busy => "busy",
            Error::Closed => "closed",
            Error::Malformed(_) => "malformed",
            Error::Away(_) => "away",
            Error::Sql(_) => "sql",
            // What befalls a start or a command, never a request.
            _ => "other",
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Error {
        match error {
            sqlx::migrate::MigrateError::Dirty(version) => Error::Unfinished(version),
            error => Error::Migrate(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match error {
            sqlx::Error::PoolTimedOut => Error::Busy,
            error if is_away(&error) => Error::Away(error),
            error => Error::Sql(error),
        }
    }
}

/// Whether SQLite refused because somebody else holds the file (`SQLITE_BUSY`, and its kinds in the bits above).
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = code(error).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Whether the database is away: the connection broke, or the server ends, starts, is full or takes no writes. A broken
/// hello counts too (`Protocol`): that is what a proxy without a server behind it gives.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        error => code(error).is_some_and(|code| AWAY.contains(&&*code) || code.starts_with("08")),
    }
}

/// Serialization failure or deadlock: nothing was written and the same work may succeed now.
pub(super) fn asks_again(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "40001" || code == "40P01")
}

fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// SQLSTATE: ended by the operator, by a crash, starting up; too many connections; read-only.
const AWAY: [&str; 5] = ["57P01", "57P02", "57P03", "53300", "25006"];
