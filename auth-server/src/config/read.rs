//! Reading what was written: the TOML file, then the environment laid over it. Every mistake becomes one line that
//! names the setting and where it stands: the line of the file, or the variable.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::ConfigError;
use super::raw::Raw;

/// Environment variables with this prefix are settings; `__` separates the levels.
const PREFIX: &str = "AUTH_SERVER_";
/// Variables with the prefix that are no settings: the name of the file, and what container platforms set for a
/// service called auth-server.
const FOREIGN: [&str; 4] = ["CONFIG", "PORT", "PORT_", "SERVICE_"];

/// The settings as they were written, and by whom.
pub(super) struct Written {
    pub(super) raw: Raw,
    name: Option<String>,
    file: toml::Table,
    /// Setting → variable.
    variables: BTreeMap<String, String>,
}

/// Who gave a setting its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    Default,
    File,
    /// The variable.
    Environment(&'a str),
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File => f.write_str("file"),
            Source::Environment(variable) => write!(f, "environment, {variable}"),
        }
    }
}

impl Written {
    /// Reads the text of a file and lays the environment over it. `file` is for messages.
    pub(super) fn read(
        file: Option<&Path>,
        text: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Written, ConfigError> {
        let mut written = Written {
            raw: Raw::default(),
            name: file.map(|file| file.display().to_string()),
            file: toml::Table::new(),
            variables: BTreeMap::new(),
        };
        written.file = toml::from_str(text)
            .map_err(|error| written.in_file(line_of(text, &error), one_line(&error)))?;
        let mut table = written.file.clone();
        let mut texts = BTreeMap::new();
        for (variable, value) in env {
            let Some(path) = variable.strip_prefix(PREFIX).filter(|name| is_ours(name)) else {
                continue;
            };
            let path = path.to_lowercase();
            lay(&mut table, &path, typed(&value))
                .map_err(|why| ConfigError(format!("{variable}: {why}")))?;
            let path = path.replace("__", ".");
            texts.insert(path.clone(), value);
            written.variables.insert(path, variable);
        }
        loop {
            let error = match table.clone().try_into() {
                Ok(raw) => break written.raw = raw,
                Err(error) => error,
            };
            let path = path_of(&error);
            // `AUTH_SERVER_NAME=2048` looks like a number and is a text: the setting decides.
            match texts.remove(&path) {
                Some(value) if typed(&value).as_str().is_none() => {
                    lay(&mut table, &path.replace('.', "__"), value.into())
                        .map_err(|why| ConfigError(format!("{path}: {why}")))?;
                }
                _ => return Err(written.explain(text, &path, &error)),
            }
        }
        Ok(written)
    }

    /// Who gave the setting its value.
    pub(super) fn source(&self, path: &str) -> Source<'_> {
        let within = |set: &str| {
            set.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Some((_, variable)) = self.variables.iter().find(|(set, _)| within(set)) {
            return Source::Environment(variable);
        }
        let mut keys = path.split('.');
        let first = keys.next().and_then(|key| self.file.get(key));
        match keys.try_fold(first, |value, key| Some(value?.get(key))) {
            Some(Some(_)) => Source::File,
            _ => Source::Default,
        }
    }

    /// Adds where the value stands to a mistake that was found later.
    pub(super) fn blame(&self, error: &ConfigError) -> ConfigError {
        match error.0.split_once(": ") {
            Some((path, why)) => self.at(path, None, why),
            None => self.in_file(None, error.0.clone()),
        }
    }

    fn explain(&self, text: &str, path: &str, error: &toml::de::Error) -> ConfigError {
        // The same mistake in the text of the file alone knows its line.
        let in_text = toml::from_str::<Raw>(text).err();
        let line = in_text
            .filter(|in_text| in_text.message() == error.message())
            .and_then(|in_text| line_of(text, &in_text));
        let why = one_line(error);
        match unknown_in(error) {
            // The section is blameless: the unknown name itself came from the file or from a variable.
            Some(name) => {
                let whole = format!("{path}.{name}");
                match self.source(whole.trim_start_matches('.')) {
                    Source::Environment(variable) => {
                        let why = deeper(variable, name).unwrap_or(why);
                        ConfigError(format!("{variable}: {why}"))
                    }
                    _ if path.is_empty() => self.in_file(line, why),
                    _ => self.in_file(line, format!("{path}: {why}")),
                }
            }
            None => self.at(path, line, &why),
        }
    }

    fn at(&self, path: &str, line: Option<usize>, why: &str) -> ConfigError {
        match self.source(path) {
            Source::Environment(variable) => ConfigError(format!("{variable}: {why}")),
            _ => self.in_file(line, format!("{path}: {why}")),
        }
    }

    fn in_file(&self, line: Option<usize>, why: String) -> ConfigError {
        ConfigError(match (&self.name, line) {
            (Some(name), Some(line)) => format!("{name}: line {line}: {why}"),
            (Some(name), None) => format!("{name}: {why}"),
            (None, _) => why,
        })
    }
}

/// True for a variable that names a setting.
fn is_ours(name: &str) -> bool {
    !FOREIGN
        .iter()
        .any(|foreign| name == *foreign || (foreign.ends_with('_') && name.starts_with(foreign)))
}

/// `5`, `true` and `["a"]` keep their type; anything else is text.
fn typed(value: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| value.into())
}

