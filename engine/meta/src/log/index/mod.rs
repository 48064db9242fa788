//! What a group's log holds, in memory: where each unpurged entry lies, the newest entries
//! themselves, vote and marks. Changed when openraft asks (entries must be readable at once); the
//! writer fills in places once the bytes are on the drive.

mod slot;

pub use slot::{Place, Slot};

use super::LogError;
use crate::raft::codec::entry_weight;
use crate::raft::types::{Entry, LogId, Vote, log_id, term_of};
use engine_types::GroupId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Entry bytes of one group kept in memory. Older ones are read back from the drive.
pub const CACHE_BYTES_MAX: usize = 1 << 20;

/// Why a handle on a log that was destroyed writes nothing.
pub(super) const DESTROYED: &str = "the replica has left the drive";

/// What readers get for one index.
#[derive(Clone, Debug)]
pub enum Found {
    /// From memory.
    Cached(Entry),
    /// To be read back.
    At(Place),
}

/// The group's mark: operations up to `ticket` are durable; or its drive failed.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    /// Last durable operation.
    pub ticket: u64,
    /// Why nothing more becomes durable.
    pub failed: Option<String>,
}

/// Files that must stay though nothing in them lives. Entries were dropped by an operation that is not
/// durable yet: after a cut they are back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Oldest file of what was dropped; 0: all.
    pub file: u64,
    /// Until this operation is durable.
    pub ticket: u64,
    /// The group must not be written anew meanwhile: the drive has entries that its end lacks here.
    pub frozen: bool,
}

/// What keeps a file alive for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Its first entry.
    Entries,
    /// No more than its vote, how far it is purged, or what is held.
    Records,
}

/// A group's log as last asked for.
#[derive(Clone, Debug, Default)]
pub struct GroupState {
    /// Vote.
    pub vote: Option<Vote>,
    /// Commit hint.
    pub committed: Option<LogId>,
    /// Entries up to here are gone.
    pub purged: Option<LogId>,
    /// Index of the first slot.
    pub first: u64,
    /// Entries, contiguous.
    pub slots: VecDeque<Slot>,
    /// The newest of them themselves.
    pub(super) entries: VecDeque<Entry>,
    /// Their bytes.
    pub cached_bytes: usize,
    /// Bytes of all live entries, cached or not.
    pub live_bytes: u64,
    /// Last operation asked for.
    pub ticket: u64,
    /// File of the last vote record.
    pub vote_file: Option<u64>,
    /// File of the last purge record.
    pub purge_file: Option<u64>,
    /// What is gone here and not yet on the drive.
    pub held: Option<Held>,
}

impl GroupState {
    /// Index after the last entry.
    pub fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The last log id, the purged one where no entry is left.
    pub fn last(&self) -> Option<LogId> {
        match self.slots.back() {
            Some(slot) => Some(log_id(slot.term, self.next() - 1)),
            None => self.purged,
        }
    }

