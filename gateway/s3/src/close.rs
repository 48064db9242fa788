//! Every request ends here, once: the guard lives in the answer's body (or, before there is one, in
//! the request's future) and counts when it is dropped, whatever way the request ended.

use crate::body::BoxError;
use crate::request::RequestState;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Counted for a client that went away before it had a status (nginx's number for it).
const CLIENT_GONE: u16 = 499;

/// The guard.
#[derive(Debug)]
pub(crate) struct Close {
    state: Arc<RequestState>,
    method: http::Method,
    path: String,
    status: Option<StatusCode>,
    sent: u64,
    started: Instant,
}

impl Close {
    pub(crate) fn new(state: Arc<RequestState>, method: http::Method, path: &str) -> Self {
        let path = path.to_owned();
        Self {
            state,
            method,
            path,
            status: None,
            sent: 0,
            started: Instant::now(),
        }
    }
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Close {
    fn drop(&mut self) {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-close-count") {
            return;
        }
        let status = self.status.map_or(CLIENT_GONE, |s| s.as_u16());
        let operation = self.state.operation().to_owned();
        let seconds = self.started.elapsed().as_secs_f64();
        let labels = [
            ("operation", operation.clone()),
            ("status", status.to_string()),
        ];
        metrics::counter!("datamesh_s3_requests_total", &labels).increment(1);
        #[cfg(sabotage)]
        if engine_types::sabotage("close-twice") {
            metrics::counter!("datamesh_s3_requests_total", &labels).increment(1);
        }
        metrics::histogram!("datamesh_s3_request_seconds", "operation" => operation.clone())
            .record(seconds);
        metrics::counter!("datamesh_s3_received_bytes_total", "operation" => operation.clone())
            .increment(self.state.received());
        metrics::counter!("datamesh_s3_sent_bytes_total", "operation" => operation.clone())
            .increment(self.sent);
        tracing::debug!(
            request_id = %self.state.id,
            peer = self.state.peer_text(),
            account = self.state.account(),
            method = %self.method,
            path = %self.path,
            operation,
            status,
            received = self.state.received(),
            sent = self.sent,
            seconds,
            "request"
        );
        if status >= 500 {
            tracing::warn!(request_id = %self.state.id, operation = self.state.operation(), status, "request failed");
        }
    }
}

/// An answer's body: s3s's own, counted as hyper takes it.
#[derive(Debug)]
pub struct ResponseBody {
    inner: s3s::Body,
    close: Close,
}

impl ResponseBody {
    pub(crate) fn new(inner: s3s::Body, close: Close) -> Self {
        Self { inner, close }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.close.sent += frame.data_ref().map_or(0, |piece| piece.len() as u64);
            }
            Poll::Ready(Some(Err(error))) => {
                // Headers are out: the connection is cut, so that a cut body is not taken for whole.
                tracing::warn!(request_id = %self.close.state.id, %error, "answer cut");
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
