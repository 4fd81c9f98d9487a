//! Connections (B-27): so many at once, each given up when the head of a request takes too long or when nothing comes or goes.
//!
//! All of this happens before anybody has shown a token, so no limit here may depend on who is calling.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// Further connections wait in the queue of the operating system. Below the usual limit of open files.
pub(crate) const MAX_CONNECTIONS: usize = 800;
/// When no connection can be accepted, for example because there are too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Answers requests until `shutdown` is cancelled, then finishes those in progress.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Duration,
    most: usize,
    shutdown: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(patience)
        .keep_alive_timeout(patience);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(most));
    let accept = async || {
        let place = Arc::clone(&room).acquire_owned().await;
        listener.accept().await.map(|(stream, _)| (stream, place))
    };
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            // That one left before its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::select! {
                    () = sleep(ACCEPT_AGAIN) => continue,
                    () = shutdown.cancelled() => break,
                }
            }
        };
        // Answers are small and whole; waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        // Longer than any request may take, so that none is cut off while it is worked on.
        let io = TokioIo::new(Impatient::new(stream, patience * 2));
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(io, service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// A stream that fails when it has waited for the other side for too long.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            reading: None,
            writing: None,
        }
    }
}

/// What the stream says, or an error if it has said nothing since `waiting` began, `patience` ago.
fn unless_late<T>(
    polled: Poll<io::Result<T>>,
    waiting: &mut Option<Pin<Box<Sleep>>>,
    patience: Duration,
    context: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if polled.is_ready() {
        *waiting = None;
        return polled;
    }
    let waiting = waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
    ready!(waiting.as_mut().poll(context));
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        unless_late(polled, &mut this.reading, this.patience, context)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        unless_late(polled, &mut this.writing, this.patience, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        unless_late(polled, &mut this.writing, this.patience, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(10);

    async fn start(patience: Duration, most: usize) -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "x".repeat(50_000)));
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, router, patience, most, shutdown.clone()));
        (address, shutdown)
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_closed() {
        let (address, _shutdown) = start(SHORT, 100).await;
        for begin in [
            "",
            "P",
            "PRI * HTTP/2.0",
            "GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            let ended = timeout(LONG, stream.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{begin:?} keeps it open");
        }
    }

    #[tokio::test]
    async fn a_head_that_comes_in_drops_is_given_up() {
        let (address, _shutdown) = start(SHORT, 100).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nX-A: ").await.unwrap();
        let drip = async {
            while stream.write_all(b"x").await.is_ok() {
                sleep(SHORT / 4).await;
            }
        };
        assert!(timeout(LONG, drip).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_does_not_read_its_answers_is_disconnected() {
        let (address, _shutdown) = start(SHORT, 100).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = async {
            while stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .is_ok()
            {}
        };
        assert!(timeout(LONG, ask).await.is_ok());
    }

    #[tokio::test]
    async fn a_connection_beyond_the_bound_waits_until_another_ends() {
        let (address, _shutdown) = start(LONG, 1).await;
        let first = TcpStream::connect(address).await.unwrap();
        sleep(SHORT / 2).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        second
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut byte = [0];
        assert!(timeout(SHORT, second.read(&mut byte)).await.is_err());
        drop(first);
        let read = timeout(LONG, second.read(&mut byte)).await;
        assert_eq!(read.unwrap().unwrap(), 1);
    }
}
