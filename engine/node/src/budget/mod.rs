//! Who may hold how many bytes of stripe buffers, and who is next.
//!
//! The budget is granted whole stripe by whole stripe: in smaller steps, many uploads would each
//! hold half a stripe and none could finish. A granted stripe never needs another grant to be
//! finished, so the budget cannot lock. Whoever waits does not read its socket.
//!
//! - **Begun before new.** An upload that has its first stripe goes before those that have none, each
//!   kind in order. In one order for all, five hundred uploads would each get one stripe, wait for all
//!   others before the second, and be refused with half of their bytes written. So that long uploads
//!   do not keep others out, a new one that has waited [`AGED`] gets every fourth grant.
//! - **Small apart.** Stripes of up to [`SMALL_BYTES_MAX`] have an eighth of the budget to themselves,
//!   and the rest too while nobody waits for it: a small body never waits for large ones.
//! - **The slow give way.** Bytes that do not come must not keep out bytes that would: where somebody
//!   has waited [`PATIENCE`], the slowest of those whose stripe fills too slowly is ended. Where
//!   nobody waits, a slow client may take its time.
//!
//! Turned down: holding less for a body that comes slowly (growing its buffer as it comes). Bodies
//! that have begun would wait for each other's second halves, and none could be sent back.

mod fill;

use self::fill::Fill;
pub(crate) use self::fill::Filling;
use crate::EngineError;
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Stripes that take no more than this with their parity are small.
pub(crate) const SMALL_BYTES_MAX: usize = 1 << 20;
/// The small have the budget divided by this to themselves.
const SMALL_SHARE: usize = 8;
/// A new upload that has waited so long need not wait for all that have begun …
const AGED: Duration = Duration::from_secs(5);
/// … but only for so many of them …
const BEGUN_IN_A_ROW: u32 = 3;
/// … unless more than this many already share the budget so: each would wait too long for its turn.
const BEGUN_WAITING_MAX: usize = 64;
/// One that has begun waits this many times as long as a new one: refused, its work is lost.
const BEGUN_WAIT_TIMES: u32 = 3;
/// After so long a wait the slow are looked for, and then each [`LOOK_PERIOD`].
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// What a grant is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// An upload's first stripe, or work in the background.
    New,
    /// A later one.
    Begun,
}

/// The budget; shared by its clones.
#[derive(Clone)]
pub(crate) struct Budget {
    state: Arc<Mutex<State>>,
    wait: Duration,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").finish_non_exhaustive()
    }
}

/// Leave to hold bytes, until dropped.
pub(crate) struct Permit {
    state: Arc<Mutex<State>>,
    lane: usize,
    bytes: usize,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

struct State {
    /// Of the small, and of all others.
    lanes: [Lane; 2],
    /// Granted, and not yet taken by who waits.
    granted: HashSet<u64>,
    filling: Vec<Arc<Fill>>,
    last: u64,
}

const SMALL: usize = 0;
const LARGE: usize = 1;

#[derive(Default)]
struct Lane {
    total: usize,
    free: usize,
    begun: VecDeque<Waiter>,
    new: VecDeque<Waiter>,
    begun_in_a_row: u32,
}

struct Waiter {
    id: u64,
    bytes: usize,
    since: Instant,
    tell: oneshot::Sender<()>,
}

/// A place in a queue. Dropped before it is claimed, the place or its grant is given back.
struct Waiting {
    state: Arc<Mutex<State>>,
    id: u64,
    lane: usize,
    bytes: usize,
    told: oneshot::Receiver<()>,
    claimed: bool,
}

impl Budget {
    /// A new upload waits `wait` at most.
    pub(crate) fn new(bytes: usize, wait: Duration) -> Self {
        let lane = |total| Lane {
            total,
            free: total,
            ..Lane::default()
        };
        let small = bytes / SMALL_SHARE;
        let state = State {
            lanes: [lane(small), lane(bytes - small)],
            granted: HashSet::new(),
            filling: Vec::new(),
            last: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            wait,
        }
    }

    /// Waits until `bytes` may be held; more than there is counts as all there is. `SlowDown` after
    /// the longest wait.
    pub(crate) async fn grant(&self, bytes: usize, turn: Turn) -> Result<Permit, EngineError> {
        let mut waiting = match self.ask(bytes, turn) {
            Ok(permit) => return Ok(permit),
            Err(waiting) => waiting,
        };
        let wait = match turn {
            Turn::New => self.wait,
            Turn::Begun => self.wait * BEGUN_WAIT_TIMES,
        };
        let now = Instant::now();
        let late = tokio::time::sleep_until(now + wait);
        tokio::pin!(late);
        let mut look = tokio::time::interval_at(now + PATIENCE, LOOK_PERIOD);
        loop {
            tokio::select! {
                biased;
                _told = &mut waiting.told => return Ok(waiting.claim()),
                () = &mut late => return Err(EngineError::SlowDown),
                now = look.tick() => self.state.lock().press(waiting.lane, now),
            }
        }
    }

