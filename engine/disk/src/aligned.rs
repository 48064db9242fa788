//! Buffers that start at multiples of 4 KiB, kept for reuse.
//!
//! `O_DIRECT` wants the alignment; the reuse is what makes it cheap: touching fresh memory costs more
//! than the read into it. Plain vectors with a shifted start, so that no `unsafe` is needed.

use engine_core::format::RECORD_ALIGN;
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes of unused buffers a pool keeps: what readers of one drive have out at a time, and no more,
/// since each drive has a pool.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Buffers come in multiples of this, so that few sizes serve all reads and little of each is unused.
const STEP_BYTES: usize = 64 * 1024;

/// A byte buffer that starts at a multiple of [`RECORD_ALIGN`]; contents are left over from before.
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` zeros.
    pub(crate) fn new(length: usize) -> Self {
        let bytes = vec![0; length.saturating_add(RECORD_ALIGN)];
        let start = bytes.as_ptr().align_offset(RECORD_ALIGN);
        Self {
            bytes,
            start,
            length,
        }
    }

    fn capacity(&self) -> usize {
        self.bytes.len().saturating_sub(RECORD_ALIGN)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
            .get(self.start..self.start.saturating_add(self.length))
            .unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.start..self.start.saturating_add(self.length))
            .unwrap_or_default()
    }
}

/// Unused buffers of one drive.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<AlignedBuffer>>);

impl Pool {
    /// A buffer of `length` bytes, contents undefined; goes back when dropped.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Pooled {
        let found = {
            let mut kept = self.0.lock();
            let fits = |buffer: &AlignedBuffer| {
                buffer.capacity() >= length && buffer.capacity() / 2 <= length.max(STEP_BYTES)
            };
            // The one that came back last is the likeliest to be in a core's cache still.
            let fit = kept.iter().rposition(fits);
            fit.map(|at| kept.remove(at))
        };
        let mut buffer =
            found.unwrap_or_else(|| AlignedBuffer::new(length.next_multiple_of(STEP_BYTES)));
        buffer.length = length;
        Pooled {
            buffer,
            pool: Arc::clone(self),
        }
    }
}

/// A buffer on loan from a [`Pool`].
#[derive(Debug)]
pub(crate) struct Pooled {
    buffer: AlignedBuffer,
    pool: Arc<Pool>,
}

impl Pooled {
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.bytes_mut()
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self.buffer.bytes()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let empty = AlignedBuffer {
            bytes: Vec::new(),
            start: 0,
            length: 0,
        };
        let buffer = std::mem::replace(&mut self.buffer, empty);
        let mut kept = self.pool.0.lock();
        kept.push(buffer);
        let mut total: usize = kept.iter().map(AlignedBuffer::capacity).sum();
        // The oldest go: nobody asks for their size any more.
        while total > KEPT_BYTES_MAX && !kept.is_empty() {
            total = total.saturating_sub(kept.remove(0).capacity());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_come_back() {
        let pool = Arc::new(Pool::default());
        let first = pool.take(5000);
        let address = first.as_ref().as_ptr();
        assert_eq!(address.align_offset(RECORD_ALIGN), 0);
        assert_eq!(first.as_ref().len(), 5000);
        drop(first);
        let again = pool.take(8192);
        assert_eq!(again.as_ref().as_ptr(), address);
        assert_eq!(again.as_ref().len(), 8192);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let pool = Arc::new(Pool::default());
        let many: Vec<_> = (0..40).map(|_| pool.take(1024 * 1024)).collect();
        drop(many);
        assert_eq!(pool.0.lock().len(), KEPT_BYTES_MAX / (1024 * 1024));
    }

    #[test]
    fn a_full_pool_keeps_what_came_last() {
        let pool = Arc::new(Pool::default());
        let half = KEPT_BYTES_MAX / 16;
        drop((0..16).map(|_| pool.take(half)).collect::<Vec<_>>());
        let other = pool.take(4 * half);
        let address = other.as_ref().as_ptr();
        drop(other);
        assert_eq!(pool.0.lock().len(), 16 - 4 + 1);
        assert_eq!(pool.take(4 * half).as_ref().as_ptr(), address);
    }
}
