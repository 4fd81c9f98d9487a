//! What may be written, and what is said about what may not.

use std::path::Path;

use mcp_resource::Config;

fn refused(toml: &str) -> String {
    Config::from_toml_str(toml).unwrap_err().to_string()
}

#[test]
fn an_empty_configuration_works() {
    let config = Config::from_toml_str("").unwrap();
    assert_eq!(config.public_url(), "http://localhost:8081/mcp");
    assert_eq!(config.listen(), "127.0.0.1:8081");
    assert_eq!(config.issuer(), "http://localhost:8080");
}

#[test]
fn a_refusal_names_the_key_the_place_and_what_to_write() {
    let all: Vec<String> = [
        "auth.isuer = \"https://x\"",
        "isuer = \"https://x\"",
        "[documents]\nfoldr = \"x\"",
        "nonsense_beyond_recognition = 1",
        "listen = 8081",
        "listen = \"8081\"",
        "listen = \"localhost:eighty\"",
        "public_url = \"http://docs.example.com/mcp\"",
        "public_url = \"https://docs.example.com/mcp/\"",
        "public_url = \"https://docs.example.com/documents/mcp\"",
        "public_url = \"https://docs.example.com/{mcp}\"",
        "auth.issuer = \"http://login.example.com\"",
        "auth.issuer = \"https://user:secret@login.example.com\"",
        "auth.issuer = \"\"",
        "auth.required_scopes = [\"docs read\"]",
        "auth.required_scopes = \"docs.read\"",
        "auth.included_scopes = { \"\" = [\"docs.read\"] }",
        "auth.included_scopes = { docs = [\"docs\\\"read\"] }",
        "auth.audiences = [\"\"]",
        "auth.algorithms = [\"HS256\"]",
        "auth.algorithms = []",
        "auth.leeway_seconds = 61",
        "auth.ca_file = \"/nowhere.pem\"",
        "documents.language = \"klingon\"",
        "documents.poll_seconds = 0",
        "documents.max_text_chars = 100000",
        "documents.base_url = \"docs\"",
        "documents.base_url = \"https://user:secret@docs.example.com\"",
        "documents.rows = [{ id = \"no\" }]",
        "documents.rows = [{ files = \"*.csv\", idd = \"no\" }]",
        "tools.max_results = 0",
        "tools.search_scopes = ['docs\"find']",
        "http.timeout_seconds = \"soon\"",
        "http.allowed_origins = [\"app.example.com\"]",
        "http.allowed_origins = [\"https://app.example.com/path\"]",
        "http.allowed_hosts = [\"https://docs.example.com\"]",
        "log.format = \"xml\"",
        "a = ",
    ]
    .into_iter()
    .map(|toml| format!("{}\n  {}", toml.replace('\n', " "), refused(toml)))
    .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn later_places_win_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    std::fs::write(&file, "name = \"From the file\"\nlisten = \"127.0.0.1:1\"\n[auth]\nissuer = \"https://a.example.com\"").unwrap();
    let environment = [
        ("MCP_RESOURCE_LISTEN", "127.0.0.1:2"),
        ("MCP_RESOURCE_AUTH_ISSUER", "https://b.example.com"),
        ("MCP_RESOURCE_AUTH_REQUIRED_SCOPES", "a, b"),
        ("MCP_RESOURCE_AUTH_INCLUDED_SCOPES", "{ a = [\"b\"] }"),
        ("MCP_RESOURCE_TOOLS_MAX_RESULTS", "3"),
        ("MCP_RESOURCE_CONFIG", "ignored"),
        ("PATH", "ignored"),
    ];
    let environment = environment
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter();
    let config = Config::load(
        Some(&file),
        environment,
        &["auth.issuer=https://c.example.com".to_owned()],
    )
    .unwrap();
    let effective = config.effective();
    for line in [
        format!("name = \"From the file\"  # {}", file.display()),
        "listen = \"127.0.0.1:2\"  # environment MCP_RESOURCE_LISTEN".to_owned(),
        "issuer = \"https://c.example.com\"  # --set".to_owned(),
        "required_scopes = [\"a\", \"b\"]  # environment MCP_RESOURCE_AUTH_REQUIRED_SCOPES"
            .to_owned(),
        "max_results = 3  # environment MCP_RESOURCE_TOOLS_MAX_RESULTS".to_owned(),
        "poll_seconds = 2  # default".to_owned(),
    ] {
        assert!(
            effective.lines().any(|written| written == line),
            "{line}\n{effective}"
        );
    }
}

#[test]
fn unknown_variables_and_settings_are_refused_with_the_nearest_name() {
    let load = |variable: &str, setting: &[String]| {
        let environment = [(variable.to_owned(), "x".to_owned())].into_iter();
        Config::load(None, environment, setting)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        load("MCP_RESOURCE_ISSUER", &[]),
        "environment MCP_RESOURCE_ISSUER: MCP_RESOURCE_ISSUER: there is no such setting; did you mean MCP_RESOURCE_AUTH_ISSUER?"
    );
    assert_eq!(
        load("HOME", &["issuer=https://x".to_owned()]),
        "--set: issuer: there is no such setting; did you mean auth.issuer?"
    );
    assert!(load("HOME", &["listen".to_owned()]).contains("write it as name=value"));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let error = Config::load(Some(Path::new("/nowhere/x.toml")), std::iter::empty(), &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/x.toml") && error.contains("cannot be read"),
        "{error}"
    );
}

#[test]
fn what_is_printed_can_be_read_again() {
    let printed = Config::from_toml_str("auth.included_scopes = { docs = [\"docs.read\"] }")
        .unwrap()
        .effective();
    let again = Config::from_toml_str(&printed).unwrap().effective();
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split("  # ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(&printed), values(&again));
}

#[test]
fn the_example_is_a_configuration_with_every_setting_commented_out() {
    let example = Config::example();
    assert!(Config::from_toml_str(&example).is_ok());
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split(' ').nth(1) == Some("=") => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = Config::from_toml_str(&uncommented)
        .unwrap_or_else(|error| panic!("{error}\n{uncommented}"));
    assert_eq!(
        config.effective().matches("# configuration").count(),
        config.effective().matches(" = ").count()
    );
}

#[test]
fn the_readme_explains_every_setting() {
    let readme = include_str!("../../README.md");
    let example = Config::example();
    let mut section = String::new();
    for line in example.lines() {
        let setting = line
            .strip_prefix("# ")
            .and_then(|line| line.split_once(" = "));
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = format!("{name}.");
        } else if let Some((name, _)) = setting.filter(|(name, _)| !name.contains(' ')) {
            assert!(
                readme.contains(&format!("| `{section}{name}` |")),
                "{section}{name}"
            );
        }
    }
}
