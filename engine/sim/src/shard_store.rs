//! A drive's shards in memory, with the faults a drive may show.
//!
//! An append is first written, then (after other tasks had their turn) durable, then answered; a
//! power cut takes what is only written.

use async_trait::async_trait;
use bytes::Bytes;
use engine_core::format::{BLOCK_BYTES, RECORD_ALIGN, ShardHeader, block_checksums};
use engine_core::ports::{DriveError, DriveUsage, ShardEntry, ShardStore, StoredShard};
use engine_types::{BirthId, CopyToken, DriveUuid, Stamp};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use tokio::sync::watch;

#[derive(Clone, Debug)]
struct Record {
    header: ShardHeader,
    payload: Bytes,
    durable: bool,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<CopyToken, Record>,
    /// Where the next record goes, in the one segment there is.
    position: u64,
    capacity: u64,
    full: bool,
    read_only: bool,
    failure: Option<String>,
    closed: bool,
    /// Raised by each power cut: what was under way before it fails.
    epoch: u64,
}

/// A [`ShardStore`] in memory.
#[derive(Debug)]
pub struct FakeShardStore {
    drive: DriveUuid,
    state: Mutex<State>,
    silent: watch::Sender<bool>,
}

impl FakeShardStore {
    /// An empty drive of `capacity` bytes.
    pub fn new(drive: DriveUuid, capacity: u64) -> Self {
        Self {
            drive,
            state: Mutex::new(State {
                position: RECORD_ALIGN as u64,
                capacity,
                ..State::default()
            }),
            silent: watch::Sender::new(false),
        }
    }

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

    /// Nothing is answered while set.
    pub fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
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

    /// Tokens of all durable shards.
    pub fn tokens(&self) -> Vec<CopyToken> {
        let state = self.state.lock();
        let durable = state.records.iter().filter(|(_, record)| record.durable);
        durable.map(|(token, _)| *token).collect()
    }

    async fn awake(&self) {
        let mut silent = self.silent.subscribe();
        if silent.wait_for(|silent| !silent).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn working(&self) -> Result<(), DriveError> {
        let state = self.state.lock();
        match &state.failure {
            Some(reason) => Err(DriveError::Failed(reason.clone())),
            None if state.closed => Err(DriveError::Failed("shard store closed".to_owned())),
            None => Ok(()),
        }
    }

    fn write(&self, mut header: ShardHeader, payload: Bytes) -> Result<(u64, bool), DriveError> {
        self.working()?;
        let mut state = self.state.lock();
        if state.read_only {
            return Err(DriveError::ReadOnly);
        }
        if let Some(stored) = state.records.get(&header.token) {
            header.segment = stored.header.segment;
            header.offset = stored.header.offset;
            if stored.header == header && stored.durable {
                return Ok((state.epoch, true));
            }
            let text = "copy token written already".to_owned();
            return Err(DriveError::Corrupt(text));
        }
        let length = u64::from(header.record_length());
        let used = state.position;
        if state.full || used.saturating_add(length) > state.capacity {
            return Err(DriveError::Full);
        }
        header.segment = 1;
        header.offset = state.position;
        state.position = state.position.saturating_add(length);
        let record = Record {
            header,
            payload,
            durable: false,
        };
        state.records.insert(record.header.token, record);
        Ok((state.epoch, false))
    }

    fn stored(&self, token: CopyToken) -> Result<Record, DriveError> {
        self.working()?;
        let state = self.state.lock();
        let record = state.records.get(&token).filter(|record| record.durable);
        record.cloned().ok_or(DriveError::NotFound)
    }
}

#[async_trait]
impl ShardStore for FakeShardStore {
    async fn append(&self, header: ShardHeader, payload: Bytes) -> Result<(), DriveError> {
        self.awake().await;
        let fits = u32::try_from(payload.len()).is_ok_and(|l| l == header.payload_length);
        let ours = header.drive == self.drive;
        if !ours || !fits || block_checksums(&payload) != header.block_crcs {
            let text = "payload is not what the header says".to_owned();
            return Err(DriveError::Corrupt(text));
        }
        let token = header.token;
        // A copy, as a real drive makes one: the writer's buffer is given back.
        let (epoch, known) = self.write(header, Bytes::copy_from_slice(&payload))?;
        if known {
            return Ok(());
        }
        tokio::task::yield_now().await;
        self.awake().await;
        self.working()?;
        let mut state = self.state.lock();
        match state.records.get_mut(&token) {
            Some(record) => record.durable = true,
            None => return Err(DriveError::Failed("power cut".to_owned())),
        }
        if state.epoch == epoch {
            Ok(())
        } else {
            Err(DriveError::Failed("power cut".to_owned()))
        }
    }

