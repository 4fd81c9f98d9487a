//! What each setting means: text and numbers become types that cannot be wrong any more.

use std::path::Path;
use std::time::Duration;

use toml::Value;
use url::Url;

use super::keys::nearest;
use super::written::{Written, strings};
use super::{ConfigError, Http, Log, Tools};
use crate::guard::{Guard, Policy, PolicyError, Scopes};
use crate::index::{Columns, LANGUAGES, Links, RowRule, Rules, Settings};

/// The path of the public URL is where requests arrive, so it must leave room for our other pages.
pub(super) fn public_url(written: &Written, guard: &Guard) -> Result<Url, ConfigError> {
    let refuse = |why: String| written.refuse("public_url", why);
    let url = Url::parse(&guard.policy().resource).map_err(|error| refuse(error.to_string()))?;
    let path = url.path();
    let plain =
        |char: char| char.is_ascii_alphanumeric() || matches!(char, '/' | '-' | '.' | '_' | '~');
    if !path.chars().all(plain) {
        return Err(refuse(format!(
            "the path {path} has characters other than letters, digits and - . _ ~"
        )));
    }
    let first = path.split('/').nth(1).unwrap_or_default();
    if matches!(first, "health" | "documents" | ".well-known") {
        return Err(refuse(format!(
            "/{first} is used by this server for something else; write e.g. /mcp"
        )));
    }
    Ok(url)
}

/// The guard with the policy that was written.
pub(super) fn guard(written: &Written, folder: &Path) -> Result<Guard, ConfigError> {
    Guard::new(policy(written, folder)?).map_err(|error| explain(written, &error))
}

fn policy(written: &Written, folder: &Path) -> Result<Policy, ConfigError> {
    let mut policy = Policy::new(written.text("public_url"), written.text("auth.issuer"));
    policy.setting_name = setting;
    policy.jwks_uri = written.optional("auth.jwks_uri").map(str::to_owned);
    policy.audiences = written.list("auth.audiences");
    policy.required_scopes = scopes(written, "auth.required_scopes")?;
    policy.included_scopes = written.map("auth.included_scopes");
    policy.allowed_clients = written.list("auth.allowed_clients");
    let algorithms = written.list("auth.algorithms");
    policy.algorithms = algorithms
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()
        .map_err(|error| explain(written, &error))?;
    policy.token_types = written.list("auth.token_types");
    policy.leeway = Duration::from_secs(written.count("auth.leeway_seconds", 0, 60)?);
    written
        .text("auth.subject_claim")
        .clone_into(&mut policy.claims.subject);
    policy.claims.client = written.list("auth.client_claims");
    policy.claims.scope = written.list("auth.scope_claims");
    policy.unknown_key_cooldown =
        written.seconds("auth.unknown_key_cooldown_seconds", 0.1, 3600.0)?;
    policy.max_cached_tokens = written.size("auth.cached_tokens", 0, 1_000_000)?;
    policy.resource_name = Some(written.text("name").to_owned());
    if let Some(file) = written.optional("auth.ca_file") {
        let path = folder.join(file);
        let pem = std::fs::read(&path);
        let pem = pem.map_err(|error| {
            written.refuse(
                "auth.ca_file",
                format!("{} cannot be read: {error}", path.display()),
            )
        })?;
        policy.extra_ca_pem = Some(pem);
    }
    Ok(policy)
}

