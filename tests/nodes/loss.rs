//! A node dies without warning.

use anyhow::Result;

use super::cluster::Cluster;
use super::load::Load;
use crate::need;
use crate::world::fresh_database;

const PORT: u16 = 43141;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_costs_no_request_more_than_one_retry() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    let Some(mut cluster) = Cluster::start(&fresh_database(&server).await?).await? else {
        return Ok(());
    };
    let mut load = Load::start(&cluster, PORT, 1).await?;
    for node in [1, 0, 2] {
        cluster.kill(node).await?;
        for _ in 0..5 {
            load.goes_on().await?;
        }
        cluster.bring_up(node).await?;
        load.goes_on().await?;
    }
    load.end().await?;
    Ok(())
}
