//! What may happen to a drive in memory.

use super::{FakeShardStore, Silent};
use engine_core::format::{RECORD_ALIGN, block_checksums};
use engine_types::CopyToken;
use std::sync::atomic::Ordering;

impl FakeShardStore {
    /// Loses what is not durable; calls under way fail. The drive is then open again.
    pub fn power_cut(&self) {
        let mut state = self.state.lock();
        state.records.retain(|_, record| record.durable);
        state.epoch = state.epoch.saturating_add(1);
        state.failure = None;
        state.closed = false;
    }

    /// Takes the drive out of service until [`Self::power_cut`] or [`Self::reopen`].
    pub fn fail(&self, reason: &str) {
        self.state.lock().failure = Some(reason.to_owned());
    }

    /// Opens a failed or closed drive again.
    pub fn reopen(&self) {
        let mut state = self.state.lock();
        state.failure = None;
        state.closed = false;
    }

    /// Every write answers `Full` while set; frees still work.
    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// Every write answers `ReadOnly` while set.
    pub fn set_read_only(&self, read_only: bool) {
        self.state.lock().read_only = read_only;
    }

    /// Every call answers `Starved` while set, as in a process without file handles.
    pub fn set_starved(&self, starved: bool) {
        self.state.lock().starved = starved;
    }

    /// Nothing is answered while set.
    pub fn set_silent(&self, silent: bool) {
        self.silent.send_replace(Silent {
            reads: silent,
            writes: silent,
            medium: silent,
        });
    }

    /// No read is answered while set.
    pub fn set_reads_silent(&self, reads: bool) {
        self.silent.send_modify(|silent| silent.reads = reads);
    }

    /// Reads are answered from memory alone while set: none that has to look at the medium.
    pub fn set_medium_silent(&self, medium: bool) {
        self.silent.send_modify(|silent| silent.medium = medium);
    }

    /// No write or free is answered while set.
    pub fn set_writes_silent(&self, writes: bool) {
        self.silent.send_modify(|silent| silent.writes = writes);
    }

    /// How often `free` was called.
    pub fn frees(&self) -> u64 {
        self.frees.load(Ordering::Relaxed)
    }

    /// Flips a bit of a stored payload; false if the shard is not there.
    pub fn damage(&self, token: CopyToken, at: usize) -> bool {
        let mut state = self.state.lock();
        let Some(record) = state.records.get_mut(&token) else {
            return false;
        };
        let mut bytes = record.payload.to_vec();
        let Some(byte) = bytes.get_mut(at) else {
            return false;
        };
        *byte ^= 1;
        record.payload = bytes.into();
        true
    }

    /// Flips a bit of a stored payload as damage before its checksums were made does: they hold.
    /// False if the shard is not there.
    pub fn falsify(&self, token: CopyToken, at: usize) -> bool {
        self.damage(token, at) && {
            let mut state = self.state.lock();
            let record = state.records.get_mut(&token);
            record.is_some_and(|record| {
                record.header.block_crcs = block_checksums(&record.payload);
                true
            })
        }
    }

    /// Makes a stored shard's header say that it is another shard of its stripe; false if it is not
    /// there.
    pub fn mislabel(&self, token: CopyToken) -> bool {
        let mut state = self.state.lock();
        let record = state.records.get_mut(&token);
        record.is_some_and(|record| {
            record.header.index ^= 1;
            true
        })
    }

    /// Makes a stored shard's header unreadable; false if the shard is not there.
    pub fn damage_header(&self, token: CopyToken) -> bool {
        let mut state = self.state.lock();
        let record = state.records.get_mut(&token);
        record.is_some_and(|record| !std::mem::replace(&mut record.headless, true))
    }

    /// Forgets a shard as an index that lost its row does; false if the shard is not there.
    pub fn lose(&self, token: CopyToken) -> bool {
        self.state.lock().records.remove(&token).is_some()
    }

    /// Goes on in a new segment: what was written so far is settled.
    pub fn rotate(&self) {
        let mut state = self.state.lock();
        state.segment = state.segment.saturating_add(1);
        state.position = RECORD_ALIGN as u64;
    }

    /// Damages a segment's footer.
    pub fn damage_footer(&self, segment: u64) {
        self.state.lock().footless.push(segment);
    }

    /// Tokens of all durable shards.
    pub fn tokens(&self) -> Vec<CopyToken> {
        let state = self.state.lock();
        let durable = state.records.iter().filter(|(_, record)| record.durable);
        durable.map(|(token, _)| *token).collect()
    }
}
