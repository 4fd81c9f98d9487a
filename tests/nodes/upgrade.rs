//! The next version arrives: its migration is applied while the nodes of this version work, and then they are replaced one
//! by one. Nobody notices.

use std::path::Path;

use anyhow::Result;
use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;

use super::cluster::{Cluster, NODES};
use super::load::Load;
use crate::need;
use crate::world::fresh_database;

const PORT: u16 = 43142;

/// Applies our migrations and the next version's, as the next version would at its start.
async fn migrate(database: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for place in ["migrations", "tests/nodes/next"] {
        for file in std::fs::read_dir(need::root().join(place))? {
            let file = file?.path();
            if file.extension().is_some_and(|kind| kind == "sql") {
                std::fs::copy(
                    &file,
                    folder.path().join(file.file_name().unwrap_or_default()),
                )?;
            }
        }
    }
    let migrator = Migrator::new(Path::new(folder.path())).await?;
    let mut connection = PgConnection::connect(database).await?;
    migrator.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_replaced_one_by_one_over_a_newer_schema_and_no_request_fails() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    let database = fresh_database(&server).await?;
    let Some(mut cluster) = Cluster::start(&database).await? else {
        return Ok(());
    };
    let mut load = Load::start(&cluster, PORT, 0).await?;
    migrate(&database).await?;
    load.goes_on().await?;
    for node in 0..NODES.len() {
        cluster.take_down(node).await?;
        load.goes_on().await?;
        cluster.bring_up(node).await?;
        load.goes_on().await?;
    }
    load.end().await?;
    Ok(())
}