fn lay(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<(), String> {
    let Some((head, rest)) = path.split_once("__") else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    let entry = table
        .entry(head)
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match entry {
        toml::Value::Table(inner) => lay(inner, rest, value),
        _ => Err(format!("`{head}` has no settings of its own")),
    }
}

/// The setting that an error is about: without the text it came from, an error ends with "in `a.b`".
fn path_of(error: &toml::de::Error) -> String {
    let mut error = error.clone();
    error.set_input(None);
    let text = error.to_string();
    let last = text.trim_end().lines().last().unwrap_or_default();
    let path = last
        .strip_prefix("in `")
        .and_then(|last| last.strip_suffix('`'));
    path.unwrap_or_default().to_owned()
}

fn line_of(text: &str, error: &toml::de::Error) -> Option<usize> {
    let before = text.get(..error.span()?.start)?;
    Some(before.matches('\n').count() + 1)
}

/// The name in serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_in(error: &toml::de::Error) -> Option<&str> {
    let rest = error.message().strip_prefix("unknown field `")?;
    rest.split_once('`').map(|(name, _)| name)
}

/// What went wrong, in our words where serde's do not help.
fn one_line(error: &toml::de::Error) -> String {
    let message = error.message();
    if let Some(name) = unknown_in(error) {
        return nearest(name, message.split('`').skip(3).step_by(2));
    }
    if message == "invalid socket address syntax" {
        return "must be an address with a port, like 127.0.0.1:8080".into();
    }
    if message.ends_with("expected a sequence") {
        return "must be a list, like [\"…\"]".into();
    }
    message.trim().replace('\n', " ")
}

/// What to say of `AUTH_SERVER_STORE_URL`, which was to be `AUTH_SERVER_STORE__URL`.
fn deeper(variable: &str, name: &str) -> Option<String> {
    let sections = toml::Table::try_from(Raw::default()).ok()?;
    let mut sections = sections.iter().filter(|(_, value)| value.is_table());
    let within = |section: &str| name.strip_prefix(section)?.strip_prefix('_');
    let (section, rest) = sections.find_map(|(section, _)| Some((section, within(section)?)))?;
    (variable == format!("{PREFIX}{}", name.to_uppercase())).then(|| {
        format!(
            "`{name}` is not a setting; did you mean {PREFIX}{}__{}? Two underscores stand between a section and its setting",
            section.to_uppercase(),
            rest.to_uppercase()
        )
    })
}

/// What people write by habit, and what they mean here.
const HABITS: [(&str, &str); 5] = [
    ("url", "id"),
    ("uri", "id"),
    ("client_secret", "secret_file"),
    ("secret", "secret_file"),
    ("password", "password_file"),
];

