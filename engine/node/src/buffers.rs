//! Stripe buffers: 4 KiB-aligned, pooled, each paid for by a grant of the [`crate::budget`]. Pooled
//! because touching fresh memory costs more than sealing it.

use crate::EngineError;
use crate::budget::{Budget, Filling, Permit, Turn};
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

/// Buffers begin at multiples of this, so that drives take them without a copy.
pub(crate) const BUFFER_ALIGN: usize = 4096;
/// Least budget: one stripe with its parity, whatever the geometry.
pub const BUFFER_BUDGET_BYTES_MIN: usize = 32 << 20;
/// Budget unless set: enough for two uploads a core to be read, hashed, sealed and written at once.
pub const BUFFER_BUDGET_BYTES: usize = 128 << 20;
/// Longest wait for a new upload's first grant; then `SlowDown`.
pub(crate) const GRANT_WAIT: Duration = Duration::from_secs(20);
/// Buffers that nobody needed for so long are freed.
const TRIM_PERIOD: Duration = Duration::from_secs(10);

/// One byte budget and the buffers it pays for.
pub(crate) struct Buffers {
    budget: Budget,
    pool: Arc<Pool>,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Pool {
    free: Mutex<Free>,
    bytes_max: usize,
}

#[derive(Default)]
struct Free {
    /// Allocations by their length.
    by_length: HashMap<usize, Vec<Vec<u8>>>,
    bytes: usize,
    /// Bytes of those that are not here but in use.
    out: usize,
    /// The least that `bytes` was since the last trim: what nobody needed meanwhile.
    unneeded: usize,
}

/// Leave to hold a number of bytes; given back when the last buffer that holds it goes.
#[derive(Clone, Debug)]
pub(crate) struct Grant(Arc<Permit>);

impl Buffers {
    pub(crate) fn new(budget_bytes: usize, wait: Duration) -> Self {
        let budget_bytes = budget_bytes.max(BUFFER_BUDGET_BYTES_MIN);
        Self {
            budget: Budget::new(budget_bytes, wait),
            pool: Arc::new(Pool {
                bytes_max: budget_bytes,
                ..Pool::default()
            }),
        }
    }

    /// Waits for its turn until `bytes` may be held. `SlowDown` after the longest wait.
    pub(crate) async fn grant(&self, bytes: usize, turn: Turn) -> Result<Grant, EngineError> {
        let permit = self.budget.grant(bytes, turn).await?;
        Ok(Grant(Arc::new(permit)))
    }

    /// Says that what `grant` is for is being filled from a client's bytes, until dropped.
    pub(crate) fn filling(&self, grant: &Grant) -> Filling {
        self.budget.filling(&grant.0)
    }

    /// A buffer of `length` bytes under `grant`; its content is whatever it was.
    pub(crate) fn buffer(&self, length: usize, grant: Grant) -> Buffer {
        Buffer::of(length, Arc::clone(&self.pool), Some(grant))
    }

    /// Frees the buffers that nobody needed since it was last called.
    fn trim(&self) {
        self.pool.free.lock().trim();
    }

    /// Bytes not granted now.
    #[cfg(test)]
    pub(crate) fn available(&self) -> usize {
        self.budget.available()
    }
}

/// Allocations come in steps, so that a few sizes serve all stripes.
fn allocation(length: usize) -> usize {
    let length = length + BUFFER_ALIGN;
    let step = if length <= 1 << 20 { 64 << 10 } else { 1 << 20 };
    length.next_multiple_of(step)
}

impl Pool {
    /// What is kept and what is in use stay within the budget together: where a length is missing,
    /// others make room for it.
    fn take(&self, length: usize) -> Vec<u8> {
        let mut free = self.free.lock();
        free.out += length;
        if let Some(found) = free.by_length.get_mut(&length).and_then(Vec::pop) {
            free.less(length);
            return found;
        }
        let out = free.out;
        free.shrink(self.bytes_max.saturating_sub(out));
        drop(free);
        vec![0; length]
    }
    fn put(&self, bytes: Vec<u8>) {
        let mut free = self.free.lock();
        free.out -= bytes.len();
        if free.bytes + free.out + bytes.len() <= self.bytes_max {
            free.bytes += bytes.len();
            free.by_length.entry(bytes.len()).or_default().push(bytes);
        }
    }
}

impl Free {
    /// Lets go of the longest until what is left fits in `bytes_max`.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let kept = self.by_length.values_mut().filter(|kept| !kept.is_empty());
            let longest = kept.max_by_key(|kept| kept[0].len());
            let Some(gone) = longest.and_then(Vec::pop) else {
                return;
            };
            self.less(gone.len());
        }
    }

    fn less(&mut self, length: usize) {
        self.bytes -= length;
        self.unneeded = self.unneeded.min(self.bytes);
    }

    fn trim(&mut self) {
        self.shrink(self.bytes - self.unneeded);
        self.unneeded = self.bytes;
    }
}

