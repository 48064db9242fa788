//! Memory for what is read whole before anything is done with it: documents and browsers' forms.
//!
//! Room is granted by the announced length, before the first byte is read; who gets none in time is
//! told to slow down. There are five lanes, so that no kind keeps another out:
//!
//! - **Fields** of forms, which anybody may send: they are read before it is known who asks. A form
//!   announces its length and not that of its fields, which nearly always are short: it begins with little.
//! - **More** fields, of the few that have them: all at once, so that none waits while it keeps some.
//! - **Small** documents, which is nearly all of them.
//! - **Large** documents and short files of forms, of senders who are known by then.
//! - **Values** that documents become, beside their bytes.
//!
//! Bytes must keep coming: what takes longer than its length allows is ended, and much sooner while
//! others wait for its room.

use s3s::{S3Error, S3Result, s3_error};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// All that is held so, bytes.
pub(crate) const HELD_BYTES_MAX: usize = 32 << 20;
/// Of these for what forms begin with …
const FIELDS_BYTES: usize = HELD_BYTES_MAX / 8;
/// … which is no longer than this …
pub(crate) const FIELDS_FIRST_BYTES_MAX: usize = 8 << 10;
/// … for the rest of those that go on …
const MORE_BYTES: usize = HELD_BYTES_MAX / 8;
/// … and for small documents, which are no longer than …
const SMALL_BYTES: usize = HELD_BYTES_MAX / 4;
/// … this.
pub(crate) const SMALL_DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// What the values of documents may take beside.
pub(crate) const VALUES_BYTES_MAX: usize = 50 << 20;
/// Forms of one address that may wait for room at once: who sends many waits behind nobody's but its own.
pub(crate) const FORMS_WAITING_MAX: usize = 16;
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
    /// First fields of a form.
    Fields,
    /// The rest of its fields.
    More,
    /// A document, or the file of a form.
    Whole,
    /// What a document becomes.
    Values,
}

/// The memory; shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    fields: Arc<Lane>,
    more: Arc<Lane>,
    strangers: Arc<Strangers>,
    small: Arc<Lane>,
    large: Arc<Lane>,
    values: Arc<Lane>,
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

/// Forms that wait for room, by the address they come from; none: it cannot be told.
#[derive(Debug, Default)]
struct Strangers(Mutex<HashMap<Option<IpAddr>, usize>>);

/// One that waits.
struct Stranger<'a>(&'a Strangers, Option<IpAddr>);

impl Strangers {
    fn counts(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// `SlowDown` where as many wait as may.
    fn enter(&self, peer: Option<IpAddr>) -> S3Result<Stranger<'_>> {
        let from = peer.map(network);
        let mut counts = self.counts();
        let count = counts.entry(from).or_default();
        if *count >= FORMS_WAITING_MAX {
            return Err(no_room());
        }
        *count += 1;
        Ok(Stranger(self, from))
    }
}

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// Whom an address stands for: of IPv6 one sender has 64 bits of them.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
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

    /// Room that is free, if nobody waits for it.
    fn at_once(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let bytes = bytes.min(self.total);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free).try_acquire_many_owned(permits);
        permit.ok().map(|permit| self.room(permit, bytes))
    }

    fn room(self: &Arc<Self>, permit: OwnedSemaphorePermit, bytes: usize) -> Room {
        Room {
            _permit: permit,
            lane: Arc::clone(self),
            bytes,
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self {
            fields: Lane::new(FIELDS_BYTES),
            more: Lane::new(MORE_BYTES),
            strangers: Arc::default(),
            small: Lane::new(SMALL_BYTES),
            large: Lane::new(HELD_BYTES_MAX - FIELDS_BYTES - MORE_BYTES - SMALL_BYTES),
            values: Lane::new(VALUES_BYTES_MAX),
        }
    }
}

impl Held {
    fn lane(&self, what: What, bytes: usize) -> &Arc<Lane> {
        match what {
            What::Fields => &self.fields,
            What::More => &self.more,
            What::Whole if bytes <= SMALL_DOCUMENT_BYTES_MAX => &self.small,
            What::Whole => &self.large,
            What::Values => &self.values,
        }
    }

    /// The same for who is not known yet, but for an address.
    ///
    /// # Errors
    /// `SlowDown` after the longest wait, or at once where [`FORMS_WAITING_MAX`] of that address wait.
    pub(crate) async fn grant_stranger(
        &self,
        peer: Option<IpAddr>,
        what: What,
        bytes: usize,
    ) -> S3Result<Room> {
        if let Some(room) = self.lane(what, bytes).at_once(bytes) {
            return Ok(room);
        }
        let _counted = self.strangers.enter(peer)?;
        self.grant(what, bytes).await
    }

    /// Waits until `bytes` may be held; more than a lane has counts as all of it.
    ///
    /// # Errors
    /// `SlowDown` after the longest wait.
    pub(crate) async fn grant(&self, what: What, bytes: usize) -> S3Result<Room> {
        let lane = self.lane(what, bytes);
        let bytes = bytes.min(lane.total);
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(&lane.waiting);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let granted = Arc::clone(&lane.free).acquire_many_owned(permits);
        match tokio::time::timeout(ROOM_WAIT_MAX, granted).await {
            Ok(Ok(permit)) => Ok(lane.room(permit, bytes)),
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

    const LARGE_BYTES: usize = HELD_BYTES_MAX - FIELDS_BYTES - MORE_BYTES - SMALL_BYTES;

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
    async fn as_many_forms_of_one_address_wait_as_may_and_no_more() {
        let held = Held::default();
        let peer = |text: &str| text.parse::<IpAddr>().ok();
        let all = held.grant_stranger(None, What::Fields, FIELDS_BYTES).await;
        let all = all.expect("all");
        let waits = |from: &str, held: &Held| {
            let (peer, held) = (peer(from), held.clone());
            tokio::spawn(async move { held.grant_stranger(peer, What::Fields, 1).await })
        };
        let waiting = || held.fields.waiting.load(Ordering::Relaxed);
        let mut forms: Vec<_> = (1..FORMS_WAITING_MAX)
            .map(|n| waits(&format!("2001:db8::{n}"), &held))
            .collect();
        forms.push(waits("2001:db8::ffff", &held));
        while waiting() < FORMS_WAITING_MAX {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        let next = held.grant_stranger(peer("2001:db8::2:1"), What::Fields, 1);
        let refused = next.await.expect_err("one more of that network");
        assert_eq!(*refused.code(), S3ErrorCode::SlowDown);
        assert_eq!(began.elapsed(), Duration::ZERO);
        forms.push(waits("2001:db8:0:1::1", &held));
        forms.push(waits("10.0.0.1", &held));
        while waiting() < FORMS_WAITING_MAX + 2 {
            tokio::task::yield_now().await;
        }
        drop(all);
        for form in forms {
            form.await.expect("task").expect("room");
        }
        assert!(held.strangers.counts().is_empty());
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

        let room = held.grant(What::More, 1 << 20).await.expect("room");
        let rest = held
            .grant(What::More, MORE_BYTES - (1 << 20))
            .await
            .expect("rest");
        let began = Instant::now();
        let reads = async {
            let late = room.pace().within(never()).await;
            drop(room);
            late.expect_err("late");
        };
        let ((), next) = tokio::join!(reads, held.grant(What::More, 1));
        next.expect("gave way");
        assert!(began.elapsed() <= PRESSED_TIME + Duration::from_secs(1) + LOOK_PERIOD);
        drop(rest);
    }
}
