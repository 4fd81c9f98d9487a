//! Whether the store answers and how busy it is, for the health check and the metrics.

use super::{Backend, Error, Store, read};

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
    /// True when the database answers, for reading and for writing.
    pub async fn is_ready(&self) -> bool {
        self.answers().await.is_ok()
            && self
                .write((), |_, ()| Box::pin(async { Ok(()) }))
                .await
                .is_ok()
    }

    async fn answers(&self) -> Result<(), Error> {
        read!(self, c => sqlx::query("SELECT 1").execute(c).await.map(|_| ())?);
        Ok(())
    }

    /// What the store is busy with now.
    pub fn load(&self) -> Load {
        let (queued, (size, idle)) = match &self.backend {
            Backend::Sqlite { read, writer } => (writer.queued(), read.count()),
            Backend::Postgres { pool, .. } => (0, pool.count()),
        };
        Load {
            queued,
            used: size.saturating_sub(idle),
            idle,
        }
    }
}
