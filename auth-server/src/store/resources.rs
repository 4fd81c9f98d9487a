//! Resources that were added at run time, beside those of the configuration file.

use super::{Error, Store, Tx, from_json, read, to_json, write};
use crate::protocol::resource::Resource;

/// Most resources of one server.
const MOST: i64 = 1000;

impl Store {
    /// Every stored resource, by identifier.
    #[tracing::instrument(target = "otel", name = "store.resources", skip_all)]
    pub async fn resources(&self) -> Result<Vec<Resource>, Error> {
        const SQL: &str = "SELECT definition FROM resources ORDER BY id LIMIT $1";
        let rows: Vec<(String,)> =
            read!(self, c => sqlx::query_as(SQL).bind(MOST).fetch_all(c).await?);
        rows.iter()
            .map(|(definition,)| from_json("resource", definition))
            .collect()
    }
}

impl Tx {
    /// Adds or replaces a resource.
    pub async fn upsert_resource(
        &mut self,
        resource: &Resource,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO resources (id, definition, created_at) VALUES ($1, $2, $3) \
                           ON CONFLICT (id) DO UPDATE SET definition = excluded.definition";
        write!(self, c => sqlx::query(SQL).bind(&resource.id).bind(to_json(resource)).bind(now).execute(c).await.map(|_| ()))?;
        self.announce_if(true).await.map(|_| ())
    }

    /// Removes a resource; false when there is none.
    pub async fn delete_resource(&mut self, id: &str) -> Result<bool, sqlx::Error> {
        const SQL: &str = "DELETE FROM resources WHERE id = $1";
        let deleted = write!(self, c => sqlx::query(SQL).bind(id).execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.announce_if(deleted).await
    }
}
