//! Connections: their limits, what is kept of idle ones, and when a stalled one is cut.

use super::held_back::{HeldBack, PIECE_BYTES_MAX};
use super::stall::WRITE_STALL_MAX;
use super::talk::QUIET_GRACE;
use super::*;
use crate::shutdown::Shutdown;
use bytes::Bytes;
use futures::StreamExt as _;
use gateway_s3::FrontOptions;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
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
    pieces_of(taken, usize::MAX)
}

/// The same with an end.
fn pieces_of(taken: &Arc<AtomicUsize>, pieces: usize) -> BoxBody<Bytes, Infallible> {
    let taken = Arc::clone(taken);
    let piece = move || {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok(Frame::data(Bytes::from_static(&PIECE)))
    };
    BodyExt::boxed(StreamBody::new(
        futures::stream::repeat_with(piece).take(pieces),
    ))
}

const PIECE_BYTES: usize = 64 << 10;
static PIECE: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
const SOCKET_BYTES: usize = 16 << 10;

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_holds_one_write_and_is_cut_off() {
    let taken = Arc::new(AtomicUsize::new(0));
    let flow = Arc::new(Flow::default());
    let (mut client, server) = tokio::io::duplex(SOCKET_BYTES);
    let service = service_fn(|_request: Request<Incoming>| {
        let body = HeldBack::new(endless(&taken), flow.begin());
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
        PIECE_BYTES_MAX / PIECE_BYTES,
        "nothing behind what is written at once"
    );
    let before =
        tokio::time::timeout(WRITE_STALL_MAX.saturating_sub(short * 2), &mut connection).await;
    assert!(before.is_err(), "not yet");
    let ended = tokio::time::timeout(short * 2, &mut connection).await;
    assert!(ended.expect("past the limit").is_err());
}

const TICK: Duration = Duration::from_millis(2);

/// The port, before the store is open: every request is answered with 503.
fn serve() -> Serve {
    let health = Arc::new(crate::admin::Health::new());
    Serve {
        mode: TlsMode::Off,
        certificate: None,
        door: Arc::new(Door::new(FrontOptions::default(), health)),
        http: http(),
    }
}

fn info() -> ConnectionInfo {
    ConnectionInfo {
        peer: ([127, 0, 0, 1], 1).into(),
        tls: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_sent_away_at_the_limit_and_not_before() {
    for said in ["", "P", "PRI * H", "GET / HTTP/1.1\r\nHo"] {
        let (mut client, server) = tokio::io::duplex(SOCKET_BYTES);
        client.write_all(said.as_bytes()).await.expect("sent");
        let (_shutdown, ending) = Shutdown::new();
        let serve = serve();
        let mut talking = std::pin::pin!(serve.requests(server, info(), Arc::default(), ending));
        let before = tokio::time::timeout(HEAD_TIMEOUT.saturating_sub(TICK), &mut talking).await;
        assert!(before.is_err(), "{said:?}: not yet");
        let then = tokio::time::timeout(TICK * 2, &mut talking).await;
        assert!(then.is_ok(), "{said:?}: its place is kept");
    }
}

/// A handler's answers, on a connection of its own; its end.
fn talking<F>(
    server: DuplexStream,
    ending: Ending,
    answer: impl Fn(Request<Incoming>) -> F + Send + 'static,
) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = Response<BoxBody<Bytes, Infallible>>> + Send + 'static,
{
    tokio::spawn(async move {
        let flow = Arc::new(Flow::default());
        let stream = Watched::new(server, Arc::clone(&flow));
        talk(&http(), (stream, flow), HEAD_TIMEOUT, ending, answer).await;
    })
}

/// A client that answers pings, and has room for `window` bytes of each answer.
async fn h2_client(client: DuplexStream, window: u32) -> http2::SendRequest<Empty<Bytes>> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(client))
        .await
        .expect("h2");
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://h{path}");
    Request::get(uri).body(Empty::new()).expect("request")
}

fn nothing() -> BoxBody<Bytes, Infallible> {
    Empty::new().boxed()
}

/// `/endless` is; anything else is slow, and empty.
async fn endless_or_slow(request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    if request.uri().path() == "/endless" {
        return Response::new(endless(&Arc::default()));
    }
    tokio::time::sleep(WRITE_STALL_MAX * 3).await;
    Response::new(nothing())
}

#[tokio::test(start_paused = true)]
async fn an_h2_connection_without_requests_is_ended_at_the_limit() {
    let (client, server) = tokio::io::duplex(SOCKET_BYTES);
    let (_shutdown, ending) = Shutdown::new();
    let mut talking = talking(server, ending, endless_or_slow);
    let mut client = h2_client(client, 1 << 16).await;
    let answer = client.send_request(get("/slow")).await;
    assert_eq!(answer.expect("no request is idle").status(), 200);
    let before = tokio::time::timeout(HEAD_TIMEOUT.saturating_sub(TICK), &mut talking).await;
    assert!(before.is_err(), "not yet");
    let then = tokio::time::timeout(TICK * 2, &mut talking).await;
    then.expect("its place is kept").expect("no panic");
}

/// How an answer of `pieces` fares whose client has a window of `window` bytes and reads nothing.
async fn unread(pieces: usize, window: u32) {
    let (client, server) = tokio::io::duplex(SOCKET_BYTES);
    let (_shutdown, ending) = Shutdown::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let body = Arc::clone(&taken);
    let _talking = talking(server, ending, move |request| {
        let unread = request.uri().path() == "/unread";
        let unread = unread.then(|| pieces_of(&body, pieces));
        async move {
            match unread {
                Some(unread) => Response::new(unread),
                None => endless_or_slow(request).await,
            }
        }
    });
    let mut client = h2_client(client, window).await;
    let slow = tokio::spawn(client.send_request(get("/slow")));
    let answer = client.send_request(get("/unread")).await.expect("head");
    // Beside the handler's and this one.
    let kept = || Arc::strong_count(&taken) > 2;
    tokio::time::sleep(WRITE_STALL_MAX.saturating_sub(TICK)).await;
    assert!(kept(), "not yet");
    tokio::time::sleep(TICK * 2).await;
    assert!(!kept(), "its stream is kept");
    let read = answer.into_body().collect().await;
    assert!(read.is_err(), "cut, and taken for whole");
    let slow = slow.await.expect("no panic");
    assert_eq!(slow.expect("a slow handler is no stall").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_h2_answer_of_which_nothing_is_taken_is_cut_at_the_limit_and_its_connection_goes_on() {
    // With room for one byte hyper hands over the piece whole, and h2 keeps the rest of it.
    for window in [0, 1] {
        unread(1, window).await;
        unread(usize::MAX, window).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_h2_answer_that_is_taken_slowly_arrives_whole() {
    let (client, server) = tokio::io::duplex(SOCKET_BYTES);
    let (_shutdown, ending) = Shutdown::new();
    let _talking = talking(server, ending, |_request| async {
        Response::new(Full::new(Bytes::from_static(&PIECE)).boxed())
    });
    let window = u32::try_from(SOCKET_BYTES).expect("a small one");
    let mut client = h2_client(client, window).await;
    let answer = client.send_request(get("/")).await.expect("head");
    let (mut body, mut length) = (answer.into_body(), 0);
    while let Some(frame) = body.frame().await {
        length += frame.expect("not cut").into_data().expect("data").len();
        tokio::time::sleep(WRITE_STALL_MAX / 3).await;
    }
    assert_eq!(length, PIECE_BYTES);
}

#[tokio::test(start_paused = true)]
async fn the_end_cuts_half_a_head_at_once_and_waits_for_a_request() {
    let (mut half, server) = tokio::io::duplex(SOCKET_BYTES);
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("sent");
    let (shutdown, ending) = Shutdown::new();
    let halved = talking(server, ending.clone(), endless_or_slow);
    let (client, server) = tokio::io::duplex(SOCKET_BYTES);
    let whole = talking(server, ending, endless_or_slow);
    let mut client = h2_client(client, 1 << 16).await;
    let slow = tokio::spawn(client.send_request(get("/slow")));
    // Both are read.
    tokio::time::sleep(TICK).await;
    shutdown.begin();
    let half = tokio::time::timeout(QUIET_GRACE + TICK, halved).await;
    half.expect("half a head holds the end up")
        .expect("no panic");
    let slow = slow.await.expect("no panic");
    assert_eq!(slow.expect("it runs to its end").status(), 200);
    let ended = tokio::time::timeout(QUIET_GRACE + TICK, whole).await;
    ended.expect("its connection ends").expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_first_byte() {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("address");
    for mode in [TlsMode::Both, TlsMode::Off] {
        let _silent = TcpStream::connect(address).await.expect("connected");
        let (stream, peer) = socket.accept().await.expect("accepted");
        let (shutdown, ending) = Shutdown::new();
        let serve = Serve { mode, ..serve() };
        let mut talking = std::pin::pin!(serve.connection(stream, peer, ending));
        let before = tokio::time::timeout(TICK, &mut talking).await;
        assert!(before.is_err(), "it is served");
        shutdown.begin();
        let ended = tokio::time::timeout(QUIET_GRACE + TICK, &mut talking).await;
        assert!(ended.is_ok(), "{mode:?}");
    }
}

/// Bytes a client gets rid of in one request and in several, of which nobody reads a body.
async fn sent_unread(requests: usize) -> usize {
    let (client, server) = tokio::io::duplex(SOCKET_BYTES);
    let (_shutdown, ending) = Shutdown::new();
    let _talking = talking(server, ending, |request| async move {
        let never = std::future::pending::<()>().await;
        drop((never, request));
        Response::new(nothing())
    });
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(client))
        .await
        .expect("h2");
    tokio::spawn(connection);
    let pieces = Arc::new(AtomicUsize::new(0));
    let answers: Vec<_> = (0..requests)
        .map(|_| {
            let put = Request::put("http://h/").body(endless(&pieces));
            tokio::spawn(sender.send_request(put.expect("request")))
        })
        .collect();
    // The clock stands until nobody can go on.
    tokio::time::sleep(TICK).await;
    assert!(answers.iter().all(|answer| !answer.is_finished()));
    pieces.load(Ordering::Relaxed) * PIECE_BYTES
}

#[tokio::test(start_paused = true)]
async fn an_h2_connection_takes_its_window_of_what_nobody_reads_and_no_more() {
    let (stream, connection) = (
        H2_STREAM_WINDOW_BYTES as usize,
        H2_CONNECTION_WINDOW_BYTES as usize,
    );
    // Each request has a piece in hand, and one of which a part found room.
    let one = sent_unread(1).await;
    assert!((stream..=stream + 2 * PIECE_BYTES).contains(&one), "{one}");
    let five = sent_unread(5).await;
    assert!(
        (connection..=connection + 10 * PIECE_BYTES).contains(&five),
        "{five}"
    );
}

/// The answer's first line to a request of so many header lines.
async fn answer_to(header_lines: usize) -> String {
    let service = service_fn(async |_request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let (mut client, server) = tokio::io::duplex(SOCKET_BYTES);
    let more = (1..header_lines).map(|n| format!("x-{n}: 1\r\n"));
    let lines = more.collect::<String>();
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    client.write_all(request.as_bytes()).await.expect("sent");
    client.shutdown().await.expect("shut");
    let serve = http();
    let ended = serve.serve_connection(TokioIo::new(server), service).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("answer");
    answer
        .lines()
        .next()
        .unwrap_or_else(|| panic!("{ended:?}"))
        .to_owned()
}

#[tokio::test]
async fn so_many_header_lines_are_taken_and_one_more_is_431() {
    assert_eq!(answer_to(HEADERS_MAX).await, "HTTP/1.1 200 OK");
    let refused = answer_to(HEADERS_MAX + 1).await;
    assert_eq!(refused, "HTTP/1.1 431 Request Header Fields Too Large");
}