    /// A permit at once, or a place in the queue.
    fn ask(&self, bytes: usize, turn: Turn) -> Result<Permit, Waiting> {
        let mut state = self.state.lock();
        let small = bytes <= SMALL_BYTES_MAX.min(state.lanes[SMALL].total);
        let lanes: &[usize] = if small { &[SMALL, LARGE] } else { &[LARGE] };
        for &lane in lanes {
            let bytes = bytes.min(state.lanes[lane].total);
            if state.lanes[lane].take(bytes) {
                return Ok(Permit {
                    state: Arc::clone(&self.state),
                    lane,
                    bytes,
                });
            }
        }
        let lane = lanes[0];
        let bytes = bytes.min(state.lanes[lane].total);
        let (tell, told) = oneshot::channel();
        state.last += 1;
        let id = state.last;
        let waiter = Waiter {
            id,
            bytes,
            since: Instant::now(),
            tell,
        };
        match turn {
            Turn::New => state.lanes[lane].new.push_back(waiter),
            Turn::Begun => state.lanes[lane].begun.push_back(waiter),
        }
        // One that has begun may fit before the new ones that do not.
        state.serve(lane);
        drop(state);
        Err(Waiting {
            state: Arc::clone(&self.state),
            id,
            lane,
            bytes,
            told,
            claimed: false,
        })
    }

    /// Says that what `permit` is for is being filled from a client's bytes, until dropped.
    pub(crate) fn filling(&self, permit: &Permit) -> Filling {
        let mut state = self.state.lock();
        state.last += 1;
        let fill = Arc::new(Fill::new(state.last, permit.lane, permit.bytes));
        state.filling.push(Arc::clone(&fill));
        Filling::new(Arc::clone(&self.state), fill)
    }

    /// Bytes not granted now.
    #[cfg(test)]
    pub(crate) fn available(&self) -> usize {
        self.state.lock().lanes.iter().map(|lane| lane.free).sum()
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        let state = self.state.lock();
        state
            .lanes
            .iter()
            .map(|l| l.new.len() + l.begun.len())
            .sum()
    }
}

impl Waiting {
    fn claim(mut self) -> Permit {
        self.claimed = true;
        self.state.lock().granted.remove(&self.id);
        Permit {
            state: Arc::clone(&self.state),
            lane: self.lane,
            bytes: self.bytes,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.claimed {
            return;
        }
        let mut state = self.state.lock();
        if state.granted.remove(&self.id) {
            state.lanes[self.lane].free += self.bytes;
        } else {
            let lane = &mut state.lanes[self.lane];
            lane.begun.retain(|waiter| waiter.id != self.id);
            lane.new.retain(|waiter| waiter.id != self.id);
        }
        // Also where only a place is given up: who is next may ask for less.
        state.serve(self.lane);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.lanes[self.lane].free += self.bytes;
        state.serve(self.lane);
    }
}

impl State {
    fn serve(&mut self, lane: usize) {
        let now = Instant::now();
        while let Some(waiter) = self.lanes[lane].next(now) {
            self.granted.insert(waiter.id);
            // Whoever stopped waiting gives it back when its `Waiting` goes.
            let _gone = waiter.tell.send(());
        }
    }

    /// Has the slowest give way, as many as those need who have waited long.
    fn press(&mut self, lane: usize, now: Instant) {
        let of = &self.lanes[lane];
        let waiting = of.begun.iter().chain(&of.new);
        let long = waiting.filter(|waiter| now.duration_since(waiter.since) >= PATIENCE);
        let need: usize = long.map(|waiter| waiter.bytes).sum();
        let here = || self.filling.iter().filter(|fill| fill.lane == lane);
        let mut freed: usize = here()
            .filter(|fill| fill.told())
            .map(|fill| fill.bytes)
            .sum();
        let mut slow: Vec<_> = here()
            .filter_map(|fill| Some((fill.slow(now)?, fill)))
            .collect();
        slow.sort_by_key(|(rate, fill)| (*rate, fill.id));
        for (_, fill) in slow {
            if freed >= need {
                return;
            }
            freed += fill.bytes;
            fill.tell();
        }
    }
}

impl Lane {
    /// Takes bytes for one that has not queued; never before those who have.
    fn take(&mut self, bytes: usize) -> bool {
        let free = self.begun.is_empty() && self.new.is_empty() && self.free >= bytes;
        if free {
            self.free -= bytes;
        }
        free
    }

    /// Who is granted now, if there is room for whose turn it is.
    fn next(&mut self, now: Instant) -> Option<Waiter> {
        let aged = |waiter: &Waiter| now.duration_since(waiter.since) >= AGED;
        let due = self.begun_in_a_row >= BEGUN_IN_A_ROW
            && self.begun.len() <= BEGUN_WAITING_MAX
            && self.new.front().is_some_and(aged);
        let begun = !self.begun.is_empty() && !due;
        let queue = if begun {
            &mut self.begun
        } else {
            &mut self.new
        };
        let waiter = queue.pop_front_if(|waiter| waiter.bytes <= self.free)?;
        self.begun_in_a_row = if begun { self.begun_in_a_row + 1 } else { 0 };
        self.free -= waiter.bytes;
        Some(waiter)
    }
}

#[cfg(test)]
mod tests;
