//! Connections: their limits, what is kept of idle ones, and when a stalled one is cut.

use super::stall::WRITE_STALL_MAX;
use super::*;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response, body::Incoming};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

/// Turns in which hyper would see the end of the client's bytes.
const TURNS: usize = 64;

#[tokio::test]
async fn a_client_that_shut_its_sending_side_gets_its_answer() {
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (Arc::clone(&started), Arc::clone(&release));
    let service = service_fn(move |_request: Request<Incoming>| {
        let (started, release) = signals.clone();
        async move {
            started.notify_one();
            release.notified().await;
            Ok::<_, Infallible>(Response::new("the answer".to_owned()))
        }
    });
    let (mut client, server) = tokio::io::duplex(4096);
    let serve = http();
    let talk = async move {
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .expect("sent");
        started.notified().await;
        client.shutdown().await.expect("shut");
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        release.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("answer");
        answer
    };
    let connection = serve.serve_connection(TokioIo::new(server), service);
    let both = async { tokio::join!(connection, talk) };
    let limit = Duration::from_secs(10);
    let (ended, answer) = tokio::time::timeout(limit, both).await.expect("in time");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("the answer"),
        "{answer:?} {ended:?}"
    );
}

/// A body without end, in pieces, and how many were taken of it.
fn endless(taken: &Arc<AtomicUsize>) -> BoxBody<Bytes, Infallible> {
    let taken = Arc::clone(taken);
    StreamBody::new(futures::stream::repeat_with(move || {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok(Frame::data(Bytes::from_static(&PIECE)))
    }))
    .boxed()
}

const PIECE_BYTES: usize = 64 << 10;
static PIECE: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
const SOCKET_BYTES: usize = 16 << 10;

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_holds_one_piece_and_is_cut_off() {
    let taken = Arc::new(AtomicUsize::new(0));
    let flow = Arc::new(Flow::default());
    let (mut client, server) = tokio::io::duplex(SOCKET_BYTES);
    let service = service_fn(|_request: Request<Incoming>| {
        let body = HeldBack::new(endless(&taken), Arc::clone(&flow));
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let server = TokioIo::new(Watched::new(server, Arc::clone(&flow)));
    let http = http();
    let mut connection = std::pin::pin!(http.serve_connection(server, service));
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .expect("sent");
    let short = Duration::from_millis(2);
    // It reads a little, which wakes the connection, and then no more.
    for _ in 0..SOCKET_BYTES / 1024 {
        let wait = tokio::time::timeout(short, &mut connection).await;
        assert!(wait.is_err());
        client.read_exact(&mut [0; 1024]).await.expect("bytes");
    }
    let wait = tokio::time::timeout(short, &mut connection).await;
    assert!(wait.is_err());
    assert_eq!(
        taken.load(Ordering::Relaxed),
        1,
        "no second piece behind it"
    );
    let before =
        tokio::time::timeout(WRITE_STALL_MAX.saturating_sub(short * 2), &mut connection).await;
    assert!(before.is_err(), "not yet");
    let ended = tokio::time::timeout(short * 2, &mut connection).await;
    assert!(ended.expect("past the limit").is_err());
}
