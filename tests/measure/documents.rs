//! What everybody reads: the metadata document and the key set, against axum answering the same bytes.

use anyhow::{Result, ensure};

use crate::Bench;
use crate::http::Connection;
use crate::load::Load;
use crate::raw::Answering;
use crate::site::Site;
use crate::table::{Limit, Measure, Target};

pub(crate) async fn documents(bench: &mut Bench, site: &Site) -> Result<()> {
    let documents = [
        ("discovery", "/.well-known/openid-configuration"),
        ("jwks", "/jwks.json"),
    ];
    for (name, path) in documents {
        if !bench.wants(name) {
            continue;
        }
        let mut connection = Connection::open(site.place.port).await?;
        let answer = connection.get(path, "").await?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        let etag = answer.header("etag").unwrap_or_default().to_owned();
        let again = connection
            .get(path, &format!("If-None-Match: {etag}\r\n"))
            .await?;
        let unchanged = again.status == 304 && again.body.is_empty();

        let bare = Answering::start(&site.place.folder, &answer.body).await?;
        let (connections, seconds) = (bench.options.connections, bench.scale.seconds);
        let load = Load::get(format!("{}/", bare.url), connections, seconds);
        let limit = bench.drive(&load, Some(bare.pid)).await?;
        bare.stop().await?;
        bench.limit(
            &format!("axum, constant of {} bytes", answer.body.len()),
            limit.rate,
            "/s",
        );
        let load = Load::get(site.place.url(path), connections, seconds);
        let outcome = bench.drive(&load, Some(site.running.pid)).await?;
        let limit = Limit::of("axum, same bytes", limit.rate);
        let measure = Measure::rate(name, outcome, limit, Target::AtLeast(0.9))
            .fail_if(etag.is_empty(), "there is no ETag")
            .fail_if(
                !etag.is_empty() && !unchanged,
                "If-None-Match is not answered with 304",
            );
        bench.table.measures.push(measure);
    }
    Ok(())
}
