//! How busy the store is, for the metrics.

use super::{Backend, Error, Store};

/// What the store is busy with now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Writes that wait for SQLite's writer.
    pub queued: usize,
    /// Connections of the pool that are in use.
    pub used: usize,
    /// Connections of the pool that are not.
    pub idle: usize,
}

impl Store {
    /// What the store is busy with now.
    pub fn load(&self) -> Load {
        let (queued, size, idle) = match &self.backend {
            Backend::Sqlite { read, writer } => (writer.queued(), read.size(), read.num_idle()),
            Backend::Postgres(pool) => (0, pool.size(), pool.num_idle()),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Load {
            queued,
            used: size.saturating_sub(idle),
            idle,
        }
    }
}

impl Error {
    /// The word under which it is counted.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Busy => "busy",
            Error::Closed => "closed",
            Error::Malformed(_) => "malformed",
            Error::Sql(_) => "sql",
            // What befalls a start or a command, never a request.
            _ => "other",
        }
    }
}
