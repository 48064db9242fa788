//! Stripe buffers: 4 KiB-aligned, pooled, and granted from one byte budget.
//!
//! The budget is granted whole stripe by whole stripe, first come first served: in smaller steps,
//! many uploads would each hold half a stripe and none could finish. Whoever waits does not read
//! its socket. A granted stripe never needs another grant to be finished, so the budget cannot lock.
//! Buffers are pooled because touching fresh memory costs more than sealing it.

use crate::EngineError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Buffers begin at multiples of this, so that drives take them without a copy.
pub(crate) const BUFFER_ALIGN: usize = 4096;
/// What the budget is counted in.
const UNIT_BYTES: usize = 4096;
/// Least budget: one stripe with its parity, whatever the geometry.
pub(crate) const BUFFER_BUDGET_BYTES_MIN: usize = 32 << 20;
/// Budget unless set: enough for two uploads a core to be read, hashed, sealed and written at once.
pub(crate) const BUFFER_BUDGET_BYTES: usize = 256 << 20;
/// Longest wait for a grant; then `SlowDown`.
pub(crate) const GRANT_WAIT: Duration = Duration::from_secs(10);

/// One byte budget and the buffers it pays for.
pub(crate) struct Buffers {
    budget: Arc<Semaphore>,
    units: u32,
    wait: Duration,
    pool: Arc<Pool>,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("units", &self.units)
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
}

/// Leave to hold a number of bytes; given back when the last buffer that holds it goes.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Buffers {
    pub(crate) fn new(budget_bytes: usize, wait: Duration) -> Self {
        let budget_bytes = budget_bytes.max(BUFFER_BUDGET_BYTES_MIN);
        let units = u32::try_from(budget_bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        Self {
            budget: Arc::new(Semaphore::new(units as usize)),
            units,
            wait,
            pool: Arc::new(Pool {
                bytes_max: budget_bytes,
                ..Pool::default()
            }),
        }
    }

    /// Waits, in order, until `bytes` may be held. `SlowDown` after the longest wait.
    pub(crate) async fn grant(&self, bytes: usize) -> Result<Grant, EngineError> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.units);
        let permit = Arc::clone(&self.budget).acquire_many_owned(units);
        match tokio::time::timeout(self.wait, permit).await {
            Ok(Ok(permit)) => Ok(Grant {
                _permit: Arc::new(permit),
            }),
            Ok(Err(_closed)) => Err(EngineError::Unavailable("shutting down".into())),
            Err(_elapsed) => Err(EngineError::SlowDown),
        }
    }

    /// A buffer of `length` bytes under `grant`; its content is whatever it was.
    pub(crate) fn buffer(&self, length: usize, grant: Grant) -> Buffer {
        Buffer::of(length, Arc::clone(&self.pool), Some(grant))
    }

    /// Bytes not granted now.
    #[cfg(test)]
    pub(crate) fn available(&self) -> usize {
        self.budget.available_permits() * UNIT_BYTES
    }
}

/// Allocations come in steps, so that a few sizes serve all stripes.
fn allocation(length: usize) -> usize {
    let length = length + BUFFER_ALIGN;
    let step = if length <= 1 << 20 { 64 << 10 } else { 1 << 20 };
    length.next_multiple_of(step)
}

impl Pool {
    fn take(&self, length: usize) -> Option<Vec<u8>> {
        let mut free = self.free.lock();
        let found = free.by_length.get_mut(&length)?.pop()?;
        free.bytes -= found.len();
        Some(found)
    }
    fn put(&self, bytes: Vec<u8>) {
        let mut free = self.free.lock();
        if free.bytes + bytes.len() <= self.bytes_max {
            free.bytes += bytes.len();
            free.by_length.entry(bytes.len()).or_default().push(bytes);
        }
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
        let bytes = pool.take(whole).unwrap_or_else(|| vec![0; whole]);
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
    async fn the_budget_is_granted_in_order_and_given_back() {
        let buffers = Buffers::new(BUFFER_BUDGET_BYTES_MIN, Duration::from_millis(20));
        let all = buffers.grant(BUFFER_BUDGET_BYTES_MIN).await.unwrap();
        assert_eq!(buffers.available(), 0);
        let late = buffers.grant(UNIT_BYTES).await;
        assert!(matches!(late, Err(EngineError::SlowDown)), "{late:?}");
        let one = buffers.buffer(1000, all.clone());
        let two = one.sibling(9 << 20);
        drop((all, one));
        assert_eq!(buffers.available(), 0, "the sibling still holds it");
        drop(two);
        assert_eq!(buffers.available(), BUFFER_BUDGET_BYTES_MIN);
        // More than all there is waits for all there is.
        drop(buffers.grant(usize::MAX / 2).await.unwrap());
    }

    #[tokio::test]
    async fn buffers_are_aligned_and_come_back() {
        let buffers = Buffers::new(0, GRANT_WAIT);
        let grant = buffers.grant(1 << 20).await.unwrap();
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
