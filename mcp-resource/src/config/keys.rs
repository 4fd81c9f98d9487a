//! Every setting there is: its name, its kind, its default and what it is for.
//!
//! This table is the only place where a default is written. The commented example, the names of the environment variables,
//! the check for unknown keys and the table in the README all come from it.

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// May be empty.
    Optional,
    /// A list of texts; in the environment separated by commas.
    List,
    /// A whole number.
    Count,
    /// Seconds, possibly with a fraction.
    Seconds,
    /// Text → list of texts.
    Map,
    /// A list of tables.
    Rows,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As written in TOML.
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

/// Environment variables begin with this; `auth.issuer` is `MCP_RESOURCE_AUTH_ISSUER`.
pub(crate) const PREFIX: &str = "MCP_RESOURCE_";

impl Key {
    pub(crate) fn variable(&self) -> String {
        format!(
            "{PREFIX}{}",
            self.name.replace('.', "_").to_ascii_uppercase()
        )
    }
}

pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name that looks most like `name`, if one looks like it at all.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |known: &str| {
        let whole = strsim::jaro_winkler(name, known);
        let part = strsim::jaro_winkler(&last(name), &last(known));
        whole.max(part * 0.99)
    };
    known
        .map(|known| (likeness(known), known))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, known)| known)
}

const fn key(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        help,
    }
}