/// The guard names the fields of its policy; people wrote settings.
fn setting(field: &'static str) -> &'static str {
    match field {
        "resource" => "public_url",
        "issuer" => "auth.issuer",
        "jwks_uri" => "auth.jwks_uri",
        "required_scopes" => "auth.required_scopes",
        "audiences" => "auth.audiences",
        "included_scopes" => "auth.included_scopes",
        "allowed_clients" => "auth.allowed_clients",
        "algorithms" => "auth.algorithms",
        "token_types" => "auth.token_types",
        "leeway" => "auth.leeway_seconds",
        "claims.subject" => "auth.subject_claim",
        "claims.client" => "auth.client_claims",
        "claims.scope" => "auth.scope_claims",
        "extra_ca_pem" => "auth.ca_file",
        other => other,
    }
}

fn explain(written: &Written, error: &PolicyError) -> ConfigError {
    written.refuse(
        setting(error.setting),
        format!("{} {}", error.written, error.why).trim().to_owned(),
    )
}

fn scopes(written: &Written, name: &str) -> Result<Scopes, ConfigError> {
    let scopes: Scopes = written.list(name).into_iter().collect();
    match scopes.first_malformed() {
        Some(scope) => Err(written.refuse(
            name,
            format!("{scope:?} is not one scope; write each as its own text"),
        )),
        None => Ok(scopes),
    }
}

pub(super) fn listen(written: &Written) -> Result<String, ConfigError> {
    let listen = written.text("listen");
    let port = listen
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(_) => Ok(listen.to_owned()),
        None => Err(written.refuse(
            "listen",
            format!("{listen:?} is not address:port; write e.g. 127.0.0.1:8081 or [::]:8081"),
        )),
    }
}

pub(super) fn documents(
    written: &Written,
    folder: &Path,
    public_url: &Url,
) -> Result<Settings, ConfigError> {
    let language = written.text("documents.language");
    if language != "none" && !LANGUAGES.iter().any(|(name, _)| *name == language) {
        let names: Vec<&str> = LANGUAGES.iter().map(|(name, _)| *name).collect();
        return Err(written.refuse(
            "documents.language",
            format!("{language:?} is none of: none, {}", names.join(", ")),
        ));
    }
    let columns = Columns {
        id: written.list("documents.id_fields"),
        title: written.list("documents.title_fields"),
        url: written.list("documents.url_fields"),
        text: written.list("documents.text_fields"),
    };
    Ok(Settings {
        folder: written
            .optional("documents.folder")
            .map(|path| folder.join(path)),
        language: language.to_owned(),
        poll: written.seconds("documents.poll_seconds", 0.05, 86_400.0)?,
        max_file_bytes: written.count("documents.max_file_bytes", 1, 1_000_000_000)?,
        max_documents: written.size("documents.max_documents", 1, 10_000_000)?,
        rules: Rules {
            links: links(written, public_url)?,
            max_text_chars: written.size("documents.max_text_chars", 100, 70_000)?,
            rows: rows(written, &columns)?,
            columns,
        },
    })
}

fn links(written: &Written, public_url: &Url) -> Result<Links, ConfigError> {
    let Some(base) = written.optional("documents.base_url") else {
        let pages = public_url.join("/documents");
        return pages
            .map(Links::OurPages)
            .map_err(|error| written.refuse("public_url", error.to_string()));
    };
    match Url::parse(base) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(written.refuse(
            "documents.base_url",
            "must not contain a user name or password: it is part of every search result",
        )),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(Links::Published(url))
        }
        _ => Err(written.refuse(
            "documents.base_url",
            format!("{base:?} cannot be opened in a browser; write e.g. https://docs.example.com"),
        )),
    }
}

