//! The cache of client id metadata documents. Only valid documents are kept (rule A-58).

use super::{Error, Store, Tx, read, write};

/// A valid document.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Document {
    /// The client id.
    pub url: String,
    /// JSON as it was fetched.
    pub body: String,
    /// Unix seconds.
    pub fetched_at: i64,
    /// Unix seconds; past it the document is fetched again.
    pub fresh_until: i64,
}

impl Store {
    /// The kept copy of a document, fresh or not.
    #[tracing::instrument(target = "otel", name = "store.document", skip_all)]
    pub async fn document(&self, url: &str) -> Result<Option<Document>, Error> {
        const SQL: &str = "SELECT url, body, fetched_at, fresh_until FROM documents WHERE url = $1";
        Ok(read!(self, c => sqlx::query_as(SQL).bind(url).fetch_optional(c).await?))
    }
}

impl Tx {
    /// Keeps a document in the place of an earlier copy. When `most` documents are kept, a new one is not: it still
    /// works, but is fetched each time, and nobody can push out the copies of others. False when it was not kept.
    pub async fn upsert_document(
        &mut self,
        document: &Document,
        most: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO documents (url, body, fetched_at, fresh_until) SELECT $1, $2, $3, $4 \
                           WHERE (SELECT COUNT(*) FROM documents) < $5 OR EXISTS (SELECT 1 FROM documents WHERE url = $1) \
                           ON CONFLICT (url) DO UPDATE SET body = excluded.body, fetched_at = excluded.fetched_at, \
                           fresh_until = excluded.fresh_until";
        let kept = write!(self, c => sqlx::query(SQL)
            .bind(&document.url).bind(&document.body).bind(document.fetched_at).bind(document.fresh_until).bind(most)
            .execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.announce_if(kept).await
    }

    /// Forgets a document; false when none was kept.
    pub async fn delete_document(&mut self, url: &str) -> Result<bool, sqlx::Error> {
        const SQL: &str = "DELETE FROM documents WHERE url = $1";
        let deleted = write!(self, c => sqlx::query(SQL).bind(url).execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.announce_if(deleted).await
    }
}
