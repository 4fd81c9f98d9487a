//! Would a server start here, and would it be well? Each check answers with one [`Finding`] and changes nothing: no file
//! is made, no migration applied. An error is what keeps `serve` from starting or makes it unsafe; a warning is what an
//! operator should know before people come.

mod files;
mod names;
mod network;
mod store;
mod tls;
mod trusted;

use std::fmt::Display;

use crate::config::Config;
use crate::effects::Effects;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as well or as safely as it could.
    Warning,
    /// It will not work, or is not safe.
    Error,
}

impl Verdict {
    /// The word in the output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Error => "error",
        }
    }
}

/// The answer of one check.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at: the setting, or a part of the machine.
    pub about: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub says: String,
    /// What to change, when something is to be changed.
    pub change: Option<String>,
}

/// How far the check goes.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Nodes that will share the database.
    pub nodes: u32,
    /// Whether names are resolved and hosts asked.
    pub online: bool,
}

/// The answers, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    fn ok(&mut self, about: &'static str, says: impl Display) {
        self.add(about, Verdict::Ok, says, None);
    }

    fn warning(&mut self, about: &'static str, says: impl Display, change: &str) {
        self.add(about, Verdict::Warning, says, Some(change.to_owned()));
    }

    fn error(&mut self, about: &'static str, says: impl Display, change: &str) {
        self.add(about, Verdict::Error, says, Some(change.to_owned()));
    }

    fn add(
        &mut self,
        about: &'static str,
        verdict: Verdict,
        says: impl Display,
        change: Option<String>,
    ) {
        self.0.push(Finding {
            about,
            verdict,
            says: says.to_string(),
            change,
        });
    }

    /// The worst of the answers.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        let worst = self.0.iter().map(|finding| finding.verdict).max();
        worst.unwrap_or(Verdict::Ok)
    }

    /// A configuration that cannot be read ends the check.
    #[must_use]
    pub fn of_mistake(mistake: &str) -> Findings {
        let mut found = Findings::default();
        found.error(
            "configuration",
            mistake,
            "this setting; `auth-server config --example` explains them all",
        );
        found
    }
}

/// Looks at everything that the configuration names.
pub async fn check(config: &Config, effects: &Effects, extent: Extent) -> Findings {
    let mut found = Findings::default();
    found.ok("configuration", "is read and understood");
    network::issuer(&mut found, config);
    network::listen(&mut found, config);
    network::trusted_proxies(&mut found, config);
    tls::certificate(&mut found, config, effects.now());
    tls::certificates(&mut found, config);
    files::open_files(&mut found, config);
    let keys = store::check(&mut found, config, effects, extent).await;
    files::master_key(&mut found, config, keys.as_deref());
    files::catalogue(&mut found, config);
    trusted::issuers(&mut found, config);
    names::names(&mut found, config);
    if let Some(outbound) = network::outbound(&mut found, config, effects, extent.online).await {
        trusted::keys(&mut found, config, &outbound, effects.now()).await;
    }
    found
}