/// "… is not a setting", with the known name that was probably meant.
pub(super) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let meant = HABITS
        .iter()
        .find(|(habit, name)| *habit == written && known.contains(name));
    let near = |name: &str| strsim::jaro_winkler(name, written);
    let nearest = known.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
    match meant.map(|(_, name)| name).or(nearest) {
        Some(nearest) => format!("`{written}` is not a setting; did you mean `{nearest}`?"),
        None => format!("`{written}` is not a setting"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_go_before_likeness() {
        let known = || ["id", "name", "aliases", "client_uri", "secret_file"].into_iter();
        assert!(nearest("url", known()).ends_with("did you mean `id`?"));
        assert!(nearest("client_secret", known()).ends_with("did you mean `secret_file`?"));
        assert!(nearest("alias", known()).ends_with("did you mean `aliases`?"));
    }

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Written, ConfigError> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Written::read(Some(Path::new("a.toml")), text, env)
    }

    #[test]
    fn a_mistake_is_one_line_with_the_place_where_it_stands() {
        for (text, env, line) in [
            (
                "issuer = \"h",
                None,
                "a.toml: line 1: invalid basic string, expected `\"`",
            ),
            (
                "\nisuer = 1",
                None,
                "a.toml: line 2: `isuer` is not a setting; did you mean `issuer`?",
            ),
            (
                "[tokens]\ncode_lifetme = 1",
                None,
                "a.toml: line 2: tokens: `code_lifetme` is not a setting; did you mean `code_lifetime`?",
            ),
            (
                "[tokens]\ncode_lifetime = 1.5",
                None,
                "a.toml: line 2: tokens.code_lifetime: a time is a number with s, m, h or d, like 15m",
            ),
            (
                "listen = \"here\"",
                None,
                "a.toml: line 1: listen: must be an address with a port, like 127.0.0.1:8080",
            ),
            (
                "[tokens]\ncode_lifetime = 1",
                Some(("AUTH_SERVER_TOKENS__CODE_LIFETIME", "x")),
                "AUTH_SERVER_TOKENS__CODE_LIFETIME: `x`: a time is a number with s, m, h or d, like 15m",
            ),
            (
                "",
                Some(("AUTH_SERVER_TOKNS__X", "x")),
                "AUTH_SERVER_TOKNS__X: `tokns` is not a setting; did you mean `tokens`?",
            ),
            (
                "",
                Some(("AUTH_SERVER_STORE_URL", "x")),
                "AUTH_SERVER_STORE_URL: `store_url` is not a setting; did you mean AUTH_SERVER_STORE__URL? \
                 Two underscores stand between a section and its setting",
            ),
            (
                "",
                Some(("AUTH_SERVER_SIGN_IN_WINDOW", "1m")),
                "AUTH_SERVER_SIGN_IN_WINDOW: `sign_in_window` is not a setting; did you mean AUTH_SERVER_SIGN_IN__WINDOW? \
                 Two underscores stand between a section and its setting",
            ),
            (
                "",
                Some(("AUTH_SERVER_ISSUER_URL", "x")),
                "AUTH_SERVER_ISSUER_URL: `issuer_url` is not a setting; did you mean `issuer`?",
            ),
            (
                "",
                Some(("AUTH_SERVER_STORE_URL__X", "x")),
                "AUTH_SERVER_STORE_URL__X: `store_url` is not a setting; did you mean `store`?",
            ),
            (
                "[tokens]\nx = 1",
                Some(("AUTH_SERVER_TOKENS__CODE_LIFETIME", "5s")),
                "a.toml: line 2: tokens: `x` is not a setting; did you mean `pushed_request_lifetime`?",
            ),
            (
                "",
                Some(("AUTH_SERVER_TRUSTED_PROXIES", "127.0.0.1")),
                "AUTH_SERVER_TRUSTED_PROXIES: must be a list, like [\"…\"]",
            ),
            (
                "",
                Some(("AUTH_SERVER_LISTEN__X", "x")),
                "AUTH_SERVER_LISTEN__X: invalid type: map, expected socket address",
            ),
        ] {
            assert_eq!(read(text, env.as_slice()).err().unwrap().0, line);
        }
    }

    #[test]
    fn the_setting_decides_whether_a_variable_is_a_text() {
        let written = read("", &[("AUTH_SERVER_NAME", "2048")]).unwrap();
        assert_eq!(written.raw.name, "2048");
    }

    #[test]
    fn variables_that_are_no_settings_are_left_alone() {
        let env = [
            ("AUTH_SERVER_CONFIG", "a.toml"),
            ("AUTH_SERVER_PORT", "tcp://10.0.0.1:80"),
            ("AUTH_SERVER_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("AUTH_SERVER_SERVICE_HOST", "10.0.0.1"),
        ];
        assert!(read("", &env).is_ok());
    }

    #[test]
    fn every_value_knows_its_source() {
        let text = "name = \"N\"\n[tokens]\ncode_lifetime = 5\nid_token_lifetime = 5";
        let env = [("AUTH_SERVER_TOKENS__CODE_LIFETIME", "6")];
        let written = read(text, &env).unwrap();
        assert_eq!(written.source("name"), Source::File);
        assert_eq!(written.source("listen"), Source::Default);
        assert_eq!(written.source("tokens.id_token_lifetime"), Source::File);
        assert_eq!(written.source("tokens.access_lifetime"), Source::Default);
        assert_eq!(
            written.source("tokens.code_lifetime"),
            Source::Environment("AUTH_SERVER_TOKENS__CODE_LIFETIME")
        );
    }
}
