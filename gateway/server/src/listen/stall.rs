//! A socket that knows whether its client takes anything.
//!
//! hyper waits for ever for a client that reads nothing, and meanwhile takes the answer's next piece
//! each time it is woken. Below TLS and HTTP stands this: it ends a connection that took nothing for
//! [`WRITE_STALL_MAX`], and tells the answers' bodies ([`Flow`]) to hold back while the socket is full.

use super::flow::Flow;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A client that takes nothing of its answer for this long is cut off.
pub(crate) const WRITE_STALL_MAX: Duration = Duration::from_mins(1);

/// A socket under watch.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    flow: Arc<Flow>,
    /// When it is cut off, while it takes nothing.
    deadline: Option<Instant>,
    /// Made once, and set anew only where it fires too early: sockets of fast readers fill all the time.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, flow: Arc<Flow>) -> Self {
        Self {
            stream,
            flow,
            deadline: None,
            timer: None,
        }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.deadline = None;
            self.flow.open();
            return polled;
        }
        self.flow.shut();
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Instant::now() + WRITE_STALL_MAX);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                let why = "the client took nothing of its answer";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const ROOM: usize = 4096;
    const TICK: Duration = Duration::from_millis(2);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off_at_the_limit_and_not_before() {
        let (_client, server) = tokio::io::duplex(ROOM);
        let mut server = Watched::new(server, Arc::default());
        let bytes = [0; ROOM + 1];
        let mut sending = std::pin::pin!(server.write_all(&bytes));
        let early = tokio::time::timeout(WRITE_STALL_MAX.saturating_sub(TICK), &mut sending).await;
        assert!(early.is_err(), "not yet");
        let late = tokio::time::timeout(TICK * 2, &mut sending).await;
        let error = late.expect("past the limit").expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_not() {
        let (mut client, server) = tokio::io::duplex(ROOM);
        let mut server = Watched::new(server, Arc::default());
        let sending = tokio::spawn(async move { server.write_all(&[7; ROOM + 5]).await });
        for _ in 0..5 {
            tokio::time::sleep(WRITE_STALL_MAX.saturating_sub(TICK)).await;
            assert_eq!(client.read_u8().await.expect("a byte"), 7);
        }
        sending.await.expect("task").expect("all is taken");
    }

    #[tokio::test(start_paused = true)]
    async fn the_flow_shuts_with_the_socket_and_wakes_when_it_opens() {
        let (mut client, server) = tokio::io::duplex(ROOM);
        let flow = Arc::new(Flow::default());
        let open = || std::future::poll_fn(|cx| flow.poll_open(cx));
        let mut server = Watched::new(server, Arc::clone(&flow));
        server.write_all(&[0; ROOM]).await.expect("room");
        open().await;
        let sending = tokio::spawn(async move { server.write_all(&[0; 1]).await });
        // Shut once it was tried.
        while tokio::time::timeout(TICK, open()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        client.read_u8().await.expect("a byte");
        open().await;
        sending.await.expect("task").expect("sent");
    }
}
