//! Files of the log that nothing lives in go; what little lives in old ones is written anew.
//!
//! What is written anew is the group as it is in memory, ahead of what still waits in the queue. That
//! comes behind it in the log, as it would have: a vote is the same, and entries that are purged by
//! then are passed over. A truncation would not: the entries before it follow on those it takes away,
//! so a group with one that is not durable is left alone until the next roll. A damaged group is left
//! alone until it is destroyed, and its files with it: written anew, or without the file in which it
//! lost something, it would look whole at the next start.

use super::index::{GroupIndex, Keeps, committed_within};
use super::record::Kind;
use super::writer::Writer;
use super::written::{Written, publish};
use super::{LogError, remove_file};
use crate::raft::codec::{put_log_id, put_option_log_id, put_vote};
use crate::raft::types::log_id;
use engine_types::GroupId;
use std::sync::Arc;

impl Writer {
    /// Deletes files nothing lives in; where too many are left, writes anew what is small and asks for
    /// snapshots of groups with many entries there.
    pub(super) fn reclaim(&mut self) -> Result<(), LogError> {
        self.delete_dead()?;
        while self.shared.readers.lock().len() > self.files_max {
            let Some(oldest) = self.shared.oldest_file() else {
                return Ok(());
            };
            let mut moved = false;
            for index in self.shared.indexes() {
                moved |= self.free(&index, oldest)?;
            }
            self.delete_dead()?;
            if !moved || self.shared.oldest_file() == Some(oldest) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lets go of the oldest file for one group, if that can be done here and now.
    fn free(&mut self, index: &Arc<GroupIndex>, oldest: u64) -> Result<bool, LogError> {
        let (keeps, bytes) = {
            let state = index.state.lock();
            (state.keeps(oldest), state.live_bytes)
        };
        match keeps {
            None => Ok(false),
            #[cfg(sabotage)]
            Some(Keeps::Records) if engine_types::sabotage("pin-log-by-vote") => Ok(false),
            Some(Keeps::Records) => self.restate(index),
            Some(Keeps::Entries) if bytes <= self.copy_bytes_max => self.copy(index),
            Some(Keeps::Entries) => {
                self.press(index.group);
                Ok(false)
            }
        }
    }

    /// Asks for a snapshot, once for every half of [`Writer::files_max`]: a snapshot frees what the one
    /// before it reaches, so the steps are as long as what is kept beside. Asking at every roll was
    /// turned down: each file would cost a snapshot of every group.
    fn press(&mut self, group: GroupId) {
        let steps = (self.files_max / 2) as u64;
        let last = self.pressed.get(&group);
        if last.is_none_or(|last| last + steps <= self.number) {
            self.pressed.insert(group, self.number);
            self.shared.pressure.lock().insert(group);
        }
    }

    fn delete_dead(&mut self) -> Result<(), LogError> {
        let live = self
            .shared
            .indexes()
            .iter()
            .filter_map(|i| i.state.lock().oldest_file())
            .min();
        let live = live.unwrap_or(self.number).min(self.number);
        loop {
            let Some(oldest) = self.shared.oldest_file().filter(|oldest| *oldest < live) else {
                return Ok(());
            };
            if !remove_file(&*self.files, oldest)? {
                return Ok(());
            }
            self.shared.readers.lock().remove(&oldest);
        }
    }

    /// Writes a group's vote and bound anew. Only its entries grow with what it does, and only a
    /// snapshot moves them; the rest must not keep a file that none of them lies in.
    fn restate(&mut self, index: &Arc<GroupIndex>) -> Result<bool, LogError> {
        let (vote, purged, ticket) = {
            let state = index.state.lock();
            if state.is_frozen() {
                return Ok(false);
            }
            (state.vote, state.purged, state.ticket)
        };
        let group = index.group.0;
        if let Some(vote) = &vote {
            self.record(group, Kind::Vote, |out| put_vote(out, vote));
        }
        if let Some(purged) = &purged {
            self.record(group, Kind::Purge, |out| put_log_id(out, purged));
        }
        let mut written = Written::default();
        for kind in [Kind::Vote, Kind::Purge] {
            written.states.push((Arc::clone(index), kind, self.number));
        }
        written.settled.push((Arc::clone(index), ticket));
        self.flush()?;
        publish(written);
        Ok(true)
    }

    /// Writes all that lives of a group anew. What is asked for but still queued behind (entries
    /// without a place) comes after it in the log, as it would have; a commit hint waits for them.
    fn copy(&mut self, index: &Arc<GroupIndex>) -> Result<bool, LogError> {
        let (vote, purged, committed, entries, ticket) = {
            let state = index.state.lock();
            if state.is_frozen() {
                return Ok(false);
            }
            let written: Vec<_> = (state.first..)
                .zip(&state.slots)
                .map_while(|(index, slot)| {
                    let at = (slot.place()?, slot.ticket(state.ticket), slot.term);
                    Some((at, state.cached(index).cloned()))
                })
                .collect();
            let next = state.first + written.len() as u64;
            let last = written.last();
            let last = last.map(|((_, _, term), _)| log_id(*term, next - 1));
            let committed = committed_within(state.committed, last.or(state.purged));
            (state.vote, state.purged, committed, written, state.ticket)
        };
        let base = self.file.len();
        let group = index.group.0;
        let mut written = Written::default();
        self.record(group, Kind::CopyBegin, |out| {
            out.push(u8::from(vote.is_some()));
            if let Some(vote) = &vote {
                put_vote(out, vote);
            }
            put_option_log_id(out, purged.as_ref());
            put_option_log_id(out, committed.as_ref());
        });
        written
            .states
            .push((Arc::clone(index), Kind::CopyBegin, self.number));
        written.settled.push((Arc::clone(index), ticket));
        for ((place, wrote, _), cached) in entries {
            let entry = if let Some(entry) = cached {
                entry
            } else {
                let reader = self.shared.reader(place.file)?;
                self.shared.read_back(place, &reader)?
            };
            let place = self.put(base, Kind::CopyEntry, group, &entry);
            written
                .places
                .push((Arc::clone(index), entry.log_id.index(), wrote, place));
        }
        self.record(group, Kind::CopyEnd, |_| {});
        self.flush()?;
        publish(written);
        Ok(true)
    }
}
