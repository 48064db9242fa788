//! What a group's log holds, in memory: where each unpurged entry lies, the newest entries
//! themselves, vote and marks. Changed when openraft asks (entries must be readable at once); the
//! writer fills in places once the bytes are on the drive.

use super::LogError;
use crate::raft::codec::entry_weight;
use crate::raft::types::{Entry, LogId, Vote, log_id, term_of};
use engine_types::GroupId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;
use tokio::sync::watch;

/// Entry bytes of one group kept in memory. Older ones are read back from the drive.
pub const CACHE_BYTES_MAX: usize = 1 << 20;

/// Where a record's payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// File number.
    pub file: u64,
    /// Byte offset of the record.
    pub offset: u64,
    /// Bytes of the record, header and padding included.
    pub span: u32,
}

/// One unpurged entry.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its term.
    pub term: u64,
    /// Which operation of the group wrote it; durable once the group's mark reaches it.
    pub ticket: u64,
    /// None until written.
    pub place: Option<Place>,
    /// The entry, unless only on the drive.
    pub entry: Option<Entry>,
}

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
    /// Bytes of cached entries.
    pub cached_bytes: usize,
    /// Bytes of all live entries, cached or not.
    pub live_bytes: u64,
    /// Slots below this (relative to the front) have left the cache.
    pub(super) cold: usize,
    /// Last operation asked for.
    pub ticket: u64,
    /// File of the last vote record.
    pub vote_file: Option<u64>,
    /// File of the last purge record.
    pub purge_file: Option<u64>,
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

    /// Adds an entry that follows the last one.
    pub fn push(&mut self, id: LogId, slot: Slot, weight: u64) {
        if self.slots.is_empty() && self.purged.is_none() {
            self.first = id.index();
        }
        if let Some(entry) = &slot.entry {
            self.cached_bytes += entry_weight(entry);
        }
        self.live_bytes += weight;
        self.slots.push_back(slot);
    }

    /// Drops entries after `last`, exclusive.
    pub fn truncate_after(&mut self, last: Option<u64>) {
        let keep = last.map_or(0, |last| (last + 1).saturating_sub(self.first));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        while self.slots.len() > keep {
            let slot = self.slots.pop_back();
            self.forget(slot);
        }
        self.cold = self.cold.min(self.slots.len());
    }

    /// Drops entries up to `upto`, inclusive.
    pub fn purge(&mut self, upto: LogId) {
        if self
            .purged
            .is_some_and(|purged| purged.index() >= upto.index())
        {
            return;
        }
        while self.first <= upto.index() && !self.slots.is_empty() {
            let slot = self.slots.pop_front();
            self.forget(slot);
            self.first += 1;
            self.cold = self.cold.saturating_sub(1);
        }
        self.first = upto.index() + 1;
        self.purged = Some(upto);
    }

    fn forget(&mut self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        if let Some(entry) = &slot.entry {
            self.cached_bytes -= entry_weight(entry);
        }
        let span = slot.place.map_or(0, |place| u64::from(place.span));
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
            && slot.ticket == ticket
        {
            if slot.place.is_none() {
                self.live_bytes += u64::from(place.span);
            }
            slot.place = Some(place);
        }
    }

    /// Lets the oldest cached entries go, keeping [`CACHE_BYTES_MAX`]; never unwritten ones.
    pub fn trim_cache(&mut self) {
        while self.cached_bytes > CACHE_BYTES_MAX {
            let Some(slot) = self.slots.get_mut(self.cold) else {
                return;
            };
            if slot.place.is_none() {
                return;
            }
            if let Some(entry) = slot.entry.take() {
                self.cached_bytes -= entry_weight(&entry);
            }
            self.cold += 1;
        }
    }

    /// What there is of `range`, ascending and contiguous.
    pub fn find(&self, range: Range<u64>) -> Result<Vec<Found>, LogError> {
        let (start, end) = (range.start.max(self.first), range.end.min(self.next()));
        (start..end)
            .map(|index| match self.slot(index) {
                Some(Slot {
                    entry: Some(entry), ..
                }) => Ok(Found::Cached(entry.clone())),
                Some(Slot {
                    place: Some(place), ..
                }) => Ok(Found::At(*place)),
                _ => Err(LogError::Hole {
                    expected: index,
                    found: self.next(),
                }),
            })
            .collect()
    }

    /// Oldest file that still holds something live of this group; none if nothing was written.
    pub fn oldest_file(&self) -> Option<u64> {
        let entries = self
            .slots
            .front()
            .and_then(|slot| slot.place)
            .map(|place| place.file);
        [entries, self.vote_file, self.purge_file]
            .into_iter()
            .flatten()
            .min()
    }
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::EntryPayload;

    fn filled(indexes: Range<u64>) -> GroupState {
        let mut state = GroupState::default();
        for index in indexes {
            let id = log_id(1, index);
            let entry = Entry {
                log_id: id,
                payload: EntryPayload::Blank,
            };
            state.check_next(&id).expect("contiguous");
            let place = Some(Place {
                file: index,
                offset: 0,
                span: 8,
            });
            state.push(
                id,
                Slot {
                    term: 1,
                    ticket: index,
                    place,
                    entry: Some(entry),
                },
                8,
            );
        }
        state
    }

    #[test]
    fn holes_and_falling_terms_are_refused() {
        let state = filled(0..3);
        assert!(state.check_next(&log_id(1, 3)).is_ok());
        assert!(state.check_next(&log_id(1, 4)).is_err());
        assert!(state.check_next(&log_id(1, 2)).is_err());
        assert!(state.check_next(&log_id(0, 3)).is_err());
    }

    #[test]
    fn purge_and_truncate_keep_counts_right() {
        let mut state = filled(0..10);
        state.purge(log_id(1, 3));
        assert_eq!(
            (state.first, state.slots.len(), state.last()),
            (4, 6, Some(log_id(1, 9)))
        );
        assert_eq!(state.oldest_file(), Some(4));
        state.vote_file = Some(2);
        assert_eq!(state.oldest_file(), Some(2));
        state.truncate_after(Some(5));
        assert_eq!((state.next(), state.last()), (6, Some(log_id(1, 5))));
        state.purge(log_id(1, 20));
        assert_eq!(
            (state.next(), state.last(), state.cached_bytes),
            (21, Some(log_id(1, 20)), 0)
        );
        state.truncate_after(None);
        assert_eq!(state.last(), Some(log_id(1, 20)));
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_not_written() {
        let mut state = GroupState::default();
        for index in 0..40 {
            let id = log_id(1, index);
            let command = vec![0; CACHE_BYTES_MAX / 16].into();
            let payload = EntryPayload::Normal(crate::raft::types::Proposal { stamp: 0, command });
            let place = (index < 30).then_some(Place {
                file: 1,
                offset: index,
                span: 8,
            });
            let entry = Some(Entry {
                log_id: id,
                payload,
            });
            state.push(
                id,
                Slot {
                    term: 1,
                    ticket: index,
                    place,
                    entry,
                },
                0,
            );
        }
        state.trim_cache();
        assert!(state.cached_bytes <= CACHE_BYTES_MAX);
        assert!(matches!(
            state.find(0..1).expect("there").as_slice(),
            [Found::At(_)]
        ));
        assert!(matches!(
            state.find(39..40).expect("there").as_slice(),
            [Found::Cached(_)]
        ));
    }
}
