//! What readers asked for lately, so that what is asked for again is kept in memory.
//!
//! Which memory: the kernel's page cache. It takes what nobody else uses and gives it back when asked,
//! which a cache of ours could not. What is read once does not go there: a fresh page costs up to 2.8 CPU
//! seconds per GB where a virtual machine's memory is backed on demand, `O_DIRECT` 0.04, and a backup that
//! is read through would push out what others read every minute. Writes stay past it.

use engine_types::CopyToken;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

/// Pieces remembered of one drive, of up to a mebibyte each; the table takes 256 KiB.
const REMEMBERED_MAX: usize = 64 * 1024;

/// A table of marks; each has one place, where the next takes it. A wrong "again" costs a page or two.
#[derive(Debug)]
pub(crate) struct Asked {
    marks: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            marks: (0..REMEMBERED_MAX).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Asked {
    /// Whether the piece of a copy that begins at `start` was asked for lately; from now on it was.
    pub(crate) fn again(&self, token: CopyToken, start: u32) -> bool {
        let hash = self.hasher.hash_one((token, start));
        let mark = u32::try_from(hash >> 32).unwrap_or(0) | 1;
        let place = usize::try_from(hash).unwrap_or(0) % REMEMBERED_MAX;
        let slot = self.marks.get(place);
        slot.is_some_and(|slot| slot.swap(mark, Ordering::Relaxed) == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: u128) -> CopyToken {
        CopyToken(number.to_le_bytes())
    }

    #[test]
    fn a_piece_was_asked_for_once_it_was_asked_for() {
        let asked = Asked::default();
        assert!(!asked.again(token(1), 0));
        assert!(asked.again(token(1), 0));
        assert!(!asked.again(token(1), 65_536), "another piece");
        assert!(!asked.again(token(2), 0), "another copy");
        assert!(asked.again(token(1), 0));
    }

    #[test]
    fn what_was_asked_for_long_ago_is_forgotten() {
        let asked = Asked::default();
        asked.again(token(1), 0);
        let many = 16 * REMEMBERED_MAX as u128;
        let wrong = (2..many).filter(|n| asked.again(token(*n), 0)).count();
        assert!(wrong < 4, "{wrong} of {many} taken for another");
        assert!(!asked.again(token(1), 0));
    }
}
