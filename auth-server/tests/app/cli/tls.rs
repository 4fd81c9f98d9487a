//! `check` and `serve` with a certificate of their own.

use super::{Answer, Folder};
use crate::authority::{Authority, Issued};

const SETTINGS: &str = "issuer = \"https://as.example.com\"\nlisten = \"127.0.0.1:0\"\n\
                        [tls]\ncertificate_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";

fn with(issued: &Issued) -> Folder {
    let folder = Folder::empty();
    folder.write("auth-server.toml", SETTINGS);
    issued.write(folder.path());
    folder
}

fn now() -> i64 {
    auth_server::effects::Effects::system().now()
}

fn about_tls(answer: &Answer) -> Vec<&str> {
    let lines = answer.out.lines();
    lines.filter(|line| line[9..].starts_with("tls.")).collect()
}

#[test]
fn a_certificate_that_fits_needs_no_proxy() {
    let folder = with(&Authority::new().host(&["*.example.com"]));
    let answer = folder.run("check --strict");
    assert_eq!(answer.code, Some(0), "{}{}", answer.out, answer.err);
    assert!(about_tls(&answer)[0].starts_with("ok "), "{}", answer.out);
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_before_people_come() {
    let authority = Authority::new();
    let good = authority.host(&["as.example.com"]);
    let day = 86_400;
    for (issued, line) in [
        (
            authority.until(&["as.example.com"], now() - day),
            "error    tls.certificate_file: cert.pem has expired",
        ),
        (
            authority.until(&["as.example.com"], now() + 5 * day + 60),
            "warning  tls.certificate_file: cert.pem expires in 5 days",
        ),
        (
            authority.host(&["as.example.org"]),
            "error    tls.certificate_file: cert.pem is not for as.example.com, the host of issuer",
        ),
    ] {
        let folder = with(&issued);
        let answer = folder.run("check");
        let lines = about_tls(&answer)
            .join("\n")
            .replace(&format!("{}/", folder.path().display()), "");
        assert!(lines.contains(line), "{lines}");
    }
    let folder = with(&good);
    for (file, content, line) in [
        (
            "key.pem",
            authority.host(&["x"]).key.serialize_pem(),
            "tls.key_file: is not the key of tls.certificate_file",
        ),
        ("key.pem", "rubbish".into(), "tls.key_file: "),
        (
            "cert.pem",
            "rubbish".into(),
            "tls.certificate_file: holds no certificate in PEM form",
        ),
    ] {
        good.write(folder.path());
        folder.write(file, &content);
        let answer = folder.run("check");
        assert_eq!(answer.code, Some(2), "{}", answer.out);
        assert!(about_tls(&answer)[0].contains(line), "{}", answer.out);
        let answer = folder.run("serve");
        assert_eq!(answer.code, Some(2), "{}", answer.err);
        assert!(answer.err.contains(line), "{}", answer.err);
        assert!(!folder.path().join("data").exists(), "something was made");
    }
}
