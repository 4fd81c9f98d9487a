//! Connections: so many at once, each given up when nothing happens on it, and an end that drops no request.
//!
//! Nobody has shown a token yet, so no rule here depends on who is calling. A connection is idle while no request of it
//! is being answered, whether it sends nothing, sends a head byte by byte, or does not read its answers:
//!
//! 1. the first request comes within [`FIRST`], every other one within `idle` after the one before;
//! 2. when all places are taken, who was idle for [`IN_THE_WAY`] goes first;
//! 3. at the end nobody new is let in (Linux), and the queue of the operating system is emptied before the listener closes; requests that
//!    are on their way for [`LAST_CALL`] are answered, with `Connection: close`; HTTP/2 says GOAWAY and finishes its streams.
//!
//! With TLS, the handshake counts as sending nothing: it ends when the first request is due, or for who waits longer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, Version, header};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::certificate::Peer;
use super::metrics;
use crate::tls::{self, Identity, Stream};
use activity::{Activity, UnderWay};

mod activity;
#[cfg(target_os = "linux")]
mod hold_off;

/// A new connection has sent its first request by then.
const FIRST: Duration = Duration::from_secs(10);
/// Idle for this long, a connection makes room for another.
const IN_THE_WAY: Duration = Duration::from_secs(1);
/// How long connections may still be completed that were begun before new ones are held off: a round trip within a
/// continent; who takes longer is reset.
#[cfg(target_os = "linux")]
const HANDSHAKES: Duration = Duration::from_millis(50);
/// How long open connections may still send a request after the listener closed: what was on its way arrives.
const LAST_CALL: Duration = Duration::from_millis(250);
/// How long an answer may take to leave once its connection is to end.
const LINGER: Duration = Duration::from_millis(500);
/// How long requests that are under way may take once the listener closed.
const LAST_REQUESTS: Duration = Duration::from_secs(20);
/// When no connection can be accepted, for example because there are too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);
/// Most connections that wait in the queue of the operating system.
const QUEUE: usize = 4096;
/// Bytes of a request's head.
const LARGEST_HEAD: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 100;
/// An HTTP/2 peer that does not answer a ping is gone.
const PING: Duration = Duration::from_secs(20);

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once; further ones wait in the queue of the operating system.
    pub(crate) connections: usize,
    /// A connection without a request for this long is closed.
    pub(crate) idle: Duration,
    /// How long new connections are still accepted after the wish to stop.
    pub(crate) stop_delay: Duration,
    /// Whether the metric of open connections counts them.
    pub(crate) are_counted: bool,
}

/// Answers requests until `stop` is cancelled, then lets those under way finish, for a while.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Identity>>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let stopping = Arc::new(AtomicBool::new(false));
    let open = Open {
        router,
        tls,
        idle: bounds.idle,
        are_counted: bounds.are_counted,
        room: Arc::new(Semaphore::new(bounds.connections)),
        crowd: Arc::default(),
        stopping: Arc::clone(&stopping),
        closing: CancellationToken::new(),
        over: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let asked = pin!(async {
        stop.cancelled().await;
        stopping.store(true, Ordering::Relaxed);
        sleep(bounds.stop_delay).await;
    });
    open.accept_until(asked, &listener).await;
    // Who is connecting when the listener closes would be connected, and reset.
    #[cfg(target_os = "linux")]
    match hold_off::hold_off(&listener) {
        Ok(()) => open.accept_until(pin!(sleep(HANDSHAKES)), &listener).await,
        Err(error) => tracing::debug!(%error, "new connections cannot be held off"),
    }
    open.empty_queue(listener);
    open.closing.cancel();
    open.tasks.close();
    if timeout(LAST_REQUESTS, open.tasks.wait()).await.is_err() {
        tracing::warn!("requests were still under way when the time to stop was over");
        open.over.cancel();
    }
}

