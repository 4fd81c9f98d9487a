//! The end of a real server under load, and what many connections cost it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::Folder;
use super::serve::Running;

const PATH: &str = "/.well-known/openid-configuration";
const LONG: Duration = Duration::from_secs(20);

fn address(server: &Running) -> String {
    let (_, rest) = server.ready.split_once("address=").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

/// One request; the answer's head, or an error when there was none.
fn ask(stream: &mut TcpStream, more: &str) -> std::io::Result<String> {
    // In one piece: the rest would wait for an acknowledgement of the first.
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut some = [0; 8192];
    loop {
        let read = stream.read(&mut some)?;
        answer.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return Ok(head.to_owned());
            }
        }
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[test]
fn a_stop_under_load_loses_no_request_and_is_over_within_a_second() {
    let folder = Folder::new("");
    let server = Running::start(&folder, "serve");
    let address = address(&server);
    let (answered, missed) = (AtomicU32::new(0), AtomicU32::new(0));
    // A new connection for each request, as some proxies do; or one for as long as it lasts.
    let visit = |fresh: bool| {
        let mut last = Instant::now();
        let mut kept: Option<TcpStream> = None;
        loop {
            let stream = kept.take().map_or_else(|| TcpStream::connect(&address), Ok);
            // The listener is closed: nothing was sent.
            let Ok(mut stream) = stream else {
                return last;
            };
            stream.set_read_timeout(Some(LONG)).unwrap();
            let more = if fresh { "Connection: close\r\n" } else { "" };
            match ask(&mut stream, more) {
                Ok(head) => {
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    last = Instant::now();
                    if !head.contains("connection: close") {
                        kept = Some(stream);
                    }
                }
                Err(_) => {
                    missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    let (last, ended, code) = std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..8)
            .map(|n| scope.spawn(move || visit(n % 2 == 0)))
            .collect();
        let began = Instant::now();
        while answered.load(Ordering::Relaxed) <= 100 && began.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (code, _) = server.stop("-TERM");
        let ended = Instant::now();
        let last = visitors.into_iter().map(|visitor| visitor.join().unwrap());
        (last.max().unwrap(), ended, code)
    });
    let (answered, missed) = (answered.into_inner(), missed.into_inner());
    assert_eq!(code, Some(0));
    assert!(answered > 100, "{answered}");
    // Between the last look at the queue and the close of the listener a connection may still come in.
    assert!(missed <= 1, "{missed} of {answered} requests had no answer");
    let after = ended.saturating_duration_since(last);
    assert!(
        after < Duration::from_secs(1),
        "{after:?} after the last answer"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_connections_are_answered_in_little_memory_and_idle_ones_in_the_way_leave() {
    rlimit::increase_nofile_limit(4096).unwrap();
    let folder = Folder::new("[limits]\nconnections = 1000\n");
    let server = Running::start(&folder, "serve");
    let address = address(&server);
    let mut streams: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream
        })
        .collect();
    for _ in 0..3 {
        for stream in &mut streams {
            assert!(ask(stream, "").unwrap().starts_with("HTTP/1.1 200"));
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let resident = status.split("VmRSS:").nth(1).unwrap();
    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 150 * 1024, "{kib} KiB");

    // Every place is taken by connections that ask nothing any more; a newcomer does not wait for their time to end.
    let started = Instant::now();
    let mut newcomer = TcpStream::connect(&address).unwrap();
    newcomer.set_read_timeout(Some(LONG)).unwrap();
    assert!(ask(&mut newcomer, "").unwrap().starts_with("HTTP/1.1 200"));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.stop("-TERM").0, Some(0));
}

#[test]
fn a_server_that_is_asked_to_stop_is_not_ready_while_it_still_answers() {
    let folder = Folder::new("[limits]\nstop_delay = \"2s\"\n");
    let server = Running::start(&folder, "serve");
    let address = address(&server);
    let ready = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    assert!(ready().unwrap().starts_with("HTTP/1.1 200"));
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| server.stop("-TERM"));
        let mut answer = ready().unwrap();
        while answer.starts_with("HTTP/1.1 200") {
            std::thread::sleep(Duration::from_millis(10));
            answer = ready().unwrap();
        }
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("the server is stopping"), "{answer}");
        assert_eq!(stopped.join().unwrap().0, Some(0));
    });
    assert!(ready().is_err());
}
