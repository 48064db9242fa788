//! Files of the log that nothing lives in go; what little lives in old ones is written anew.

use super::index::GroupIndex;
use super::record::Kind;
use super::writer::{Writer, Written, publish};
use super::{LogError, file_name};
use crate::raft::codec::{put_option_log_id, put_vote};
use engine_types::GroupId;
use std::sync::Arc;

/// Groups whose live entries are at most this are copied forward; larger ones must snapshot.
const COPY_BYTES_MAX: u64 = 8 << 20;

impl Writer {
    /// Deletes files nothing lives in; where too many are left, copies small groups forward and
    /// asks for snapshots of the large.
    pub(super) fn reclaim(&mut self) -> Result<(), LogError> {
        self.delete_dead()?;
        while self.shared.readers.lock().len() > self.files_max {
            let Some(oldest) = self.shared.oldest_file() else {
                return Ok(());
            };
            let mut copied = false;
            for index in self.shared.indexes() {
                let (holds, bytes) = {
                    let state = index.state.lock();
                    (state.oldest_file() == Some(oldest), state.live_bytes)
                };
                if holds && bytes <= COPY_BYTES_MAX {
                    self.copy(&index)?;
                    copied = true;
                } else if holds {
                    self.press(index.group);
                }
            }
            self.delete_dead()?;
            if !copied || self.shared.oldest_file() == Some(oldest) {
                return Ok(());
            }
        }
        Ok(())
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
            self.files.remove(&file_name(oldest))?;
            self.shared.readers.lock().remove(&oldest);
        }
    }

    /// Writes all that lives of a group anew. What is asked for but still queued behind (entries
    /// without a place) comes after it in the log, as it would have.
    fn copy(&mut self, index: &Arc<GroupIndex>) -> Result<(), LogError> {
        let (vote, purged, committed, entries) = {
            let state = index.state.lock();
            let written: Vec<_> = state
                .slots
                .iter()
                .map_while(|slot| slot.place.map(|place| (slot.clone(), place)))
                .collect();
            (state.vote, state.purged, state.committed, written)
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
        for (slot, place) in entries {
            let entry = match slot.entry {
                Some(entry) => entry,
                None => self.shared.read_back(place)?,
            };
            let place = self.put(base, Kind::CopyEntry, group, &entry);
            written
                .places
                .push((Arc::clone(index), entry.log_id.index(), slot.ticket, place));
        }
        self.record(group, Kind::CopyEnd, |_| {});
        self.flush()?;
        publish(written);
        Ok(())
    }
}