fn rows(written: &Written, columns: &Columns) -> Result<Vec<RowRule>, ConfigError> {
    const NAMES: [&str; 5] = ["files", "id", "title", "url", "text"];
    const KEY: &str = "documents.rows";
    let tables = written
        .value(KEY)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rule = |table: &toml::Table| {
        if let Some(name) = table.keys().find(|name| !NAMES.contains(&name.as_str())) {
            let hint = nearest(name, NAMES.into_iter()).unwrap_or("files, id, title, url or text");
            return Err(written.refuse(
                KEY,
                format!("there is no field {name:?}; did you mean {hint}?"),
            ));
        }
        let Some(files) = table
            .get("files")
            .and_then(Value::as_str)
            .filter(|files| !files.is_empty())
        else {
            return Err(written.refuse(KEY, "each needs files, e.g. files = \"orders/*.csv\""));
        };
        let names = |name: &str, default: &[String]| match table.get(name) {
            None => Ok(default.to_vec()),
            Some(Value::String(one)) => Ok(vec![one.clone()]),
            Some(list @ Value::Array(_)) => Ok(strings(list)),
            Some(other) => Err(written.refuse(
                KEY,
                format!("{name}: {other} is not a field name or a list of them"),
            )),
        };
        let columns = Columns {
            id: names("id", &columns.id)?,
            title: names("title", &columns.title)?,
            url: names("url", &columns.url)?,
            text: names("text", &columns.text)?,
        };
        Ok(RowRule {
            files: files.to_owned(),
            columns,
        })
    };
    tables
        .iter()
        .filter_map(Value::as_table)
        .map(rule)
        .collect()
}

pub(super) fn tools(written: &Written) -> Result<Tools, ConfigError> {
    Ok(Tools {
        max_results: written.size("tools.max_results", 1, 50)?,
        search_scopes: scopes(written, "tools.search_scopes")?,
        fetch_scopes: scopes(written, "tools.fetch_scopes")?,
    })
}

pub(super) fn http(written: &Written) -> Result<Http, ConfigError> {
    let allowed_origins = written.list("http.allowed_origins");
    if let Some(odd) = allowed_origins.iter().find(|origin| !is_origin(origin)) {
        let why =
            format!("{odd:?} is not an origin; write e.g. https://app.example.com, without a path");
        return Err(written.refuse("http.allowed_origins", why));
    }
    let allowed_hosts = written.list("http.allowed_hosts");
    if let Some(odd) = allowed_hosts
        .iter()
        .find(|host| host.is_empty() || host.contains('/'))
    {
        let why = format!("{odd:?} is not the name of a host; write e.g. docs.example.com");
        return Err(written.refuse("http.allowed_hosts", why));
    }
    Ok(Http {
        allowed_origins,
        allowed_hosts,
        max_body_bytes: written.size("http.max_body_bytes", 1_000, 100_000_000)?,
        timeout: written.seconds("http.timeout_seconds", 0.1, 3600.0)?,
        max_concurrent_per_caller: written.size("http.max_concurrent_per_caller", 1, 10_000)?,
        shutdown: written.seconds("http.shutdown_seconds", 0.0, 600.0)?,
    })
}

/// Scheme, host and port and nothing else; `null` is the origin of pages without one.
fn is_origin(text: &str) -> bool {
    let origin = |url: Url| url.origin().ascii_serialization();
    matches!(text, "*" | "null")
        || Url::parse(text)
            .is_ok_and(|url| origin(url).eq_ignore_ascii_case(text.trim_end_matches('/')))
}

pub(super) fn log(written: &Written) -> Result<Log, ConfigError> {
    let json = match written.text("log.format") {
        "text" => false,
        "json" => true,
        other => {
            return Err(written.refuse(
                "log.format",
                format!("{other:?} is neither \"text\" nor \"json\""),
            ));
        }
    };
    Ok(Log {
        otlp_endpoint: otlp_endpoint(written)?,
        level: written.text("log.level").to_owned(),
        json,
    })
}

fn otlp_endpoint(written: &Written) -> Result<Option<Url>, ConfigError> {
    const KEY: &str = "telemetry.otlp_endpoint";
    let Some(text) = written.optional(KEY) else {
        return Ok(None);
    };
    if cfg!(not(feature = "otlp")) {
        let why = "this program was built without the feature otlp";
        return Err(written.refuse(KEY, why));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.query().is_none() => {
            Ok(Some(url))
        }
        // The value is not shown: a password may stand in it.
        _ => Err(written.refuse(
            KEY,
            "this is not an http or https URL; write e.g. http://127.0.0.1:4318",
        )),
    }
}
