//! How far a reader reads ahead, and on whose legs.
//!
//! Every piece but the first is fetched by a task of its own. A body stream is polled only while its client takes
//! bytes: were a place in a drive's queue waited for inside it, a client that stops reading would be
//! handed its turn, never use it and never give it back, and a few hundred such clients would stand
//! still every drive for everybody.
//!
//! Memory: a reader that gets places in the share holds one piece and the next (the next three while
//! most of the share is free: a piece lies on one drive, so these are read side by side), all counted
//! until the last byte has gone to the connection. Pieces are long while much of the share is free.
//! Where the share is taken (by many readers, or by some that do not read) a reader goes on frame by
//! frame, so nobody waits for those who stand still.
//! Waiting for a place was turned down: readers that never finish would hold them all. A reader that
//! nothing is taken from gives back all that its connection has not got ([`crate::idle_read`]).

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes all readers may read ahead together.
pub(crate) const READ_SHARE_BYTES: usize = 32 << 20;
/// Bytes a place stands for: [`crate::pieces::PLACE_FRAMES`] frames.
pub(crate) const PLACE_BYTES: usize = 256 << 10;
const PLACES: usize = READ_SHARE_BYTES / PLACE_BYTES;
/// Places that pieces of several leave to others: they read less at a time, but not frame by frame.
const SHORT_PLACES: usize = PLACES / 4;
/// Pieces read while one is handed out …
const AHEAD: usize = 1;
/// … and by readers that have at least [`FAR_PLACES`] of the share left.
const FAR_AHEAD: usize = 3;
const FAR_PLACES: usize = PLACES - PLACES / 4;

/// The readers' share of memory.
#[derive(Clone, Debug)]
pub(crate) struct ReadShare(Arc<Semaphore>);

/// A piece's places in the share, one at least; given back when the last of its bytes goes.
#[derive(Debug)]
pub(crate) struct Places(OwnedSemaphorePermit);

impl Places {
    pub(crate) fn count(&self) -> usize {
        self.0.num_permits()
    }

    /// Gives back all but `count`.
    pub(crate) fn keep(&mut self, count: usize) {
        drop(self.0.split(self.count().saturating_sub(count)));
    }
}

impl ReadShare {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }

    /// `wanted` places, or one where these would leave too few for others; none where none is free.
    /// Never waits.
    pub(crate) fn places(&self, wanted: usize) -> Option<Places> {
        let take = |count| {
            let permit = Arc::clone(&self.0).try_acquire_many_owned(count).ok();
            permit.map(Places)
        };
        let long = take(u32::try_from(wanted).unwrap_or(u32::MAX));
        let long = long.filter(|_| self.0.available_permits() >= SHORT_PLACES);
        long.or_else(|| take(1))
    }

    /// Pieces to read while one is handed out.
    pub(crate) fn pieces_ahead(&self) -> usize {
        if self.0.available_permits() >= FAR_PLACES {
            FAR_AHEAD
        } else {
            AHEAD
        }
    }

    /// Bytes of places taken.
    pub(crate) fn used(&self) -> usize {
        READ_SHARE_BYTES - self.0.available_permits() * PLACE_BYTES
    }
}

struct Held(Bytes, #[expect(dead_code, reason = "held")] Arc<Places>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Each of `frames`, and slices of them, hold all of `places`: what any of them is a part of is in
/// memory whole.
pub(crate) fn held(frames: Vec<Bytes>, places: Places) -> Vec<Bytes> {
    let places = Arc::new(places);
    let held = |frame| Bytes::from_owner(Held(frame, Arc::clone(&places)));
    frames.into_iter().map(held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_and_come_back_with_the_last_slice() {
        let share = ReadShare::new();
        let mut places: Vec<_> = (0..PLACES).map(|_| share.places(1).unwrap()).collect();
        assert!(share.places(1).is_none(), "one past the share");
        let frames = vec![Bytes::from_static(b"one"), Bytes::from_static(b"frames")];
        let mut frames = held(frames, places.pop().unwrap());
        let slice = frames.pop().unwrap().slice(2..4);
        drop(frames);
        assert!(share.places(1).is_none(), "a slice is still out");
        drop(slice);
        assert!(share.places(1).is_some());
    }

    #[test]
    fn readers_look_far_ahead_while_most_of_the_share_is_free() {
        let share = ReadShare::new();
        let taken = share.places(PLACES - FAR_PLACES).unwrap();
        assert_eq!(share.pieces_ahead(), FAR_AHEAD);
        let one_more = share.places(1).unwrap();
        assert_eq!(share.pieces_ahead(), AHEAD);
        drop((taken, one_more));
        assert_eq!(share.pieces_ahead(), FAR_AHEAD);
    }

    #[test]
    fn long_pieces_leave_places_for_short_ones() {
        let share = ReadShare::new();
        let mut long = Vec::new();
        while let Some(places) = share.places(5).filter(|places| places.count() == 5) {
            long.push(places);
        }
        let taken = long.len() * 5;
        assert!(PLACES - taken >= SHORT_PLACES && PLACES - taken < SHORT_PLACES + 5);
        assert_eq!(
            share.used(),
            taken * PLACE_BYTES,
            "what was refused took nothing"
        );
        let short: Vec<_> = (taken..PLACES).map(|_| share.places(5).unwrap()).collect();
        assert!(short.iter().all(|places| places.count() == 1));
        assert!(share.places(5).is_none());
        drop(short);
        let mut last = long.pop().unwrap();
        last.keep(2);
        assert_eq!((last.count(), share.used()), (2, (taken - 3) * PLACE_BYTES));
    }
}
