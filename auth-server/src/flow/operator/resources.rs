//! The operator's work on resources.

use super::{Change, Operator, refuse};
use crate::flow::Result;
use crate::protocol::resource::{self, Resource};

impl Operator<'_> {
    /// Every resource: those of the configuration file, then those of the store.
    pub async fn resources(&self) -> Result<Vec<Resource>> {
        let mut all = self.config.resources.clone();
        let stored = self.store.resources().await?;
        all.extend(
            stored
                .into_iter()
                .filter(|resource| !self.is_configured_resource(&resource.id)),
        );
        Ok(all)
    }

    /// Adds a resource, or replaces the one with the same id; true when it is new.
    pub async fn put_resource(&self, resource: Resource) -> Result<bool> {
        resource.check().map_err(refuse)?;
        self.not_configured(&resource.id)?;
        if resource
            .signing_alg
            .is_some_and(|alg| !self.config.algorithms.contains(&alg))
        {
            return Err(refuse("this algorithm is not among keys.algorithms"));
        }
        let (same, others): (Vec<_>, Vec<_>) = self
            .resources()
            .await?
            .into_iter()
            .partition(|other| other.id == resource.id);
        for spelling in std::iter::once(&resource.id).chain(&resource.aliases) {
            if let Ok(found) = resource::find(&others, &[spelling.as_str()])
                && let Some(other) = found.first()
            {
                return Err(refuse(format!(
                    "`{spelling}` means the resource `{}` already",
                    other.id
                )));
            }
        }
        self.make(Change::PutResource(resource)).await?;
        Ok(same.is_empty())
    }

    /// Removes a resource; no new tokens are issued for it.
    pub async fn delete_resource(&self, id: &str) -> Result<()> {
        self.not_configured(id)?;
        if self.make(Change::DeleteResource(id.to_owned())).await? {
            Ok(())
        } else {
            Err(refuse(format!("there is no resource `{id}`")))
        }
    }

    /// True for a resource of the configuration file.
    #[must_use]
    pub fn is_configured_resource(&self, id: &str) -> bool {
        self.config.resources.iter().any(|known| known.id == id)
    }

    fn not_configured(&self, id: &str) -> Result<()> {
        if self.is_configured_resource(id) {
            return Err(refuse(format!(
                "resource `{id}` stands in the configuration file; change it there and restart the server"
            )));
        }
        Ok(())
    }
}
