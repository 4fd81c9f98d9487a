//! `cargo measure` from end to end, on the programs as the tests build them: that a run gives what it promises, not that
//! the figures of an unoptimised program on a busy machine meet their targets. Measures that differ only in their store
//! or their length are left out: they would cost a minute and run the same code.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::need;
use crate::world;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gives_every_measure_its_value_limit_ratio_and_target() -> Result<()> {
    if need::wrk().is_none() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("measure.json");
    let measures = [
        "client-credentials",
        "refresh-sqlite",
        "discovery",
        "memory-idle",
        "binary",
    ];
    let done = Command::new(env!("CARGO_BIN_EXE_measure"))
        .args(["--quick", "--only", &measures.join(",")])
        .arg("--auth-server")
        .arg(world::binary("auth-server")?)
        .arg("--json")
        .arg(&json)
        .kill_on_drop(true)
        .output()
        .await?;
    let table = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{}: {complaint}", done.status);

    let run: Value = serde_json::from_str(&std::fs::read_to_string(json)?)?;
    for about in ["machine", "cores", "date", "commit", "run", "steady_disk"] {
        ensure!(!run[about].is_null(), "{about} is missing: {run:#}");
    }
    let given = run["measures"].as_object().context("no measures")?;
    ensure!(given.len() == measures.len(), "{run:#}");
    for name in measures {
        let measure = &run["measures"][name];
        let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
        for figure in [
            &measure["value"],
            &measure["limit"]["value"],
            &measure["ratio"],
        ] {
            ensure!(positive(figure), "{name}: {measure:#}");
        }
        ensure!(
            measure["target"].is_string() && measure["met"].is_boolean(),
            "{name}: {measure:#}"
        );
        ensure!(measure["peers"].is_object(), "{name}: {measure:#}");
        ensure!(
            table.contains(&format!("| {name} ")),
            "{name} has no row:\n{table}"
        );
    }
    // No request failed, whatever the rate was.
    for name in ["client-credentials", "refresh-sqlite"] {
        let measure = &run["measures"][name];
        ensure!(
            measure["failures"] == serde_json::json!([]),
            "{name}: {measure:#}"
        );
        ensure!(
            measure["load"]["p99_ms"].as_f64() >= measure["load"]["p50_ms"].as_f64(),
            "{measure:#}"
        );
    }
    Ok(())
}
