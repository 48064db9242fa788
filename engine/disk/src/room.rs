//! Room of the file system as last seen: refreshed each second and after each segment.

use crate::file::Root;
use crate::options::Options;
use engine_core::ports::DriveError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes, kept where `usage` reads them without a system call.
#[derive(Debug, Default)]
pub(crate) struct Room {
    capacity: AtomicU64,
    /// Left of the file system less the reserve.
    free: AtomicU64,
    /// Preallocated in the active segment and not written.
    ahead: AtomicU64,
}

impl Room {
    /// Asks the file system; gives what shards may still allocate.
    pub(crate) fn refresh(&self, root: &Root, options: &Options) -> Result<u64, DriveError> {
        let seen = root.room()?;
        let free = seen
            .available
            .saturating_sub(options.reserve(seen.capacity));
        #[cfg(sabotage)]
        let free = if engine_types::sabotage("spend-reserve") {
            seen.available
        } else {
            free
        };
        self.capacity.store(seen.capacity, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
        Ok(free)
    }

    pub(crate) fn set_ahead(&self, bytes: u64) {
        self.ahead.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn available(&self) -> u64 {
        let free = self.free.load(Ordering::Relaxed);
        free.saturating_add(self.ahead.load(Ordering::Relaxed))
    }
}
