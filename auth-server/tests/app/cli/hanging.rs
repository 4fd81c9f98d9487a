//! A machine between a node and PostgreSQL vanishes: what is open hangs without a word, what is new works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

use super::Folder;
use super::metrics::exchange;
use super::serve::Running;
use crate::world::postgres;

/// Forwards connections; those that are open when it freezes are never heard of again.
struct Proxy {
    address: SocketAddr,
    freezes: watch::Sender<u32>,
}

impl Proxy {
    async fn start(target: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (freezes, heard) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(forward(near_read, far_write, heard.clone()));
                tokio::spawn(forward(far_read, near_write, heard.clone()));
            }
        });
        Proxy { address, freezes }
    }

    fn freeze(&self) {
        self.freezes.send_modify(|freezes| *freezes += 1);
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut freezes: watch::Receiver<u32>,
) {
    freezes.mark_unchanged();
    let mut bytes = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            biased;
            _ = freezes.changed() => return std::future::pending().await,
            read = from.read(&mut bytes) => match read {
                Ok(count) if count > 0 && to.write_all(&bytes[..count]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_connections_hang_signs_with_no_key_that_was_withdrawn() {
    let Some(url) = postgres().await else { return };
    let mut behind = Url::parse(&url).unwrap();
    let target = format!("127.0.0.1:{}", behind.port().unwrap());
    let proxy = Arc::new(Proxy::start(target).await);
    behind.set_port(Some(proxy.address.port())).unwrap();
    let folder = Folder::new(&format!("[store]\nurl = \"{url}\"\n"));
    let mut command = folder.command("serve --log json");
    command.env("AUTH_SERVER_STORE__URL", behind.as_str());
    let freezing = Arc::clone(&proxy);
    let asking = tokio::task::spawn_blocking(move || {
        let server = Running::start_with(command);
        let ready: Value = serde_json::from_str(&server.ready).unwrap();
        let address = ready["address"].as_str().unwrap().to_owned();
        let old = keys(&address);
        // Many connections, none of which rested: the node believes that each of them is alive.
        let asking: Vec<_> = (0..24)
            .map(|number| {
                let address = address.clone();
                std::thread::spawn(move || {
                    let form =
                        format!("grant_type=refresh_token&client_id=c{number}&refresh_token=x");
                    let head =
                        "POST /token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
                    exchange(&address, head, &form)
                })
            })
            .collect();
        for asked in asking {
            asked.join().unwrap();
        }
        freezing.freeze();
        folder.run("keys rotate --now").done();
        let began = Instant::now();
        while keys(&address).iter().any(|key| old.contains(key)) {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(30), "after {waited:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        server.stop("-KILL");
    });
    asking.await.unwrap();
}

/// The ids of the keys that a node publishes.
fn keys(address: &str) -> Vec<String> {
    let answer = exchange(address, "GET /jwks.json HTTP/1.1", "");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let set: Value = serde_json::from_str(body).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert!(!keys.is_empty(), "{answer}");
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}