/// The connections that are open, and what they must hear of.
#[derive(Clone)]
struct Open {
    router: Router,
    tls: Option<Arc<Identity>>,
    idle: Duration,
    are_counted: bool,
    room: Arc<Semaphore>,
    /// Tells idle connections that others wait for their places.
    crowd: Arc<Notify>,
    /// The wish to stop. Every answer looks at it, so it is no token, which takes a lock.
    stopping: Arc<AtomicBool>,
    /// The listener is closed.
    closing: CancellationToken,
    /// Nothing is waited for any more.
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Open {
    async fn accept_until(
        &self,
        mut end: Pin<&mut impl Future<Output = ()>>,
        listener: &TcpListener,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = end.as_mut() => return,
            };
            match accepted {
                Ok((stream, peer)) => tokio::select! {
                    place = self.place() => self.start(stream, peer, place),
                    () = end.as_mut() => return self.start(stream, peer, None),
                },
                // That one left before its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    self.crowd.notify_waiters();
                    tokio::select! {
                        () = sleep(ACCEPT_AGAIN) => {}
                        () = end.as_mut() => return,
                    }
                }
            }
        }
    }

    /// A free place; while there is none, idle connections are asked to go.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(place);
        }
        loop {
            self.crowd.notify_waiters();
            let place = Arc::clone(&self.room).acquire_owned();
            if let Ok(place) = timeout(ACCEPT_AGAIN, place).await {
                // The semaphore is never closed.
                return place.ok();
            }
        }
    }

    /// Accepts who is waiting already, whether or not there is a place: closing the listener would reset them.
    fn empty_queue(&self, listener: TcpListener) {
        let listener = match listener.into_std() {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "the queue of connections is lost"),
        };
        for _ in 0..QUEUE {
            let Ok((stream, peer)) = listener.accept() else {
                break;
            };
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            match stream {
                Ok(stream) => self.start(stream, peer, None),
                Err(error) => tracing::warn!(%error, "a waiting connection is lost"),
            }
        }
    }

    fn start(&self, stream: TcpStream, peer: SocketAddr, place: Option<OwnedSemaphorePermit>) {
        // Answers are small and whole; waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let open = self.clone();
        self.tasks.spawn(async move {
            let counted = open.are_counted.then(metrics::Connection::begin);
            open.attend(stream, peer).await;
            drop((counted, place));
        });
    }

    /// One connection from its first byte to its end.
    async fn attend(self, stream: TcpStream, peer: SocketAddr) {
        let activity = Arc::new(Activity::new());
        let Some(tls) = self.tls.clone() else {
            return self.converse(stream, (peer, None), activity).await;
        };
        if let Some(stream) = self.shake_hands(&tls, stream, &activity).await {
            let shown = tls::peer_certificate(&stream);
            let shown = shown.map(|shown| Peer(shown.map(Arc::new)));
            self.converse(stream, (peer, shown), activity).await;
        }
    }

    async fn shake_hands(
        &self,
        tls: &Identity,
        stream: TcpStream,
        activity: &Activity,
    ) -> Option<Stream> {
        let mut shaking = pin!(tls.accept(stream));
        let mut end = aside(self.until_end(activity));
        let shaken = tokio::select! {
            shaken = shaking.as_mut() => shaken,
            _ = end.next() => if self.closing.is_cancelled() {
                timeout(LAST_CALL, shaking).await.ok()?
            } else {
                return None;
            },
        };
        match shaken {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
        }
    }

    /// Requests and answers.
    async fn converse<S>(
        self,
        stream: S,
        (peer, certificate): (SocketAddr, Option<Peer>),
        activity: Arc<Activity>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let conversation = Arc::new(Conversation {
            router: self.router.clone(),
            activity: Arc::clone(&activity),
            stopping: Arc::clone(&self.stopping),
            peer,
            certificate,
        });
        let service = service_fn(move |request| answer(Arc::clone(&conversation), request));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(LARGEST_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));

        let mut end = aside(self.until_end(&activity));
        tokio::select! {
            // A connection that is never done with a turn must not keep the end from its own.
            biased;
            _ = end.next() => {}
            ended = connection.as_mut() => return say(ended),
        }
        // HTTP/2 itself takes what is on its way; HTTP/1.1 would close before it, and a connection of which nothing has
        // been read yet would be dropped.
        if self.closing.is_cancelled() && !activity.is_http2.load(Ordering::Relaxed) {
            tokio::select! {
                ended = connection.as_mut() => return say(ended),
                () = sleep(LAST_CALL) => {}
            }
        }
        connection.as_mut().graceful_shutdown();
        loop {
            tokio::select! {
                ended = connection.as_mut() => return say(ended),
                () = sleep(LINGER) => if activity.idle() >= Some(LINGER) { return },
                () = self.over.cancelled() => return,
            }
        }
    }

    /// Waits until the connection must go: the listener closed, nothing happens on it, or it is in the way.
    async fn until_end(&self, activity: &Activity) {
        let mut check = activity.born + FIRST.min(self.idle);
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = self.crowd.notified() => if activity.idle() >= Some(IN_THE_WAY) { return },
                () = sleep_until(check) => {
                    let allowed = if activity.has_asked() { self.idle } else { FIRST.min(self.idle) };
                    let idle = activity.idle().unwrap_or_default();
                    if idle >= allowed {
                        return;
                    }
                    check = Instant::now() + allowed.saturating_sub(idle);
                }
            }
        }
    }
}

