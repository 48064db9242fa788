//! One group of a drive's log, as openraft sees it.

use super::LogError;
use super::drive_log::{Reader, Shared};
use super::index::{Found, GroupIndex, GroupState, Place, Slot};
use super::record::PAYLOAD_BYTES_MAX;
use super::writer::{Change, Op};
use super::written::Done;
use crate::raft::codec::entry_weight;
use crate::raft::types::{Entry, LogId, Types, Vote, term_of};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Bytes of entries handed to one replication message at most; at least one entry always goes.
const READ_BYTES_MAX: usize = 4 << 20;

/// An entry, or where to read it.
enum Located {
    Cached(Entry),
    At(Place, Reader),
}

/// A group's log. Clones are handles on the same log.
#[derive(Clone, Debug)]
pub struct GroupLog {
    index: Arc<GroupIndex>,
    shared: Arc<Shared>,
    queue: mpsc::Sender<Op>,
}

impl GroupLog {
    pub(super) fn new(
        index: Arc<GroupIndex>,
        shared: Arc<Shared>,
        queue: mpsc::Sender<Op>,
    ) -> Self {
        Self {
            index,
            shared,
            queue,
        }
    }

    /// Waits until the entry at `index` is durable here. Entries no longer in the log (purged) are.
    /// Committed entries are never truncated, so the slot cannot change under the wait.
    pub async fn wait_durable(&self, index: u64) -> Result<(), LogError> {
        let ticket = {
            let state = self.index.state.lock();
            state.slot(index).map(|slot| slot.ticket(state.ticket))
        };
        let Some(ticket) = ticket else {
            return Ok(());
        };
        let mut durable = self.index.durable.subscribe();
        let mark = durable
            .wait_for(|mark| mark.ticket >= ticket || mark.failed.is_some())
            .await
            .map_err(|_closed| LogError::Failed("closed".into()))?;
        match &mark.failed {
            Some(why) if mark.ticket < ticket => Err(LogError::Failed(why.clone())),
            _ => Ok(()),
        }
    }

    /// The log id at `index`, if it is still in the log or the purged one.
    pub fn log_id_at(&self, index: u64) -> Option<LogId> {
        let state = self.index.state.lock();
        match state.slot(index) {
            Some(slot) => Some(crate::raft::types::log_id(slot.term, index)),
            None => state.purged.filter(|purged| purged.index() == index),
        }
    }

    /// The last purged and the last log id.
    pub fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let state = self.index.state.lock();
        (state.purged, state.last())
    }

    /// Bytes of unpurged records.
    pub fn live_bytes(&self) -> u64 {
        self.index.state.lock().live_bytes
    }

    async fn submit(&self, ticket: u64, change: Change, done: Done) -> Result<(), LogError> {
        let op = Op::Change {
            index: Arc::clone(&self.index),
            ticket,
            change,
            done,
        };
        self.queue
            .send(op)
            .await
            .map_err(|_closed| LogError::Failed("closed".into()))
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<Entry>, LogError> {
        let found = self.locate(range)?;
        if found
            .iter()
            .all(|found| matches!(found, Located::Cached(_)))
        {
            return found.into_iter().map(|found| self.entry(found)).collect();
        }
        let log = self.clone();
        tokio::task::spawn_blocking(move || {
            found.into_iter().map(|found| log.entry(found)).collect()
        })
        .await
        .map_err(|error| LogError::Failed(error.to_string()))?
    }

    /// Files and places under one lock: what lies at a place that the index tells is not removed before
    /// the index tells another, and a reader at hand reads on after that.
    fn locate(&self, range: Range<u64>) -> Result<Vec<Located>, LogError> {
        let state = self.index.state.lock();
        let found = state.find(range)?.into_iter();
        found
            .map(|found| match found {
                Found::Cached(entry) => Ok(Located::Cached(entry)),
                Found::At(place) => Ok(Located::At(place, self.shared.reader(place.file)?)),
            })
            .collect()
    }

    fn entry(&self, found: Located) -> Result<Entry, LogError> {
        match found {
            Located::Cached(entry) => Ok(entry),
            Located::At(place, reader) => self.shared.read_back(place, &reader),
        }
    }

    /// How far from `start` one message goes.
    fn limit(&self, start: u64, end: u64) -> u64 {
        let state = self.index.state.lock();
        let mut bytes = 0;
        for index in start..end {
            let Some(slot) = state.slot(index) else {
                return index.max(start + 1);
            };
            bytes += match (state.cached(index), slot.place()) {
                (Some(entry), _) => entry_weight(entry),
                (None, Some(place)) => place.span as usize,
                (None, None) => 0,
            };
            if bytes > READ_BYTES_MAX {
                return index.max(start + 1);
            }
        }
        end
    }
}

fn push(state: &mut GroupState, ticket: u64, entry: &Entry) -> Result<(), LogError> {
    let (id, weight) = (entry.log_id, entry_weight(entry));
    if weight > PAYLOAD_BYTES_MAX {
        return Err(LogError::TooLarge(weight));
    }
    state.check_next(&id)?;
    let slot = Slot::new(term_of(&id), ticket, None);
    state.push(entry.clone(), slot, 0);
    Ok(())
}

fn bounds<RB: RangeBounds<u64>>(range: &RB) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(at) => at.saturating_add(1),
        Bound::Excluded(at) => *at,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read(bounds(&range)).await?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.index.state.lock().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let end = self.limit(start, end);
        Ok(self.read(start..end).await?)
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.bounds();
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let ticket = {
            let mut state = self.index.state.lock();
            state.vote = Some(*vote);
            state.ticket += 1;
            state.ticket
        };
        let (sender, waiter) = oneshot::channel();
        self.submit(ticket, Change::Vote(*vote), Done::Waiter(sender))
            .await?;
        waiter
            .await
            .map_err(|_closed| LogError::Failed("closed".into()))??;
        Ok(())
    }

    /// A hint that travels with the next batch: without it a restart finds the committed index by
    /// an election, later.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else {
            return Ok(());
        };
        self.index.state.lock().committed = Some(committed);
        let op = Op::Change {
            index: Arc::clone(&self.index),
            ticket: 0,
            change: Change::Committed(committed),
            done: Done::Nobody,
        };
        // A full queue means that a later hint will follow.
        drop(self.queue.try_send(op));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.index.state.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let ticket = {
            let mut state = self.index.state.lock();
            state.ticket += 1;
            let ticket = state.ticket;
            let before = state.next().checked_sub(1);
            for entry in &entries {
                if let Err(error) = push(&mut state, ticket, entry) {
                    // Nothing of a refused call may stay: it would never be written.
                    state.truncate_after(before);
                    return Err(error.into());
                }
            }
            ticket
        };
        Ok(self
            .submit(ticket, Change::Append(entries), Done::Raft(callback))
            .await?)
    }

    /// Not waited for: whatever is appended after it is durable only with it.
    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let after = last_log_id.map(|id| id.index());
        let ticket = {
            let mut state = self.index.state.lock();
            state.ticket += 1;
            let ticket = state.ticket;
            state.hold(ticket, true);
            state.truncate_after(after);
            ticket
        };
        Ok(self
            .submit(ticket, Change::Truncate(after), Done::Nobody)
            .await?)
    }

    /// Not waited for: entries that come back are purged again.
    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let ticket = {
            let mut state = self.index.state.lock();
            state.ticket += 1;
            let ticket = state.ticket;
            state.hold(ticket, false);
            state.purge(log_id);
            ticket
        };
        Ok(self
            .submit(ticket, Change::Purge(log_id), Done::Nobody)
            .await?)
    }
}
