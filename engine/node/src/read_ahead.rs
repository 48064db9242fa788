//! How far a reader reads ahead, and on whose legs.
//!
//! Every piece is fetched by a task of its own. A body stream is polled only while its client takes
//! bytes: were a place in a drive's queue waited for inside it, a client that stops reading would be
//! handed its turn, never use it and never give it back, and a few hundred such clients would stand
//! still every drive for everybody.
//!
//! Memory: a reader that gets a place in the share holds one piece and the next, both counted until
//! the last byte has gone to the connection. Where the share is taken (by many readers, or by some
//! that do not read) a reader goes on frame by frame and holds nothing beside the frame its
//! connection has, so nobody waits for those who stand still. Waiting for a place was turned down:
//! readers that never finish would hold them all.

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes all readers may read ahead together.
pub(crate) const READ_SHARE_BYTES: usize = 32 << 20;
/// Bytes a place stands for: a piece of [`crate::object_read::PIECE_FRAMES`] frames.
pub(crate) const PLACE_BYTES: usize = 256 << 10;

/// The readers' share of memory.
#[derive(Clone, Debug)]
pub(crate) struct ReadShare(Arc<Semaphore>);

/// A piece's place in the share; given back when the last of its bytes goes.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl ReadShare {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(READ_SHARE_BYTES / PLACE_BYTES)))
    }

    /// A place, if one is free. Never waits.
    pub(crate) fn place(&self) -> Option<Place> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Place)
    }
}

struct Held {
    bytes: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// `bytes`, and slices of them, hold `place`.
pub(crate) fn held(bytes: Bytes, place: Option<Place>) -> Bytes {
    match place {
        Some(place) => Bytes::from_owner(Held {
            bytes,
            _place: place,
        }),
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_and_come_back_with_the_last_slice() {
        let share = ReadShare::new();
        let mut places: Vec<_> = (0..READ_SHARE_BYTES / PLACE_BYTES)
            .map(|_| share.place().unwrap())
            .collect();
        assert!(share.place().is_none(), "one past the share");
        let whole = held(Bytes::from_static(b"frames"), places.pop());
        let slice = whole.slice(2..4);
        drop(whole);
        assert!(share.place().is_none(), "a slice is still out");
        drop(slice);
        assert!(share.place().is_some());
    }
}