    /// The slot at `index`.
    pub fn slot(&self, index: u64) -> Option<&Slot> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.slots.get(at)
    }

    /// Checks that `entry` follows the last one; asserted here and not left to openraft, because a
    /// hole would lose acknowledged entries without anyone noticing.
    pub fn check_next(&self, id: &LogId) -> Result<(), LogError> {
        let anything = !self.slots.is_empty() || self.purged.is_some();
        if anything && id.index() != self.next() {
            return Err(LogError::Hole {
                expected: self.next(),
                found: id.index(),
            });
        }
        match self.last() {
            Some(last) if term_of(id) < term_of(&last) => Err(LogError::Hole {
                expected: term_of(&last),
                found: term_of(id),
            }),
            _ => Ok(()),
        }
    }

    /// Not among what is purged.
    pub fn is_above_purged(&self, id: &LogId) -> bool {
        self.purged.is_none_or(|purged| id.index() > purged.index())
    }

    /// Adds an entry that follows the last one; `weight`: bytes that it has on the drive.
    pub fn push(&mut self, entry: Entry, slot: Slot, weight: u64) {
        if self.slots.is_empty() && self.purged.is_none() {
            self.first = entry.log_id.index();
        }
        self.cached_bytes += entry_weight(&entry);
        self.live_bytes += weight;
        // Doubling would have as much again unused.
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 8 + 64);
        }
        self.slots.push_back(slot);
        self.entries.push_back(entry);
    }

    /// The entry at `index`, where it is still in memory.
    pub fn cached(&self, index: u64) -> Option<&Entry> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.entries.get(at.checked_sub(self.cold())?)
    }

    /// Slots whose entries have left the cache: the oldest.
    fn cold(&self) -> usize {
        self.slots.len() - self.entries.len()
    }

    fn uncache(&mut self, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.cached_bytes -= entry_weight(&entry);
        }
    }

    /// Drops entries after `last`, exclusive.
    pub fn truncate_after(&mut self, last: Option<u64>) {
        let keep = last.map_or(0, |last| (last + 1).saturating_sub(self.first));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        while self.slots.len() > keep {
            let (slot, entry) = (self.slots.pop_back(), self.entries.pop_back());
            self.uncache(entry);
            self.forget(slot);
        }
    }

    /// Drops entries up to `upto`, inclusive. Entries that begin further up (a log whose older files
    /// are gone is read from its middle, and an old purge lies there too) stay where they are.
    pub fn purge(&mut self, upto: LogId) {
        if self
            .purged
            .is_some_and(|purged| purged.index() >= upto.index())
        {
            return;
        }
        while self.first <= upto.index() && !self.slots.is_empty() {
            if self.cold() == 0 {
                let entry = self.entries.pop_front();
                self.uncache(entry);
            }
            let slot = self.slots.pop_front();
            self.forget(slot);
            self.first += 1;
        }
        self.slots.shrink_to(2 * self.slots.len());
        let above = !self.slots.is_empty() && self.first > upto.index();
        #[cfg(sabotage)]
        let above = above && !engine_types::sabotage("purge-renumbers");
        if !above {
            self.first = upto.index() + 1;
        }
        self.purged = Some(upto);
    }

    /// Before entries are dropped by the operation `ticket`.
    pub fn hold(&mut self, ticket: u64, truncates: bool) {
        #[cfg(sabotage)]
        if engine_types::sabotage("delete-before-purge-fsync") {
            return;
        }
        let front = self.slots.front().map(Slot::place);
        // What is being written lies in a file unknown as yet.
        let front = front.map(|place| Held {
            file: place.map_or(0, |place| place.file),
            ticket,
            frozen: truncates,
        });
        self.held = match (self.held, front) {
            (Some(one), Some(other)) => Some(Held {
                file: one.file.min(other.file),
                ticket: one.ticket.max(other.ticket),
                frozen: one.frozen || other.frozen,
            }),
            (one, other) => one.or(other),
        };
    }

    /// Its log is damaged: what is left tells that, and may be restored. Until it is destroyed.
    pub(super) fn hold_all(&mut self) {
        #[cfg(sabotage)]
        if engine_types::sabotage("forget-log-damage") {
            return;
        }
        self.held = Some(Held {
            file: 0,
            ticket: u64::MAX,
            frozen: true,
        });
    }

    /// Not to be written anew now.
    pub fn is_frozen(&self) -> bool {
        self.held.is_some_and(|held| held.frozen)
    }

    /// All up to the operation `ticket` is on the drive.
    pub fn settle(&mut self, ticket: u64) {
        self.held = self.held.filter(|held| held.ticket > ticket);
    }

    fn forget(&mut self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        let span = slot.place().map_or(0, |place| u64::from(place.span));
        self.live_bytes = self.live_bytes.saturating_sub(span);
        if self.slots.is_empty() {
            self.live_bytes = 0;
        }
    }

    /// Says where the entry written by `ticket` lies.
    pub fn placed(&mut self, index: u64, ticket: u64, place: Place) {
        let Some(at) = index
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok())
        else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(at)
            && slot.is_of(ticket)
        {
            if slot.place().is_none() {
                self.live_bytes += u64::from(place.span);
            }
            slot.set_place(place);
        }
    }

    /// Lets the oldest cached entries go, keeping [`CACHE_BYTES_MAX`]; never unwritten ones.
    pub fn trim_cache(&mut self) {
        while self.cached_bytes > CACHE_BYTES_MAX {
            let oldest = self.slots.get(self.cold());
            if oldest.is_none_or(|slot| slot.place().is_none()) {
                return;
            }
            let entry = self.entries.pop_front();
            self.uncache(entry);
        }
    }

    /// What there is of `range`, ascending and contiguous.
    pub fn find(&self, range: Range<u64>) -> Result<Vec<Found>, LogError> {
        let (start, end) = (range.start.max(self.first), range.end.min(self.next()));
        (start..end)
            .map(|index| {
                if let Some(entry) = self.cached(index) {
                    return Ok(Found::Cached(entry.clone()));
                }
                let place = self.slot(index).and_then(Slot::place);
                place.map(Found::At).ok_or_else(|| LogError::Hole {
                    expected: index,
                    found: self.next(),
                })
            })
            .collect()
    }

    fn front_file(&self) -> Option<u64> {
        let place = self.slots.front().and_then(Slot::place);
        place.map(|place| place.file)
    }

    /// Oldest file that still holds something of this group that a cut must find; none if nothing was
    /// written.
    pub fn oldest_file(&self) -> Option<u64> {
        let held = self.held.map(|held| held.file);
        [self.front_file(), self.vote_file, self.purge_file, held]
            .into_iter()
            .flatten()
            .min()
    }

    /// What keeps `file`, the log's oldest, alive here, if anything does.
    pub fn keeps(&self, file: u64) -> Option<Keeps> {
        if self.oldest_file().is_none_or(|oldest| oldest > file) {
            None
        } else if self.front_file() == Some(file) {
            Some(Keeps::Entries)
        } else {
            Some(Keeps::Records)
        }
    }
}

/// A commit hint for a log that ends at `last`.
pub(super) fn committed_within(committed: Option<LogId>, last: Option<LogId>) -> Option<LogId> {
    let index = |id: Option<LogId>| id.map(|id| id.index());
    if index(committed) > index(last) {
        return last;
    }
    committed
}

/// One group of a drive's log.
#[derive(Debug)]
pub struct GroupIndex {
    /// Whose.
    pub group: GroupId,
    /// State.
    pub state: Mutex<GroupState>,
    /// Durable mark.
    pub durable: watch::Sender<Durable>,
    destroyed: AtomicBool,
}

impl GroupIndex {
    /// A group with `state`, all of it durable.
    pub fn new(group: GroupId, state: GroupState) -> Self {
        let ticket = state.ticket;
        Self {
            group,
            state: Mutex::new(state),
            durable: watch::Sender::new(Durable {
                ticket,
                failed: None,
            }),
            destroyed: AtomicBool::new(false),
        }
    }

    /// Nothing more is to be written through this.
    pub fn is_destroyed(&self) -> bool {
        self.destroyed.load(Ordering::Acquire)
    }

    /// Whoever still waits hears of it.
    pub(super) fn set_destroyed(&self) {
        self.destroyed.store(true, Ordering::Release);
        self.durable
            .send_modify(|durable| durable.failed = Some(DESTROYED.into()));
    }
}

#[cfg(test)]
mod tests;
