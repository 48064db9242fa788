//! Stripes on their way in, and which of them come too slowly to keep others waiting.

use super::State;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Nobody is slow before this, and who got nothing for so long is.
const FILL_GRACE: Duration = Duration::from_secs(5);
/// Slow is less than this since the stripe was granted: 8 MiB in a minute.
pub(super) const FILL_BYTES_PER_S_MIN: u64 = 128 << 10;

/// A stripe on its way in.
pub(super) struct Fill {
    pub(super) id: u64,
    pub(super) lane: usize,
    pub(super) bytes: usize,
    since: Instant,
    progress: Mutex<Progress>,
    give_way: Notify,
}

struct Progress {
    got: u64,
    at: Instant,
    told: bool,
}

impl Fill {
    pub(super) fn new(id: u64, lane: usize, bytes: usize) -> Self {
        let now = Instant::now();
        Self {
            id,
            lane,
            bytes,
            since: now,
            progress: Mutex::new(Progress {
                got: 0,
                at: now,
                told: false,
            }),
            give_way: Notify::new(),
        }
    }

    pub(super) fn told(&self) -> bool {
        self.progress.lock().told
    }

    pub(super) fn tell(&self) {
        self.progress.lock().told = true;
        self.give_way.notify_one();
    }

    /// Its bytes a second, if that is too little.
    pub(super) fn slow(&self, now: Instant) -> Option<u64> {
        let progress = self.progress.lock();
        let age = now.duration_since(self.since);
        if progress.told || age < FILL_GRACE {
            return None;
        }
        let rate = progress.got * 1000 / u64::try_from(age.as_millis()).unwrap_or(u64::MAX).max(1);
        let idle = now.duration_since(progress.at) >= FILL_GRACE;
        (idle || rate < FILL_BYTES_PER_S_MIN).then_some(rate)
    }
}

/// See [`super::Budget::filling`].
pub(crate) struct Filling {
    state: Arc<Mutex<State>>,
    fill: Arc<Fill>,
}

impl Filling {
    pub(super) fn new(state: Arc<Mutex<State>>, fill: Arc<Fill>) -> Self {
        Self { state, fill }
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> bool {
        self.fill.told()
    }

    /// So many more bytes have come.
    pub(crate) fn got(&self, bytes: usize) {
        let mut progress = self.fill.progress.lock();
        progress.got += bytes as u64;
        progress.at = Instant::now();
    }

    /// Returns when this one is to be ended.
    pub(crate) async fn must_give_way(&self) {
        self.fill.give_way.notified().await;
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let id = self.fill.id;
        self.state.lock().filling.retain(|fill| fill.id != id);
    }
}
