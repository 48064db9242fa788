//! HTTP with one client, from its first byte until it leaves, falls silent or is sent away.
//!
//! hyper times what it has begun to read. It does not time the first bytes, by which it tells h2 from
//! HTTP/1.1, nor an h2 connection on which no request runs: a silent client would keep its place for
//! ever. So the silence is measured here, whatever is spoken.

use super::flow::Flow;
use super::given::Streams;
use super::held_back::HeldBack;
use crate::shutdown::Ending;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Told to end, a connection on which no request runs is cut after so long: an h2 client may leave
/// the farewell unanswered, and half a request head may never become a whole one.
pub(super) const QUIET_GRACE: Duration = Duration::from_secs(1);

/// What comes of `work` before a connection has its first request; none: the port ends meanwhile.
pub(super) async fn before_end<T>(mut ending: Ending, work: impl Future<Output = T>) -> Option<T> {
    let end = async {
        ending.begun().await;
        tokio::time::sleep(QUIET_GRACE).await;
    };
    tokio::select! {
        done = work => Some(done),
        () = end => None,
    }
}

/// Answers every request of `stream` with `answer`, until the client leaves, no request has run for
/// `idle`, or `ending` begins; what runs then may end. `flow` is that of the socket below `stream`.
pub(crate) async fn talk<S, A, F, B>(
    http: &Builder<Streams>,
    (stream, flow): (S, Arc<Flow>),
    idle: Duration,
    mut ending: Ending,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send>
        + Unpin
        + Send
        + 'static,
{
    let requests = Arc::clone(&flow);
    let service = service_fn(move |request| {
        let (running, answer) = (requests.begin(), answer(request));
        // Boxed, because hyper keeps room for it also while no request runs, and it is large.
        Box::pin(async move {
            let answer = answer.await;
            Ok::<_, Infallible>(answer.map(|body| HeldBack::new(body, running)))
        })
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = flow.quiet(idle) => None,
        () = ending.begun() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => ended,
            () = flow.quiet(QUIET_GRACE) => return,
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