    async fn read(&self, token: CopyToken, range: Range<u32>) -> Result<StoredShard, DriveError> {
        self.awake().await;
        let Record {
            header, payload, ..
        } = self.stored(token)?;
        let end = range.end.min(header.payload_length);
        let start = range.start.min(end);
        let (from, until) = (start as usize, end as usize);
        let first = from / BLOCK_BYTES;
        let blocks = payload.chunks(BLOCK_BYTES).enumerate();
        for (number, bytes) in blocks.take(until.div_ceil(BLOCK_BYTES)).skip(first) {
            if !header.block_is_sound(number, bytes) {
                return Err(DriveError::Corrupt(format!("payload block {number}")));
            }
        }
        let payload = payload.slice(from..until);
        Ok(StoredShard { header, payload })
    }

    async fn free(&self, tokens: &[CopyToken]) -> Result<(), DriveError> {
        self.awake().await;
        self.working()?;
        let mut state = self.state.lock();
        if state.read_only {
            return Err(DriveError::ReadOnly);
        }
        for token in tokens {
            if state
                .records
                .get(token)
                .is_some_and(|record| record.durable)
            {
                state.records.remove(token);
            }
        }
        Ok(())
    }

    async fn entries(
        &self,
        after: Option<CopyToken>,
        before: Stamp,
        limit: usize,
    ) -> Result<Vec<ShardEntry>, DriveError> {
        self.awake().await;
        self.working()?;
        let state = self.state.lock();
        let wanted = state.records.iter().filter(|(token, record)| {
            record.durable && after.is_none_or(|after| **token > after) && token.birth() < before
        });
        let entries = wanted.take(limit).map(|(token, record)| ShardEntry {
            token: *token,
            segment: record.header.segment,
            offset: record.header.offset,
            length: record.header.record_length(),
        });
        Ok(entries.collect())
    }

    async fn verify(&self, token: CopyToken) -> Result<ShardHeader, DriveError> {
        self.read(token, 0..u32::MAX)
            .await
            .map(|shard| shard.header)
    }

    fn usage(&self) -> DriveUsage {
        let state = self.state.lock();
        let live = state.records.values().filter(|record| record.durable);
        let live = live
            .map(|record| u64::from(record.header.record_length()))
            .sum();
        let available = if state.full {
            0
        } else {
            state.capacity.saturating_sub(state.position)
        };
        DriveUsage {
            capacity: state.capacity,
            available,
            live,
            written: live,
        }
    }

    async fn close(&self) {
        self.state.lock().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::shard_store::{Fixture, StoreUnderTest, all, shard};
    use std::sync::Arc;

    struct Fake(Arc<FakeShardStore>);

    #[async_trait]
    impl StoreUnderTest for Fake {
        fn drive(&self) -> DriveUuid {
            self.0.drive
        }
        async fn open(&mut self) -> Arc<dyn ShardStore> {
            self.0.reopen();
            Arc::<FakeShardStore>::clone(&self.0)
        }
        async fn crash(&mut self, store: Arc<dyn ShardStore>) {
            drop(store);
            self.0.power_cut();
        }
        async fn damage(&mut self, entry: &ShardEntry, payload_at: usize) {
            assert!(self.0.damage(entry.token, payload_at));
        }
    }

    fn fake(capacity: u64) -> Box<dyn StoreUnderTest> {
        let drive = DriveUuid([7; 16]);
        Box::new(Fake(Arc::new(FakeShardStore::new(drive, capacity))))
    }

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let fixture = Fixture {
            roomy: &|| fake(1 << 30),
            small: &|| fake(1 << 20),
        };
        all(&fixture).await;
    }

    #[tokio::test]
    async fn a_power_cut_takes_what_was_not_acknowledged() {
        let store = Arc::new(FakeShardStore::new(DriveUuid([7; 16]), 1 << 30));
        let (header, payload) = shard(store.drive, 5, 1, 64);
        let token = header.token;
        let appending = Arc::clone(&store);
        let task = tokio::spawn(async move { appending.append(header, payload).await });
        store.set_silent(true);
        tokio::task::yield_now().await;
        store.power_cut();
        store.set_silent(false);
        let Ok(done) = task.await else {
            panic!("append panicked")
        };
        let read = store.read(token, 0..64).await;
        assert_eq!(done.is_ok(), read.is_ok());
    }
}
