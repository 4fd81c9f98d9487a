//! `serve` and `keys`: the running server, and the commands beside it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Folder, answer};

/// A running server; it is killed when the test fails.
pub(crate) struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    pub(super) ready: String,
    /// The log before it was ready.
    pub(crate) before: String,
}

impl Running {
    pub(crate) fn start(folder: &Folder, line: &str) -> Running {
        Running::start_with(folder.command(line))
    }

    pub(super) fn start_with(command: Command) -> Running {
        Running::try_start(command).unwrap_or_else(|log| panic!("the server ended: {log}"))
    }

    /// Waits until it is ready; when it ends before, gives what it wrote.
    pub(crate) fn try_start(mut command: Command) -> Result<Running, String> {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut ready, mut before) = (String::new(), String::new());
        // "already" is in some other lines.
        while !ready.contains(" ready ") && !ready.contains("\"ready\"") {
            before.push_str(&ready);
            ready.clear();
            if log.read_line(&mut ready).unwrap() == 0 {
                child.wait().unwrap();
                return Err(before);
            }
        }
        Ok(Running {
            child,
            log,
            ready,
            before,
        })
    }

    /// The number of its process.
    #[cfg(target_os = "linux")]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as whoever supervises it does.
    pub(crate) fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        Command::new("kill").args([signal, &id]).status().unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already unless the test failed.
        let _ = self.child.kill();
    }
}

#[test]
fn commands_work_beside_a_running_server_and_a_signal_ends_it_cleanly() {
    let folder = Folder::new("");
    for signal in ["-TERM", "-INT"] {
        let server = Running::start(&folder, "serve");
        assert!(
            server
                .ready
                .contains("issuer=http://localhost:9 address=127.0.0.1:"),
            "{}",
            server.ready
        );
        let name = format!("user{signal}");
        folder
            .run_with(&format!("users add {name}"), "correct horse\n")
            .done();
        folder.run("keys list").done();
        folder.run("migrate --check").done();
        let (code, rest) = server.stop(signal);
        assert_eq!(code, Some(0), "{rest}");
        assert!(rest.contains("stopping"), "{rest}");
    }
    assert_eq!(
        folder.run("users list --json").json()["users"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_supervisor_hears_when_it_is_ready_alive_and_stopping() {
    let folder = Folder::new("");
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let wait = std::time::Duration::from_secs(10);
    socket.set_read_timeout(Some(wait)).unwrap();
    let mut command = folder.command("serve");
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let server = Running::start_with(command);
    let hear = || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert_eq!(hear().trim(), "READY=1");
    assert_eq!((hear().trim(), hear().trim()), ("WATCHDOG=1", "WATCHDOG=1"));
    assert_eq!(server.stop("-TERM").0, Some(0));
    assert!((0..20).any(|_| hear().trim() == "STOPPING=1"));
}

#[test]
fn a_second_server_says_what_is_taken() {
    let folder = Folder::new("");
    let server = Running::start(&folder, "serve --log json");
    let ready: Value = serde_json::from_str(&server.ready).unwrap();
    let address = ready["address"].as_str().unwrap();
    assert_eq!(
        (&ready["message"], &ready["issuer"]),
        (&"ready".into(), &"http://localhost:9".into())
    );
    let mut same_port = folder.command("serve");
    same_port.env("AUTH_SERVER_LISTEN", address);
    let line = answer(&mut same_port, "").refused();
    assert!(
        line.starts_with(&format!("listen: {address} cannot be used: ")),
        "{line}"
    );
    let line = folder.run("serve").refused();
    assert!(
        line.contains("another auth-server uses this database"),
        "{line}"
    );
    assert_eq!(server.stop("-TERM").0, Some(0));
}

#[cfg(unix)]
#[test]
fn a_master_key_that_others_can_read_gets_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("");
    let warning = "others on this machine can use the file";
    let server = Running::start(&folder, "serve");
    assert!(!server.before.contains(warning), "{}", server.before);
    server.stop("-TERM");
    for private in ["data/auth.db", "data/auth.db.lock"] {
        let file = std::fs::metadata(folder.path().join(private)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{private}");
    }
    let key = folder.path().join("keys/master.key");
    for (mode, warned) in [(0o600, false), (0o640, true), (0o604, true)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let server = Running::start(&folder, "serve");
        assert_eq!(server.before.contains(warning), warned, "{mode:o}");
        server.stop("-TERM");
    }
}

#[test]
fn a_catalogue_that_is_not_there_gets_a_warning() {
    let folder = Folder::new("registration.catalogue = \"nix\"\n");
    let server = Running::start(&folder, "serve");
    let warning = "registration.catalogue cannot be read";
    assert!(server.before.contains(warning), "{}", server.before);
    server.stop("-TERM");
}

#[test]
fn a_server_that_cannot_start_names_the_setting() {
    let folder = Folder::new("");
    folder.write("file", "no key");
    std::fs::write(folder.path().join("bytes"), [0xff; 32]).unwrap();
    for (variable, value, line) in [
        (
            "AUTH_SERVER_KEYS__MASTER_KEY_FILE",
            "file",
            "keys.master_key_file: file: must hold 32 bytes in base64url (43 characters)",
        ),
        (
            "AUTH_SERVER_KEYS__MASTER_KEY_FILE",
            "bytes",
            "keys.master_key_file: bytes: must hold 32 bytes in base64url (43 characters)",
        ),
        ("RUST_LOG", "a=b=c", "RUST_LOG: "),
        ("RUST_LOG", "loud", "RUST_LOG: `loud` is not a level; write"),
        (
            "AUTH_SERVER_METRICS__LISTEN",
            "192.0.2.1:1",
            "metrics.listen: 192.0.2.1:1 cannot be used: ",
        ),
        (
            "AUTH_SERVER_OUTBOUND__EXTRA_CA_FILE",
            "nix",
            "AUTH_SERVER_OUTBOUND__EXTRA_CA_FILE: nix: No such file",
        ),
    ] {
        let mut command = folder.command("serve");
        command.env(variable, value);
        let have = answer(&mut command, "").refused();
        assert!(have.starts_with(line), "{have}");
    }
}

#[test]
fn keys_rotate_by_and_by_or_at_once() {
    let folder = Folder::new("");
    folder.run("migrate").done();
    assert_eq!(
        folder.run("keys list").done(),
        "KEY  ALGORITHM  STATE  MADE\n"
    );
    let first = folder.run("keys rotate").done();
    assert_eq!(first.matches("signs, retires 20").count(), 2, "{first}");
    assert_eq!(first.matches("signs from 20").count(), 2, "{first}");
    // Times are in seconds: a second rotation must not depend on falling into the same one.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = folder.run("keys rotate").done();
    assert_eq!(
        again,
        format!("a rotation is under way already; nothing was changed\n{first}")
    );
    let at_once = folder.run("keys rotate --now").done();
    let kids = |text: &str| -> Vec<String> {
        text.lines()
            .skip(1)
            .map(|line| line[..43].to_owned())
            .collect()
    };
    assert_eq!(
        (kids(&at_once).len(), at_once.matches("  signs  20").count()),
        (2, 2),
        "{at_once}"
    );
    assert!(
        kids(&at_once).iter().all(|kid| !first.contains(kid)),
        "old keys are gone"
    );
    let list = folder.run("keys list --json").json();
    assert!(
        list["keys"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key["retires_at"].is_null())
    );
}