/// Gives memory back after a burst, which would otherwise be held for as long as the process lives.
pub(crate) struct Trimmer;

#[async_trait]
impl Worker for Trimmer {
    fn name(&self) -> &'static str {
        "unused stripe buffers"
    }
    fn period(&self, _: &Inner) -> Duration {
        TRIM_PERIOD
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        inner.buffers.trim();
        Ok(Progress::Done)
    }
}

/// An aligned run of bytes that goes back to its pool.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
    pool: Arc<Pool>,
    grant: Option<Grant>,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Buffer {
    fn of(length: usize, pool: Arc<Pool>, grant: Option<Grant>) -> Self {
        let whole = allocation(length);
        let bytes = pool.take(whole);
        let start = bytes.as_ptr().align_offset(BUFFER_ALIGN).min(BUFFER_ALIGN);
        Self {
            bytes,
            start,
            length,
            pool,
            grant,
        }
    }
    /// Another of `length` bytes from the same pool, under the same grant.
    pub(crate) fn sibling(&self, length: usize) -> Self {
        Self::of(length, Arc::clone(&self.pool), self.grant.clone())
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}
impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}
impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn siblings_hold_the_grant() {
        let buffers = Buffers::new(BUFFER_BUDGET_BYTES_MIN, GRANT_WAIT);
        let grant = buffers.grant(9 << 20, Turn::New).await.unwrap();
        assert_eq!(buffers.available(), BUFFER_BUDGET_BYTES_MIN - (9 << 20));
        let one = buffers.buffer(1000, grant);
        let two = one.sibling(9 << 20);
        drop(one);
        assert_eq!(buffers.available(), BUFFER_BUDGET_BYTES_MIN - (9 << 20));
        drop(two);
        assert_eq!(buffers.available(), BUFFER_BUDGET_BYTES_MIN);
    }

    #[tokio::test]
    async fn the_pool_keeps_no_more_than_the_budget_beside_what_is_in_use() {
        let buffers = Buffers::new(0, GRANT_WAIT);
        let grant = buffers.grant(1 << 20, Turn::New).await.unwrap();
        let make = |length: usize| buffers.buffer(length, grant.clone());
        let held = || {
            let free = buffers.pool.free.lock();
            (free.bytes, free.out)
        };
        let most = BUFFER_BUDGET_BYTES_MIN;
        let half = most / 2 - BUFFER_ALIGN;
        drop((make(half), make(half)));
        assert_eq!(held(), (most, 0), "at the budget");
        // Of another length: one of the two makes room for it.
        let other = make((1 << 20) - BUFFER_ALIGN);
        assert_eq!(held(), (most / 2, 1 << 20));
        // One past it: what comes back is not kept.
        drop((make(half), make(half), other));
        let (free, out) = held();
        assert!(free <= most && out == 0, "{free}");
    }

    #[tokio::test]
    async fn buffers_nobody_needed_are_freed_and_the_others_kept() {
        let buffers = Buffers::new(0, GRANT_WAIT);
        let grant = buffers.grant(1 << 20, Turn::New).await.unwrap();
        let make = || buffers.buffer((1 << 20) - BUFFER_ALIGN, grant.clone());
        let free = || buffers.pool.free.lock().bytes;
        drop((make(), make(), make()));
        buffers.trim();
        assert_eq!(free(), 3 << 20, "in use since the trim before");
        drop((make(), make()));
        buffers.trim();
        assert_eq!(free(), 2 << 20, "one was not needed");
        buffers.trim();
        assert_eq!(free(), 0, "no more were");
    }

    #[tokio::test]
    async fn buffers_are_aligned_and_come_back() {
        let buffers = Buffers::new(0, GRANT_WAIT);
        let grant = buffers.grant(1 << 20, Turn::New).await.unwrap();
        let mut one = buffers.buffer(100_000, grant.clone());
        one[99_999] = 7;
        assert_eq!(
            (one.len(), one.as_ptr().align_offset(BUFFER_ALIGN)),
            (100_000, 0)
        );
        let at = one.as_ptr();
        drop(one);
        let two = buffers.buffer(100_000, grant);
        assert_eq!((two.as_ptr(), two[99_999]), (at, 7));
    }
}
