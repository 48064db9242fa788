//! The admin port's connections: few, and none for long without a request. They come out of the same
//! file handles as the drives' files (`handles.rs`), so they have a limit also where the port is open
//! to a whole network.

use super::routes;
use crate::listen::{Flow, Streams, Watched, accept, talk, tune};
use crate::shutdown::Ending;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// Connections at once; more wait in the kernel's queue.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 128;
/// A client has this long to send a whole request head; also how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests still running when the process ends get this long.
const END_GRACE: Duration = Duration::from_secs(2);

/// Serves until `ending` begins.
pub(super) async fn serve(admin: super::Admin, socket: TcpListener, ending: Ending) {
    let (http, router) = (Arc::new(http()), routes::router(admin));
    let connection = move |stream, peer, ending| {
        let (http, router) = (Arc::clone(&http), router.clone());
        async move {
            if let Err(error) = tune(&stream) {
                tracing::debug!(%peer, %error, "socket options");
            }
            requests(&http, stream, router, ending).await;
        }
    };
    accept(socket, ADMIN_CONNECTIONS_MAX, ending, END_GRACE, connection).await;
}

fn http() -> Builder<Streams> {
    let mut http = Builder::new(Streams).http1_only();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    http
}

async fn requests<S>(http: &Builder<Streams>, stream: S, router: Router, ending: Ending)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let flow = Arc::new(Flow::default());
    let stream = Watched::new(stream, Arc::clone(&flow));
    let answer = move |request: Request<Incoming>| {
        let answered = router.clone().oneshot(request.map(Body::new));
        async move {
            match answered.await {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        }
    };
    talk(http, (stream, flow), HEAD_TIMEOUT, ending, answer).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Admin, Health};
    use crate::shutdown::Shutdown;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    const TICK: Duration = Duration::from_millis(2);
    const ASK: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n";

    fn admin() -> Admin {
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        Admin::new(Arc::new(Health::new()), metrics, "us-east-1")
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_and_half_a_head_end_at_the_limit_and_not_before() {
        for said in [&b""[..], &ASK[..ASK.len() - 1], &[ASK, b"GET"].concat()] {
            let (mut client, server) = tokio::io::duplex(1 << 16);
            client.write_all(said).await.expect("sent");
            let (_shutdown, ending) = Shutdown::new();
            let http = http();
            let mut talking =
                std::pin::pin!(requests(&http, server, routes::router(admin()), ending));
            let before = tokio::time::timeout(HEAD_TIMEOUT.saturating_sub(TICK), &mut talking);
            assert!(before.await.is_err(), "not yet");
            let then = tokio::time::timeout(TICK * 2, &mut talking).await;
            assert!(then.is_ok(), "its handle is kept");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_connections_as_the_limit_and_one_more_waits() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("address");
        let (shutdown, ending) = Shutdown::new();
        let serving = tokio::spawn(serve(admin(), socket, ending));
        let mut holders = Vec::new();
        for _ in 0..ADMIN_CONNECTIONS_MAX {
            let mut holder = TcpStream::connect(address).await.expect("connected");
            holder.write_all(ASK).await.expect("sent");
            assert_ne!(holder.read(&mut [0; 512]).await.expect("answer"), 0);
            holders.push(holder);
        }
        let mut waits = TcpStream::connect(address).await.expect("connected");
        waits.write_all(ASK).await.expect("sent");
        // The clock stands until nobody can go on; then the first that idles too long gives its place.
        assert_ne!(waits.read(&mut [0; 512]).await.expect("answer"), 0);
        let gone = holders
            .iter()
            .any(|holder| matches!(holder.try_read(&mut [0; 512]), Ok(0)));
        assert!(gone, "answered while all others were there");
        shutdown.begin();
        serving.await.expect("ends");
    }
}
