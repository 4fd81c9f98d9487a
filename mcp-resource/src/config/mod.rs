//! The configuration: what was written ([`written`]) becomes what it means ([`Config`]).
//!
//! 1. Defaults (`keys`), the TOML file, the environment, `--set`: later wins, unknown names are refused.
//! 2. Every value is checked once and becomes a type that cannot be wrong any more.
//!
//! An error names the key, where it was written and what to write instead.

mod keys;
mod meaning;
mod written;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use toml::Value;
use url::Url;

use crate::guard::{Guard, Scopes};
use crate::index::Settings;
use keys::KEYS;
use written::{Origin, Written};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "mcp-resource.toml";
/// The environment variable that names another file.
pub const FILE_VARIABLE: &str = "MCP_RESOURCE_CONFIG";

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key}: {why}")]
pub struct ConfigError {
    /// The name of the setting, as written.
    pub key: String,
    /// The file, environment variable or option in which it was written.
    pub origin: String,
    /// What is wrong and what to write instead.
    pub why: String,
}

impl ConfigError {
    fn new(key: &str, origin: &Origin, why: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            origin: origin.to_string(),
            why: why.into(),
        }
    }
}

/// A configuration that can work.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) listen: String,
    pub(crate) public_url: Url,
    pub(crate) name: String,
    pub(crate) guard: Guard,
    pub(crate) documents: Settings,
    pub(crate) tools: Tools,
    pub(crate) http: Http,
    pub(crate) log: Log,
    written: Written,
}

#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) max_results: usize,
    pub(crate) search_scopes: Scopes,
    pub(crate) fetch_scopes: Scopes,
}

#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) max_body_bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) max_concurrent_per_caller: usize,
    pub(crate) shutdown: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) otlp_endpoint: Option<Url>,
    pub(crate) json: bool,
}

impl Config {
    /// Reads a configuration from TOML. The environment is not consulted; relative paths start in the current directory.
    ///
    /// # Errors
    /// Names the key and what to write instead.
    pub fn from_toml_str(text: &str) -> Result<Self, ConfigError> {
        let mut written = Written::defaults()?;
        written.read_file("configuration", text)?;
        Self::from_written(written, Path::new(""))
    }

    /// Reads the file (or `mcp-resource.toml`, if it is there), then the environment, then `settings` (`name=value`).
    /// Relative paths start at the folder of the file.
    ///
    /// # Errors
    /// Names the key, where it was written and what to write instead.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        settings: &[String],
    ) -> Result<Self, ConfigError> {
        let mut written = Written::defaults()?;
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => written.read_file(&name, &text)?,
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let why = format!("the file cannot be read: {error}");
                return Err(ConfigError::new("--config", &Origin::File(name), why));
            }
        }
        written.read_environment(environment)?;
        for setting in settings {
            written.read_setting(setting)?;
        }
        Self::from_written(written, path.parent().unwrap_or(Path::new("")))
    }

    fn from_written(written: Written, folder: &Path) -> Result<Self, ConfigError> {
        let guard = meaning::guard(&written, folder)?;
        let public_url = meaning::public_url(&written, &guard)?;
        Ok(Self {
            listen: meaning::listen(&written)?,
            name: written.text("name").to_owned(),
            documents: meaning::documents(&written, folder, &public_url)?,
            tools: meaning::tools(&written)?,
            http: meaning::http(&written)?,
            log: meaning::log(&written)?,
            public_url,
            guard,
            written,
        })
    }

    /// The address to listen on, `host:port`.
    #[must_use]
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// The URL that users type.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.guard.policy().resource
    }

    /// The issuer whose tokens are accepted.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.guard.policy().issuer
    }

    /// Everything as it is in force, as TOML, with the origin of each value.
    #[must_use]
    pub fn effective(&self) -> String {
        render(|key| {
            let value = self
                .written
                .value(key.name)
                .map_or_else(|| key.default.to_owned(), Value::to_string);
            (
                format!("{} = {value}", short(key.name)),
                format!("# {}", self.written.origin(key.name)),
            )
        })
    }

    /// A file with every setting, commented out, explained.
    #[must_use]
    pub fn example() -> String {
        let head = "# mcp-resource.toml: every setting with its default. Remove the # to change one.\n\
                    # Each can be set in the environment too, e.g. MCP_RESOURCE_AUTH_ISSUER.\n\n";
        let body = render(|key| {
            (
                format!("# {}", key.help),
                format!("\n# {} = {}\n", short(key.name), key.default),
            )
        });
        format!("{head}{body}")
    }
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// One line (or block) a key, with `[section]` where a section begins.
fn render(line: impl Fn(&keys::Key) -> (String, String)) -> String {
    let mut out = String::new();
    let mut section = "";
    for key in KEYS {
        let this = key.name.split_once('.').map_or("", |(section, _)| section);
        if this != section {
            let _ = writeln!(out, "\n[{this}]");
            section = this;
        }
        let (left, right) = line(key);
        let _ = if right.starts_with('\n') {
            writeln!(out, "{left}{right}")
        } else {
            writeln!(out, "{left}  {right}")
        };
    }
    out
}
