//! What everybody reads: the metadata document and the key set, against axum answering the same from memory.

use anyhow::{Result, ensure};

use crate::Bench;
use crate::http::{Answer, Connection};
use crate::load::Load;
use crate::raw::{Answering, Constant};
use crate::site::Site;
use crate::table::{Measure, Target};
use crate::turns::Turn;

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

        let bare = Answering::start(&site.place.folder, &constant(&answer)).await?;
        let (turns_taken, seconds) = bench.scale.short_turns();
        let connections = bench.options.connections;
        let bare_load = Load::get(format!("{}/", bare.url), connections, seconds);
        let load = Load::get(site.place.url(path), connections, seconds);
        bench.warm(&bare_load).await?;
        bench.warm(&load).await?;
        let mut turns = Vec::new();
        for turn in 0..turns_taken {
            let (bare, ours) = ((&bare_load, bare.pid), (&load, site.running.pid));
            let (limit, outcome) = bench.drive_both(turn, bare, ours).await?;
            turns.push(Turn::of_rate(limit.rate, outcome));
        }
        bare.stop().await?;
        let what = "axum, same answer";
        let measure = Measure::of_turns(name, "/s", what, turns, Target::AtLeast(0.9))
            .fail_if(etag.is_empty(), "there is no ETag")
            .fail_if(
                !etag.is_empty() && !unchanged,
                "If-None-Match is not answered with 304",
            );
        bench.limit(
            &format!("axum, constant of {} bytes", answer.body.len()),
            measure.limit.value,
            "/s",
        );
        bench.table.measures.push(measure);
    }
    Ok(())
}

/// The same header fields and body; hyper itself adds the length and the date.
fn constant(answer: &Answer) -> Constant {
    let headers = answer.headers.iter();
    let headers = headers.filter(|(name, _)| name != "content-length" && name != "date");
    Constant {
        headers: headers.cloned().collect(),
        body: answer.text(),
    }
}
