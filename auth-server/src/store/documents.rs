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
    pub async fn document(&self, url: &str) -> Result<Option<Document>, Error> {
        const SQL: &str = "SELECT url, body, fetched_at, fresh_until FROM documents WHERE url = $1";
        Ok(read!(self, pool => sqlx::query_as(SQL).bind(url).fetch_optional(pool).await?))
    }
}

impl Tx {
    /// Keeps a document in the place of an earlier copy.
    pub async fn upsert_document(&mut self, document: &Document) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO documents (url, body, fetched_at, fresh_until) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (url) DO UPDATE SET body = excluded.body, fetched_at = excluded.fetched_at, \
                           fresh_until = excluded.fresh_until";
        write!(self, c => sqlx::query(SQL)
            .bind(&document.url).bind(&document.body).bind(document.fetched_at).bind(document.fresh_until)
            .execute(c).await.map(|_| ()))
    }
}
