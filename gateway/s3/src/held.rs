//! Memory for what is read whole before anything is done with it: documents and browsers' forms.
//!
//! Room is granted by the announced length, before the first byte is read; who gets none in time is
//! told to slow down. There are three lanes, so that no kind keeps another out:
//!
//! - **Fields** of forms, which anybody may send: they are read before it is known who asks.
//! - **Small** documents, which is nearly all of them.
//! - **Large** documents and short files of forms, of senders who are known by then.
//!
//! Bytes must keep coming: what takes longer than its length allows is ended, and much sooner while
//! others wait for its room.

use s3s::{S3Error, S3Result, s3_error};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// All that is held so, bytes.
pub(crate) const HELD_BYTES_MAX: usize = 32 << 20;
/// Of these for fields of forms …
const FIELDS_BYTES: usize = HELD_BYTES_MAX / 4;
/// … and for small documents, which are no longer than …
const SMALL_BYTES: usize = HELD_BYTES_MAX / 4;
/// … this.
pub(crate) const SMALL_DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Longest wait for room.
pub(crate) const ROOM_WAIT_MAX: Duration = Duration::from_secs(15);

/// What is read whole may take so long …
const READ_TIME: Duration = Duration::from_secs(30);
/// … and its length at this rate, bytes a second;
const READ_RATE: u64 = 64 << 10;
/// while others wait for room, so long …
const PRESSED_TIME: Duration = Duration::from_secs(2);
/// … and its length at this rate.
const PRESSED_RATE: u64 = 1 << 20;
/// How often it is asked whether others wait.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// What room is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Fields of a form.
    Fields,
    /// A document, or the file of a form.
    Whole,
}

/// The memory; shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    fields: Arc<Lane>,
    small: Arc<Lane>,
    large: Arc<Lane>,
}

#[derive(Debug)]
struct Lane {
    free: Arc<Semaphore>,
    total: usize,
    waiting: AtomicUsize,
}

/// Leave to hold bytes, until dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
    lane: Arc<Lane>,
    bytes: usize,
}

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(total)),
            total,
            waiting: AtomicUsize::new(0),
        })
    }
}

impl Default for Held {
    fn default() -> Self {
        Self {
            fields: Lane::new(FIELDS_BYTES),
            small: Lane::new(SMALL_BYTES),
            large: Lane::new(HELD_BYTES_MAX - FIELDS_BYTES - SMALL_BYTES),
        }
    }
}

impl Held {
    /// Waits until `bytes` may be held; more than a lane has counts as all of it.
    ///
    /// # Errors
    /// `SlowDown` after the longest wait.
    pub(crate) async fn grant(&self, what: What, bytes: usize) -> S3Result<Room> {
        let lane = match what {
            What::Fields => &self.fields,
            What::Whole if bytes <= SMALL_DOCUMENT_BYTES_MAX => &self.small,
            What::Whole => &self.large,
        };
        let bytes = bytes.min(lane.total);
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(&lane.waiting);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let granted = Arc::clone(&lane.free).acquire_many_owned(permits);
        match tokio::time::timeout(ROOM_WAIT_MAX, granted).await {
            Ok(Ok(permit)) => Ok(Room {
                _permit: permit,
                lane: Arc::clone(lane),
                bytes,
            }),
            Ok(Err(_)) | Err(_) => Err(no_room()),
        }
    }
}

impl Room {
    /// The pace at which it must be filled, from now on.
    pub(crate) fn pace(&self) -> Pace {
        let now = Instant::now();
        Pace {
            lane: Arc::clone(&self.lane),
            bytes: self.bytes as u64,
            began: now,
            look: Box::pin(tokio::time::sleep_until(now + LOOK_PERIOD)),
        }
    }
}

/// Whether bytes come fast enough for the room they were given.
#[derive(Debug)]
pub(crate) struct Pace {
    lane: Arc<Lane>,
    bytes: u64,
    began: Instant,
    look: Pin<Box<Sleep>>,
}

impl Pace {
    /// Ready once they have taken too long.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            let now = Instant::now();
            let spent = now.duration_since(self.began);
            let at = |time: Duration, rate: u64| {
                time + Duration::from_millis(self.bytes.saturating_mul(1000) / rate)
            };
            let pressed = self.lane.waiting.load(Ordering::Relaxed) > 0;
            if spent >= at(READ_TIME, READ_RATE)
                || (pressed && spent >= at(PRESSED_TIME, PRESSED_RATE))
            {
                return Poll::Ready(());
            }
            self.look.as_mut().reset(now + LOOK_PERIOD);
        }
    }

    /// Does what reads the bytes.
    ///
    /// # Errors
    /// [`late`].
    pub(crate) async fn within<T>(
        mut self,
        reads: impl Future<Output = S3Result<T>>,
    ) -> S3Result<T> {
        tokio::select! {
            biased;
            done = reads => done,
            () = std::future::poll_fn(|cx| self.poll_late(cx)) => Err(late()),
        }
    }
}

/// The answer where no room came free in time.
pub(crate) fn no_room() -> S3Error {
    s3_error!(SlowDown, "Please reduce your request rate.")
}

/// The answer to bytes that take too long.
pub(crate) fn late() -> S3Error {
    s3_error!(
        RequestTimeout,
        "Your request body came too slowly to be read whole. Try again."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    const LARGE_BYTES: usize = HELD_BYTES_MAX - FIELDS_BYTES - SMALL_BYTES;

    #[tokio::test(start_paused = true)]
    async fn room_is_granted_to_the_limit_and_not_past_it() {
        let held = Held::default();
        let all = held.grant(What::Whole, LARGE_BYTES).await.expect("all");
        let began = Instant::now();
        let refused = held.grant(What::Whole, SMALL_DOCUMENT_BYTES_MAX + 1).await;
        assert!(began.elapsed() >= ROOM_WAIT_MAX && began.elapsed() < ROOM_WAIT_MAX * 2);
        assert_eq!(*refused.expect_err("no room").code(), S3ErrorCode::SlowDown);
        held.grant(What::Whole, SMALL_DOCUMENT_BYTES_MAX)
            .await
            .expect("the small have their own");
        held.grant(What::Fields, FIELDS_BYTES)
            .await
            .expect("fields have their own");
        drop(all);
        held.grant(What::Whole, 2 * HELD_BYTES_MAX)
            .await
            .expect("given back; more than all is all");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_slowly_ends_and_sooner_while_others_wait() {
        let held = Held::default();
        let began = Instant::now();
        let room = held.grant(What::Whole, LARGE_BYTES).await.expect("all");
        let never = std::future::pending::<S3Result<()>>;
        let alone = room.pace().within(never()).await.expect_err("late");
        assert_eq!(*alone.code(), S3ErrorCode::RequestTimeout);
        let whole = READ_TIME + Duration::from_secs(LARGE_BYTES as u64 / READ_RATE);
        assert!(began.elapsed() >= whole && began.elapsed() <= whole + LOOK_PERIOD);
        drop(room);

        let room = held.grant(What::Fields, 1 << 20).await.expect("room");
        let rest = held
            .grant(What::Fields, FIELDS_BYTES - (1 << 20))
            .await
            .expect("rest");
        let began = Instant::now();
        let reads = async {
            let late = room.pace().within(never()).await;
            drop(room);
            late.expect_err("late");
        };
        let ((), next) = tokio::join!(reads, held.grant(What::Fields, 1));
        next.expect("gave way");
        assert!(began.elapsed() <= PRESSED_TIME + Duration::from_secs(1) + LOOK_PERIOD);
        drop(rest);
    }
}
