//! `clients`: the life of a client, and its secret.

use super::{Folder, deeds};

#[tokio::test]
async fn a_client_is_added_with_a_secret_that_is_shown_once() {
    let folder = Folder::new("");
    let added = folder.run("clients add 'My app' --redirect-uri https://app.example/cb --id app");
    assert_eq!(
        added.err,
        "Keep the secret now: it cannot be shown again.\n"
    );
    let added = added.done();
    let secret = added
        .strip_prefix("client_id:     app\nclient_secret: cs_")
        .unwrap()
        .trim_end();
    assert_eq!(secret.len(), 43);
    for line in ["clients show app", "clients list --json"] {
        assert!(!folder.run(line).done().contains(secret));
    }
    let show = folder.run("clients show app").done();
    for line in [
        "client_id: app",
        "client_name: My app",
        "origin: operator",
        "redirect_uris: https://app.example/cb",
        "grant_types: authorization_code refresh_token",
        "token_endpoint_auth_method: client_secret_basic",
    ] {
        assert!(show.lines().any(|have| have == line), "{line}\n{show}");
    }

    let replaced = folder.run("clients secret app --json").json();
    assert!(!replaced["client_secret"].as_str().unwrap().contains(secret));
    let phone = folder
        .run("clients add Phone --public --redirect-uri com.example.app:/cb --json")
        .json();
    assert!(phone["client_id"].as_str().unwrap().starts_with("cl_"));
    assert_eq!(
        (
            &phone["token_endpoint_auth_method"],
            phone.get("client_secret")
        ),
        (&"none".into(), None)
    );
    let id = phone["client_id"].as_str().unwrap();
    assert_eq!(
        folder.run(&format!("clients secret {id}")).refused(),
        format!("client `{id}` has no secret to replace")
    );

    let first = folder.run("clients list --limit 1 --json").json();
    assert_eq!(
        (&first["clients"][0]["client_id"], &first["next"]),
        (&"app".into(), &"app".into())
    );
    let list = folder.run("clients list --after app").done();
    assert!(
        list.starts_with("CLIENT ") && list.contains(id) && !list.contains("My app"),
        "{list}"
    );
    assert_eq!(
        folder.run("clients list --dynamic").done(),
        "CLIENT  NAME  ORIGIN  METHOD  ADDED\n"
    );

    assert_eq!(folder.run("clients delete app").done(), "app is deleted\n");
    assert_eq!(
        folder.run("clients show app").refused(),
        "there is no client `app`"
    );
    assert_eq!(
        folder.run("clients delete app").refused(),
        "there is no client `app`"
    );
    assert_eq!(
        deeds(&folder).await,
        [
            "client added",
            "client secret replaced",
            "client added",
            "client deleted"
        ]
    );
}

#[test]
fn a_file_says_what_no_option_does_and_the_options_go_before_it() {
    let folder = Folder::new("features.ciba = true\nfeatures.token_exchange = true\n");
    let bank = r#"{"client_name": "From the file", "scope": "openid", "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "token_endpoint_auth_method": "client_secret_basic", "jwks": {"keys": []}, "grant_types": ["urn:openid:params:grant-type:ciba", "urn:ietf:params:oauth:grant-type:token-exchange"],
        "backchannel_token_delivery_mode": "poll", "token_exchange": {"subject_clients": ["*"]}}"#;
    folder.write("bank.json", bank);
    let path = folder.path().join("bank.json");
    let bank = folder.run(&format!(
        "clients add Bank --id bank --scope email --auth-method client_secret_post \
         --jwks-uri https://bank.example/jwks --json --metadata {}",
        path.display()
    ));
    let bank = bank.json();
    for (name, value) in [
        ("client_name", "Bank"),
        ("scope", "email"),
        ("token_endpoint_auth_method", "client_secret_post"),
        ("backchannel_token_delivery_mode", "poll"),
    ] {
        assert_eq!(bank[name], value, "{bank}");
    }
    assert_eq!(bank["grant_types"].as_array().map(Vec::len), Some(2));
    assert_eq!(bank["token_exchange"]["subject_clients"][0], "*");
    for (text, why) in [
        (
            "{\"grant_type\": []}",
            "`grant_type` is not a setting; did you mean `grant_types`?",
        ),
        ("{\"id\": \"x\"}", "`id` is not a setting"),
        ("{\"scope\": 1}", "invalid type: integer `1`"),
        ("[]", "invalid type: sequence"),
        ("", "EOF while parsing"),
        (&" ".repeat(1 << 21), "is larger than 1048576 bytes"),
    ] {
        folder.write("bad.json", text);
        let bad = folder.path().join("bad.json");
        let line = format!("clients add B --metadata {}", bad.display());
        let refused = folder.run(&line).refused();
        assert!(
            refused.starts_with("--metadata /") && refused.contains(why),
            "{refused}"
        );
    }
    let missing = folder
        .run("clients add B --metadata nowhere.json")
        .refused();
    assert!(missing.contains("No such file"), "{missing}");
}

#[test]
fn a_client_that_makes_no_sense_is_refused() {
    let folder = Folder::new("");
    folder
        .run("clients add M --grant client_credentials --id m")
        .done();
    for (args, line) in [
        (
            "--id x",
            "--redirect-uri is missing: where does the user return to? (a machine needs none: --grant client_credentials)",
        ),
        (
            "--grant client_credentials --id m",
            "there is a client `m` already",
        ),
        (
            "--grant client_credentials --id https://m",
            "a client id has 1 to 200 of the characters A-Z a-z 0-9 - . _ ~",
        ),
        (
            "--grant client_credentials --public",
            "client_credentials needs a client that authenticates (RFC 6749 4.4)",
        ),
        (
            "--grant client_credentials --default-resource https://nix.example",
            "resource https://nix.example is not registered here",
        ),
        (
            "--redirect-uri javascript:alert(1)",
            "redirect_uri javascript:alert(1): this scheme is never a redirect target",
        ),
        (
            "--redirect-uri https://c.example --auth-method private_key_jwt",
            "private_key_jwt needs jwks or jwks_uri",
        ),
        (
            "--redirect-uri https://c.example --auth-method none --no-pkce",
            "--no-pkce: PKCE is the only proof of a client without a secret",
        ),
    ] {
        assert_eq!(folder.run(&format!("clients add C {args}")).refused(), line);
    }
}

#[test]
fn a_digest_fits_the_configuration_and_is_that_of_the_first_line() {
    let folder = Folder::new("");
    let secret = "a secret of at least thirty-two characters";
    let digest = folder
        .run_with("clients digest", &format!("{secret}\nmore"))
        .done();
    assert_eq!(
        digest.trim_end(),
        auth_server::protocol::secret::fingerprint(secret)
    );
    let settings = format!(
        "[[clients]]\nid = \"m\"\ngrant_types = [\"client_credentials\"]\nsecret_digest = \"{}\"\n",
        digest.trim_end()
    );
    Folder::new(&settings).run("config --check").done();
    assert_eq!(
        folder.run_with("clients digest", "short").refused(),
        "a secret has at least 32 characters; one line of standard input"
    );
}