/// The future as a stream of its one answer. It is polled only when it has something to say, not whenever the task that
/// waits for it runs: these futures take locks that all connections share.
fn aside<F: Future>(future: F) -> FuturesUnordered<F> {
    std::iter::once(future).collect()
}

fn say(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}

/// What every request of a connection needs.
struct Conversation {
    router: Router,
    activity: Arc<Activity>,
    stopping: Arc<AtomicBool>,
    peer: SocketAddr,
    certificate: Option<Peer>,
}

/// One request; the last one of an HTTP/1.1 connection says so.
fn answer(
    conversation: Arc<Conversation>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    let is_http2 = request.version() == Version::HTTP_2;
    let under_way = UnderWay::begin(&conversation.activity, is_http2);
    request
        .extensions_mut()
        .insert(ConnectInfo(conversation.peer));
    if let Some(certificate) = conversation.certificate.clone() {
        request.extensions_mut().insert(certificate);
    }
    // A router is always ready.
    let answered = conversation.router.clone().call(request);
    async move {
        let mut response = answered.await?;
        if !is_http2 && conversation.stopping.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        drop(under_way);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(20);
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    struct Running {
        address: SocketAddr,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(connections: usize, idle: Duration, stop_delay: Duration) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = async || {
            sleep(Duration::from_millis(800)).await;
            "slow"
        };
        let router = Router::new()
            .route("/", get(async || "x".repeat(50_000)))
            .route("/slow", get(slow));
        let stop = CancellationToken::new();
        let bounds = Bounds {
            connections,
            idle,
            stop_delay,
            are_counted: true,
        };
        let task = tokio::spawn(serve(listener, None, router, bounds, stop.clone()));
        Running {
            address,
            stop,
            task,
        }
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let read = timeout(LONG, stream.read_to_end(&mut bytes)).await;
        read.unwrap().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn a_connection_without_a_whole_request_is_closed() {
        let server = start(100, SHORT, Duration::ZERO).await;
        for begin in [
            "",
            "P",
            "PRI * HTTP/2.0",
            "GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
        ] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            let ended = timeout(LONG, stream.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{begin:?} keeps it open");
        }
    }

    #[tokio::test]
    async fn a_handshake_that_does_not_end_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let issued = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap();
        let files = crate::tls::Files {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        std::fs::write(&files.certificate, issued.cert.pem()).unwrap();
        std::fs::write(&files.key, issued.signing_key.serialize_pem()).unwrap();
        let identity = Some(Arc::new(Identity::load(&files, false).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds {
            connections: 100,
            idle: SHORT,
            stop_delay: Duration::ZERO,
            are_counted: true,
        };
        let stop = CancellationToken::new();
        let serving = serve(listener, identity, Router::new(), bounds, stop.clone());
        let task = tokio::spawn(serving);
        // Nothing, the head of a record, and a record that never ends.
        for begin in [
            &b""[..],
            b"\x16\x03\x01",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begin).await.unwrap();
            let ended = timeout(LONG, stream.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{begin:?} keeps it open");
        }
        let waiting = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        assert!(timeout(LAST_REQUESTS / 2, task).await.is_ok());
        drop(waiting);
    }

    #[tokio::test]
    async fn a_head_that_comes_in_drops_is_given_up_also_after_a_request() {
        let server = start(100, SHORT, Duration::ZERO).await;
        for before in [&b""[..], ASK] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(before).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nX-A: ").await.unwrap();
            let drip = async {
                while stream.write_all(b"x").await.is_ok() {
                    sleep(SHORT / 10).await;
                }
            };
            assert!(timeout(LONG, drip).await.is_ok());
        }
    }

    #[tokio::test]
    async fn whoever_does_not_read_its_answers_is_disconnected() {
        let server = start(100, SHORT, Duration::ZERO).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let ask = async { while stream.write_all(ASK).await.is_ok() {} };
        assert!(timeout(LONG, ask).await.is_ok());
    }

    #[tokio::test]
    async fn a_connection_that_is_used_stays() {
        let server = start(100, SHORT * 2, Duration::ZERO).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..6 {
            stream.write_all(ASK).await.unwrap();
            let mut some = vec![0; 60_000];
            assert!(stream.read(&mut some).await.unwrap() > 0);
            sleep(SHORT / 2).await;
        }
    }

    #[tokio::test]
    async fn idle_connections_make_room_but_one_that_works_does_not() {
        let server = start(2, LONG, Duration::ZERO).await;
        let mut works = TcpStream::connect(server.address).await.unwrap();
        let _idle = TcpStream::connect(server.address).await.unwrap();
        sleep(IN_THE_WAY + SHORT).await;
        works
            .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        sleep(SHORT / 3).await;
        let mut third = TcpStream::connect(server.address).await.unwrap();
        third
            .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let (first, third) = tokio::join!(read_all(&mut works), read_all(&mut third));
        assert!(first.ends_with("slow") && third.ends_with("slow"));
    }

    #[tokio::test]
    async fn at_the_end_everything_that_was_sent_is_answered_and_nothing_waits_for_the_silent() {
        // The one place is taken, so the others wait in the queue of the operating system when the end comes.
        let server = start(1, LONG, Duration::ZERO).await;
        let mut works = TcpStream::connect(server.address).await.unwrap();
        works
            .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        sleep(SHORT / 3).await;
        let mut queued = TcpStream::connect(server.address).await.unwrap();
        queued.write_all(ASK).await.unwrap();
        let mut late = TcpStream::connect(server.address).await.unwrap();
        let silent = TcpStream::connect(server.address).await.unwrap();
        server.stop.cancel();
        sleep(LAST_CALL / 5).await;
        late.write_all(ASK).await.unwrap();
        for (stream, end) in [
            (&mut works, "slow"),
            (&mut queued, "xxxx"),
            (&mut late, "xxxx"),
        ] {
            let answer = read_all(stream).await;
            assert!(answer.contains("connection: close"), "{end}");
            assert!(answer.ends_with(end));
        }
        timeout(LINGER, server.task).await.unwrap().unwrap();
        drop(silent);
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn with_a_delay_new_connections_are_still_answered_after_the_wish_to_stop() {
        let server = start(10, LONG, SHORT * 2).await;
        server.stop.cancel();
        sleep(SHORT).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        assert!(read_all(&mut stream).await.contains("connection: close"));
        timeout(LONG, server.task).await.unwrap().unwrap();
    }
}
