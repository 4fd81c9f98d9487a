//! `auth-server check`: would a server start here, and would it be well?

use auth_server::effects::Effects;
use auth_server::flow::check::{Extent, Finding, Findings, Verdict, check};
use clap::Args;
use serde_json::{Value, json};

use super::{Result, Source, mendable, output};

/// Look at everything that the configuration names, and change nothing
///
/// For a deploy: settings, listener, database and its server, migrations, master key, permissions, room on the disk, limits.
/// One line each: ok, warning or error, and what to change.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server check && systemctl restart auth-server
  auth-server check --nodes 3 --online
  auth-server check --json | jq '.checks[] | select(.verdict != \"ok\")'

Exit code 0: nothing is in the way, though there may be warnings. 2: there is an error, or with
--strict a warning. 1: the check itself failed.")]
pub(super) struct Check {
    /// How many nodes will share the PostgreSQL database
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    nodes: u32,
    /// Ask the network too: the issuer's own URL, a client's published document, keys of trusted issuers
    #[arg(long)]
    online: bool,
    /// Count warnings as errors
    #[arg(long)]
    strict: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) async fn run(&self, source: &Source) -> Result {
        let found = match source.config() {
            Ok(config) => {
                let extent = Extent {
                    nodes: self.nodes,
                    online: self.online,
                };
                check(&config, &Effects::system(), extent).await
            }
            Err(super::Failure::Mendable(mistake)) => Findings::of_mistake(&mistake),
            Err(failure) => return Err(failure),
        };
        if self.json {
            let checks: Vec<Value> = found.0.iter().map(as_json).collect();
            output::json(&json!({"verdict": found.worst().as_str(), "checks": checks}))?;
        } else {
            for finding in &found.0 {
                output::line(&as_line(finding))?;
            }
        }
        let count = |verdict| found.0.iter().filter(|f| f.verdict == verdict).count();
        let least = if self.strict {
            Verdict::Warning
        } else {
            Verdict::Error
        };
        if found.worst() < least {
            return Ok(());
        }
        mendable(format!(
            "{}, {}",
            counted(count(Verdict::Error), "error"),
            counted(count(Verdict::Warning), "warning")
        ))
    }
}

fn counted(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

fn as_line(finding: &Finding) -> String {
    let Finding {
        about,
        verdict,
        says,
        change,
    } = finding;
    let line = format!("{:<8} {about}: {says}", verdict.as_str());
    match change {
        Some(change) => format!("{line}; change {change}"),
        None => line,
    }
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "about": finding.about,
        "verdict": finding.verdict.as_str(),
        "says": finding.says,
        "change": finding.change,
    })
}