pub(crate) const KEYS: &[Key] = &[
    key(
        "public_url",
        Kind::Text,
        r#""http://localhost:8081/mcp""#,
        "The URL that users type into their assistant; also the identifier for which tokens are issued. https, or http on loopback only.",
    ),
    key(
        "listen",
        Kind::Text,
        r#""127.0.0.1:8081""#,
        "Address and port to listen on. Behind a TLS proxy, keep it private.",
    ),
    key(
        "name",
        Kind::Text,
        r#""Documents""#,
        "What the server is called, for people.",
    ),
    key(
        "auth.issuer",
        Kind::Text,
        r#""http://localhost:8080""#,
        "Whose tokens are accepted: the issuer, spelled exactly as in its own metadata. Its keys are found by discovery.",
    ),
    key(
        "auth.jwks_uri",
        Kind::Optional,
        r#""""#,
        "Where the issuer's keys are, for an issuer without discovery.",
    ),
    key(
        "auth.audiences",
        Kind::List,
        "[]",
        "Values of `aud` that are accepted besides `public_url`.",
    ),
    key(
        "auth.required_scopes",
        Kind::List,
        r#"["docs.read"]"#,
        "Scopes that every request needs; clients are told to ask for them.",
    ),
    key(
        "auth.included_scopes",
        Kind::Map,
        "{}",
        "Broader scopes and what they include, e.g. `{ docs = [\"docs.read\"] }`.",
    ),
    key(
        "auth.allowed_clients",
        Kind::List,
        "[]",
        "Client ids that may come; empty: every client of the issuer.",
    ),
    key(
        "auth.algorithms",
        Kind::List,
        r#"["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]"#,
        "Signature algorithms that are accepted. Symmetric ones and `none` never are.",
    ),
    key(
        "auth.token_types",
        Kind::List,
        r#"["at+jwt"]"#,
        "Accepted values of the header `typ`. Keycloak, Auth0 and Entra write `JWT`; empty: any.",
    ),
    key(
        "auth.leeway_seconds",
        Kind::Count,
        "30",
        "Tolerance for clocks that differ, at most 60.",
    ),
    key(
        "auth.subject_claim",
        Kind::Text,
        r#""sub""#,
        "The claim that says who is calling.",
    ),
    key(
        "auth.client_claims",
        Kind::List,
        r#"["client_id", "azp", "appid"]"#,
        "The claims that may say which client is calling; the first present one counts.",
    ),
    key(
        "auth.scope_claims",
        Kind::List,
        r#"["scope", "scp", "permissions"]"#,
        "The claims that may say what is allowed, a string or a list; dots are paths (`realm_access.roles`).",
    ),
    key(
        "auth.ca_file",
        Kind::Optional,
        r#""""#,
        "PEM file with certificates to trust besides the public roots, for an issuer with a private authority.",
    ),
    key(
        "auth.unknown_key_cooldown_seconds",
        Kind::Seconds,
        "30",
        "After a fetch for an unknown key id, how long until the next such fetch.",
    ),
    key(
        "auth.cached_tokens",
        Kind::Count,
        "10000",
        "How many verified tokens are remembered until they expire.",
    ),
    key(
        "documents.folder",
        Kind::Optional,
        r#""""#,
        "The folder to search, with all folders in it. Empty: the sample of a cupcake shop.",
    ),
    key(
        "documents.base_url",
        Kind::Optional,
        r#""""#,
        "Where people can open the folder in a browser. Empty: a page of this server that names the document.",
    ),
    key(
        "documents.language",
        Kind::Text,
        r#""english""#,
        "The language of the documents, for word stems; `none` takes words as they are.",
    ),
    key(
        "documents.poll_seconds",
        Kind::Seconds,
        "2",
        "How often the folder is looked through for changes.",
    ),
    key(
        "documents.max_file_bytes",
        Kind::Count,
        "20000000",
        "Larger files are skipped.",
    ),
    key(
        "documents.max_documents",
        Kind::Count,
        "100000",
        "At most so many files and rows are searchable; the index is in memory.",
    ),
    key(
        "documents.max_text_chars",
        Kind::Count,
        "60000",
        "Longer texts are searchable as a whole, but cut when they are fetched; at most 70000.",
    ),
    key(
        "documents.id_fields",
        Kind::List,
        r#"["id", "_id", "key"]"#,
        "CSV and JSON Lines: the field that is the id of a row; the first present one counts.",
    ),
    key(
        "documents.title_fields",
        Kind::List,
        r#"["title", "name", "subject"]"#,
        "CSV and JSON Lines: the field that is the title.",
    ),
    key(
        "documents.url_fields",
        Kind::List,
        r#"["url", "link", "href"]"#,
        "CSV and JSON Lines: the field that is the URL, absolute or relative to `base_url`.",
    ),
    key(
        "documents.text_fields",
        Kind::List,
        r#"["text", "body", "content", "description"]"#,
        "CSV and JSON Lines: the fields that are the text, joined; without any, all fields are.",
    ),
    key(
        "documents.rows",
        Kind::Rows,
        "[]",
        "Other fields for some files: `{ files = \"orders/*.csv\", id = [\"no\"], title = [\"customer\"], url = [], text = [\"note\"] }`.",
    ),
    key(
        "tools.max_results",
        Kind::Count,
        "10",
        "How many documents `search` returns, 1 to 50.",
    ),
    key(
        "tools.search_scopes",
        Kind::List,
        "[]",
        "Scopes that `search` needs besides `auth.required_scopes`.",
    ),
    key(
        "tools.fetch_scopes",
        Kind::List,
        "[]",
        "Scopes that `fetch` needs besides `auth.required_scopes`.",
    ),
    key(
        "http.allowed_origins",
        Kind::List,
        "[]",
        "Browser origins that may call besides our own, e.g. `https://app.example.com`; `*` allows all. On loopback, all loopback origins may.",
    ),
    key(
        "http.allowed_hosts",
        Kind::List,
        "[]",
        "Values of the Host header that are accepted besides the host of `public_url`; `*` accepts all.",
    ),
    key(
        "http.max_body_bytes",
        Kind::Count,
        "1000000",
        "Larger requests are refused (413).",
    ),
    key(
        "http.timeout_seconds",
        Kind::Seconds,
        "30",
        "A request that takes longer is given up (408, 503); so is a connection whose next request does not begin in time.",
    ),
    key(
        "http.max_concurrent_per_caller",
        Kind::Count,
        "64",
        "How many requests one caller may have in progress (429).",
    ),
    key(
        "http.shutdown_seconds",
        Kind::Seconds,
        "10",
        "How long a stop waits for requests in progress.",
    ),
    key(
        "log.level",
        Kind::Text,
        r#""info""#,
        "error, warn, info, debug, trace, or a filter such as `warn,mcp_resource=debug`.",
    ),
    key("log.format", Kind::Text, r#""text""#, "`text` or `json`."),
    key(
        "telemetry.otlp_endpoint",
        Kind::Optional,
        r#""""#,
        "An OpenTelemetry collector that takes traces by OTLP over HTTP, e.g. `http://127.0.0.1:4318`. Empty: the one that `OTEL_EXPORTER_OTLP_ENDPOINT` names, if any.",
    ),
];
