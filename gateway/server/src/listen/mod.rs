//! The S3 port: accepts, speaks TLS or not, serves HTTP/1.1 and h2 with limits, drains on shutdown.
//! The admin port stands on the same parts.

mod accept;
mod flow;
mod given;
mod held_back;
mod socket;
mod stall;
mod talk;

pub(crate) use self::accept::accept;
pub(crate) use self::flow::Flow;
pub(crate) use self::given::Streams;
pub(crate) use self::socket::{bound, tune};
pub(crate) use self::stall::Watched;
pub(crate) use self::talk::talk;

use self::talk::before_end;
use crate::config::TlsMode;
use crate::door::Door;
use crate::shutdown::Ending;
use crate::tls::Certificate;
use gateway_s3::front::ConnectionInfo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Most connections at once, idle ones included; more wait in the kernel's queue.
pub(crate) const CONNECTIONS_MAX: usize = 16_384;
/// A client has this long to send a whole request head; also how long a connection may idle, whether
/// it ever said anything or not.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// And this long for the TLS handshake, first byte included.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most header lines of a request.
pub(crate) const HEADERS_MAX: usize = 128;
/// HTTP/1 read buffer: bounds the request head, and each piece of a body. Also what is taken of an
/// answer ahead of the socket: less than a frame, so that a client that stops reading holds one.
pub(crate) const HTTP1_BUFFER_BYTES: usize = 48 << 10;
/// Streams of one h2 connection at once.
pub(crate) const H2_STREAMS_MAX: u32 = 128;
/// What an h2 connection holds of requests that nobody reads yet: no budget counts it, and thousands
/// of connections may have it full …
pub(crate) const H2_CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
/// … and a stream of it, so that one that stands still does not stop the others.
pub(crate) const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// h2: resets a client may cause before it is cut (CVE-2023-44487).
pub(crate) const H2_RESETS_MAX: usize = 64;
/// First byte of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A listener that is bound but not yet served.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) mode: TlsMode,
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) door: Arc<Door>,
    /// Most connections at once, [`CONNECTIONS_MAX`] or fewer.
    pub(crate) connections: usize,
}

impl Listener {
    /// Serves until `ending` begins, then lets running requests go on for `drain` and cuts the rest.
    pub(crate) async fn serve(self, ending: Ending, drain: Duration) {
        let serve = Arc::new(Serve {
            mode: self.mode,
            certificate: self.certificate,
            door: self.door,
            http: http(),
        });
        let connection = move |stream, peer, ending| {
            let serve = Arc::clone(&serve);
            async move { serve.connection(stream, peer, ending).await }
        };
        accept(self.socket, self.connections, ending, drain, connection).await;
    }
}

/// HTTP as this port speaks it.
fn http() -> Builder<Streams> {
    let mut http = Builder::new(Streams);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HTTP1_BUFFER_BYTES)
        // Who has sent all may say so, and still hears the answer (RFC 9112, 9.6).
        .half_close(true);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}

struct Serve {
    mode: TlsMode,
    certificate: Option<Arc<Certificate>>,
    door: Arc<Door>,
    http: Builder<Streams>,
}

impl Serve {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, ending: Ending) {
        if let Err(error) = tune(&stream) {
            tracing::debug!(%peer, %error, "socket options");
        }
        let secure = match self.mode {
            TlsMode::Off => false,
            TlsMode::On => true,
            TlsMode::Both => {
                let mut first = [0; 1];
                let peeked = tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut first));
                match before_end(ending.clone(), peeked).await {
                    Some(Ok(Ok(1))) => first[0] == TLS_HANDSHAKE,
                    _ => return,
                }
            }
        };
        let flow = Arc::new(Flow::default());
        let stream = Watched::new(stream, Arc::clone(&flow));
        match (&self.certificate, secure) {
            (Some(certificate), true) => {
                let handshake = TlsAcceptor::from(certificate.current()).accept(stream);
                let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake);
                match before_end(ending.clone(), handshake).await {
                    Some(Ok(Ok(stream))) => {
                        let info = ConnectionInfo { peer, tls: true };
                        self.requests(stream, info, flow, ending).await;
                    }
                    Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "TLS handshake"),
                    Some(Err(_late)) => tracing::debug!(%peer, "TLS handshake timed out"),
                    None => {}
                }
            }
            (None, true) => tracing::debug!(%peer, "TLS asked for without a certificate"),
            (_, false) => {
                let info = ConnectionInfo { peer, tls: false };
                self.requests(stream, info, flow, ending).await;
            }
        }
    }

    async fn requests<S>(&self, stream: S, info: ConnectionInfo, flow: Arc<Flow>, ending: Ending)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let door = Arc::clone(&self.door);
        let answer = move |request| {
            let (door, info) = (Arc::clone(&door), info.clone());
            async move { door.call(request, info).await }
        };
        talk(&self.http, (stream, flow), HEAD_TIMEOUT, ending, answer).await;
    }
}

#[cfg(test)]
mod tests;
