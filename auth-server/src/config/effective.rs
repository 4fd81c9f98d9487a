//! The configuration in force as text, each value with its source. Secrets stay hidden.

use std::fmt::Write as _;

use toml::{Table, Value};
use url::Url;

use super::ConfigError;
use super::read::Written;

/// Shown in the place of a secret.
const HIDDEN: &str = "(hidden)";
/// Members that hold a secret or its digest.
const SECRET: [&str; 2] = ["password_hash", "secret_digest"];

/// Every setting, first those without a section, then section by section, then the lists.
pub(super) fn print(written: &Written) -> Result<String, ConfigError> {
    let settings = Table::try_from(&written.raw).map_err(|error| ConfigError(error.to_string()))?;
    let mut text = String::new();
    let mut lists = String::new();
    let (sections, plain): (Vec<_>, Vec<_>) = settings
        .iter()
        .filter(|(_, value)| !is_list(value))
        .partition(|(_, value)| value.is_table());
    lines(&mut text, written, "", plain.into_iter());
    for (section, value) in sections {
        let _ = write!(text, "\n[{section}]\n");
        lines(
            &mut text,
            written,
            section,
            value.as_table().into_iter().flatten(),
        );
    }
    for (name, value) in settings.iter().filter(|(_, value)| is_list(value)) {
        let source = written.source(name);
        for entry in value.as_array().into_iter().flatten() {
            let _ = write!(lists, "\n[[{name}]]  # {source}\n");
            for (key, value) in entry.as_table().into_iter().flatten() {
                let _ = writeln!(lists, "{} = {}", bare(key), shown("", key, value));
            }
        }
    }
    Ok(text + &lists)
}

fn lines<'a>(
    text: &mut String,
    written: &Written,
    section: &str,
    settings: impl Iterator<Item = (&'a String, &'a Value)>,
) {
    for (key, value) in settings {
        let path = match section {
            "" => key.clone(),
            section => format!("{section}.{key}"),
        };
        let line = format!("{} = {}", bare(key), shown(section, key, value));
        let _ = writeln!(text, "{line:<50}  # {}", written.source(&path));
    }
}

/// `[[clients]]` and its like; an empty list of them has nothing to show.
fn is_list(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|entries| entries.first().is_some_and(Value::is_table))
}

fn shown(section: &str, key: &str, value: &Value) -> String {
    match value {
        _ if SECRET.contains(&key) => format!("\"{HIDDEN}\""),
        Value::String(url) if section == "store" && key == "url" => {
            Value::String(without_password(url)).to_string()
        }
        value => value.to_string(),
    }
}

/// A key as TOML writes it.
fn bare(key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if plain {
        key.to_owned()
    } else {
        Value::String(key.to_owned()).to_string()
    }
}

/// A database URL that can be shown: a password can stand in it in two places.
fn without_password(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else {
        return HIDDEN.to_owned();
    };
    if url.password().is_some() && url.set_password(Some("hidden")).is_err() {
        return HIDDEN.to_owned();
    }
    if url.query_pairs().any(|(name, _)| name == "password") {
        url.set_query(Some("hidden"));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_database_url_is_not_shown() {
        for (written, shown) in [
            ("sqlite:data/a.db", "sqlite:data/a.db"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:geheim@h:1/d", "postgres://u:hidden@h:1/d"),
            ("postgres://h/d?password=geheim", "postgres://h/d?hidden"),
            ("postgres://u:geheim@h:x/d", "(hidden)"),
        ] {
            assert_eq!(without_password(written), shown);
        }
    }
}
