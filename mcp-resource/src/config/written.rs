//! What was written, and where: defaults, then the file, then the environment, then `--set`. Later wins.
//!
//! Reading never guesses: an unknown name is refused with the nearest known one, a value of the wrong kind with what to
//! write instead.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use toml::{Table, Value};

use super::ConfigError;
use super::keys::{KEYS, Key, Kind, PREFIX, find, nearest};

/// Who wrote a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(String),
    Variable(String),
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("--set"),
        }
    }
}

/// Every key with its value and who wrote it. All keys are present, all values have the right kind.
#[derive(Clone, Debug)]
pub(crate) struct Written(BTreeMap<&'static str, (Value, Origin)>);

impl Written {
    pub(crate) fn defaults() -> Result<Self, ConfigError> {
        let mut written = Self(BTreeMap::new());
        for key in KEYS {
            let value = literal(key.default)
                .map_err(|why| ConfigError::new(key.name, &Origin::Default, why))?;
            written.set(key, value, Origin::Default)?;
        }
        Ok(written)
    }

    /// `name` is the file as its owner calls it.
    pub(crate) fn read_file(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let origin = Origin::File(name.to_owned());
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let at = error
                .span()
                .map_or(0, |span| text[..span.start].lines().count().max(1));
            ConfigError::new(&format!("line {at}"), &origin, error.message().to_owned())
        })?;
        self.read_table("", table, &origin)
    }

    fn read_table(
        &mut self,
        prefix: &str,
        table: Table,
        origin: &Origin,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            match (find(&path), value) {
                (Some(key), value) => self.set(key, value, origin.clone())?,
                (None, Value::Table(inner)) if is_section(&path) => {
                    self.read_table(&format!("{path}."), inner, origin)?;
                }
                (None, _) => return Err(unknown(&path, origin, KEYS.iter().map(|key| key.name))),
            }
        }
        Ok(())
    }

    pub(crate) fn read_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let known: BTreeMap<String, &Key> = KEYS.iter().map(|key| (key.variable(), key)).collect();
        for (name, text) in variables {
            if !name.starts_with(PREFIX) || name == super::FILE_VARIABLE {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let Some(key) = known.get(&name) else {
                return Err(unknown(&name, &origin, known.keys().map(String::as_str)));
            };
            self.read_text(key, &text, origin)?;
        }
        Ok(())
    }

    /// `key=value` from the command line.
    pub(crate) fn read_setting(&mut self, setting: &str) -> Result<(), ConfigError> {
        let origin = Origin::CommandLine;
        let Some((name, text)) = setting.split_once('=') else {
            return Err(ConfigError::new(
                setting,
                &origin,
                "write it as name=value, e.g. listen=127.0.0.1:9000",
            ));
        };
        let Some(key) = find(name.trim()) else {
            return Err(unknown(
                name.trim(),
                &origin,
                KEYS.iter().map(|key| key.name),
            ));
        };
        self.read_text(key, text.trim(), origin)
    }

    fn read_text(
        &mut self,
        key: &'static Key,
        text: &str,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let value = match key.kind {
            Kind::Text | Kind::Optional => Value::String(text.to_owned()),
            Kind::List if !text.trim_start().starts_with('[') => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            _ => literal(text).map_err(|why| ConfigError::new(key.name, &origin, why))?,
        };
        self.set(key, value, origin)
    }

    fn set(&mut self, key: &'static Key, value: Value, origin: Origin) -> Result<(), ConfigError> {
        if let Some(wanted) = wrong_kind(key.kind, &value) {
            let why = format!("{value} is not {wanted}");
            return Err(ConfigError::new(key.name, &origin, why));
        }
        self.0.insert(key.name, (value, origin));
        Ok(())
    }

    /// Refuses the value of `name`, with the place where it was written.
    pub(crate) fn refuse(&self, name: &str, why: impl Into<String>) -> ConfigError {
        let origin = self
            .0
            .get(name)
            .map_or(&Origin::Default, |(_, origin)| origin);
        ConfigError::new(name, origin, why)
    }

    pub(crate) fn origin(&self, name: &str) -> &Origin {
        self.0
            .get(name)
            .map_or(&Origin::Default, |(_, origin)| origin)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|(value, _)| value)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.value(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.value(name).map(strings).unwrap_or_default()
    }

    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let table = self.value(name).and_then(Value::as_table);
        table
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), strings(value)))
            .collect()
    }

    /// A whole number within bounds.
    pub(crate) fn count(&self, name: &str, least: u64, most: u64) -> Result<u64, ConfigError> {
        let count = self
            .value(name)
            .and_then(Value::as_integer)
            .and_then(|count| u64::try_from(count).ok());
        count
            .filter(|count| (least..=most).contains(count))
            .ok_or_else(|| self.refuse(name, format!("write a number from {least} to {most}")))
    }

    pub(crate) fn size(&self, name: &str, least: u64, most: u64) -> Result<usize, ConfigError> {
        let count = self.count(name, least, most)?;
        usize::try_from(count).map_err(|_| self.refuse(name, "is too large for this machine"))
    }

    pub(crate) fn seconds(
        &self,
        name: &str,
        least: f64,
        most: f64,
    ) -> Result<Duration, ConfigError> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number of seconds is far below 2^52"
        )]
        let seconds = match self.value(name) {
            Some(Value::Float(seconds)) => *seconds,
            Some(Value::Integer(seconds)) => *seconds as f64,
            _ => f64::NAN,
        };
        if (least..=most).contains(&seconds) {
            return Ok(Duration::from_secs_f64(seconds));
        }
        Err(self.refuse(
            name,
            format!("write a number of seconds from {least} to {most}"),
        ))
    }
}

/// Text items of a list.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn literal(text: &str) -> Result<Value, String> {
    let table: Result<Table, _> = format!("value = {text}").parse();
    let value = table.ok().and_then(|mut table| table.remove("value"));
    value.ok_or_else(|| format!("{text:?} cannot be read"))
}

fn wrong_kind(kind: Kind, value: &Value) -> Option<&'static str> {
    let is_list = |value: &Value| {
        value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_str))
    };
    let fits = match kind {
        Kind::Text => value.as_str().is_some_and(|text| !text.is_empty()),
        Kind::Optional => value.is_str(),
        Kind::List => is_list(value),
        Kind::Count => value.is_integer(),
        Kind::Seconds => value.is_integer() || value.is_float(),
        Kind::Map => value
            .as_table()
            .is_some_and(|table| table.iter().all(|(_, value)| is_list(value))),
        Kind::Rows => value
            .as_array()
            .is_some_and(|rows| rows.iter().all(Value::is_table)),
    };
    (!fits).then_some(match kind {
        Kind::Text => "a text; write it in quotes, not empty",
        Kind::Optional => "a text; write it in quotes",
        Kind::List => "a list of texts; write e.g. [\"a\", \"b\"]",
        Kind::Count => "a whole number",
        Kind::Seconds => "a number of seconds",
        Kind::Map => "a table of lists; write e.g. { docs = [\"docs.read\"] }",
        Kind::Rows => {
            "a list of tables; write e.g. [[documents.rows]] and files = \"orders/*.csv\" below it"
        }
    })
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

fn unknown<'k>(name: &str, origin: &Origin, known: impl Iterator<Item = &'k str>) -> ConfigError {
    let hint = match nearest(name, known) {
        Some(nearest) => format!("there is no such setting; did you mean {nearest}?"),
        None => "there is no such setting; `mcp-resource config --example` lists all".to_owned(),
    };
    ConfigError::new(name, origin, hint)
}
