//! A drive's shards in memory, with the faults a drive may show.
//!
//! An append is first written, then (after other tasks had their turn) durable, then answered; a
//! power cut takes what is only written.

mod faults;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use engine_core::format::{BLOCK_BYTES, RECORD_ALIGN, ShardHeader, block_checksums};
use engine_core::ports::{
    DriveError, DriveUsage, FooterCheck, SegmentCheck, SegmentUse, ShardEntry, ShardStore,
    SpaceAccount, StoredShard,
};
use engine_types::{BirthId, CopyToken, DriveUuid, Stamp};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

#[derive(Clone, Debug)]
struct Record {
    header: ShardHeader,
    payload: Bytes,
    durable: bool,
    /// Its header does not read.
    headless: bool,
}

#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a condition of the drive that a test sets by itself"
)]
struct State {
    records: BTreeMap<CopyToken, Record>,
    /// The segment being written; lower ones are settled.
    segment: u64,
    /// Where the next record goes.
    position: u64,
    /// Bytes appended since the drive was made.
    appended: u64,
    /// Segments whose footer is damaged.
    footless: Vec<u64>,
    capacity: u64,
    full: bool,
    read_only: bool,
    starved: bool,
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
    silent: watch::Sender<Silent>,
    /// Calls of `free`.
    frees: AtomicU64,
}

/// What is not answered.
#[derive(Clone, Copy, Debug, Default)]
struct Silent {
    reads: bool,
    writes: bool,
    /// Reads that may not be answered from memory.
    medium: bool,
}

impl FakeShardStore {
    /// An empty drive of `capacity` bytes.
    pub fn new(drive: DriveUuid, capacity: u64) -> Self {
        Self {
            drive,
            state: Mutex::new(State {
                segment: 1,
                position: RECORD_ALIGN as u64,
                capacity,
                ..State::default()
            }),
            silent: watch::Sender::default(),
            frees: AtomicU64::default(),
        }
    }

    async fn awake(&self, heard: impl FnMut(&Silent) -> bool) {
        if self.silent.subscribe().wait_for(heard).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn awake_for_reads(&self) {
        self.awake(|silent| !silent.reads).await;
    }

    async fn awake_for_writes(&self) {
        self.awake(|silent| !silent.writes).await;
    }

    async fn awake_for_the_medium(&self) {
        self.awake(|silent| !silent.medium).await;
    }

    fn working(&self) -> Result<(), DriveError> {
        let state = self.state.lock();
        match &state.failure {
            Some(reason) => Err(DriveError::Failed(reason.clone())),
            None if state.closed => Err(DriveError::Failed("shard store closed".to_owned())),
            None if state.starved => Err(DriveError::Starved("set so".to_owned())),
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
        let used = state.appended.saturating_add(RECORD_ALIGN as u64);
        if state.full || used.saturating_add(length) > state.capacity {
            return Err(DriveError::Full);
        }
        header.segment = state.segment;
        header.offset = state.position;
        state.position = state.position.saturating_add(length);
        state.appended = state.appended.saturating_add(length);
        let record = Record {
            header,
            payload,
            durable: false,
            headless: false,
        };
        state.records.insert(record.header.token, record);
        Ok((state.epoch, false))
    }

    fn stored(&self, token: CopyToken) -> Result<Record, DriveError> {
        self.working()?;
        let state = self.state.lock();
        let record = state.records.get(&token).filter(|record| record.durable);
        let record = record.cloned().ok_or(DriveError::NotFound)?;
        if record.headless {
            return Err(DriveError::Corrupt("shard header".to_owned()));
        }
        Ok(record)
    }

    /// Durable records of each segment.
    fn by_segment(&self) -> BTreeMap<u64, SegmentUse> {
        let state = self.state.lock();
        let mut segments: BTreeMap<u64, SegmentUse> = BTreeMap::new();
        for record in state.records.values().filter(|record| record.durable) {
            let segment = record.header.segment;
            let length = u64::from(record.header.record_length());
            let of = segments.entry(segment).or_default();
            of.segment = segment;
            of.records = of.records.saturating_add(1);
            of.live = of.live.saturating_add(length);
            of.held = of.live.saturating_add(RECORD_ALIGN as u64);
            of.settled = segment < state.segment;
            of.size = 16 << 20;
        }
        segments
    }
}

#[async_trait]
impl ShardStore for FakeShardStore {
    async fn append(&self, header: ShardHeader, payload: Bytes) -> Result<(), DriveError> {
        self.awake_for_writes().await;
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
        self.awake_for_writes().await;
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
        self.awake_for_reads().await;
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
        let payload = payload.slice(from..until).into();
        Ok(StoredShard { header, payload })
    }

    async fn free(&self, tokens: &[CopyToken]) -> Result<(), DriveError> {
        self.frees.fetch_add(1, Ordering::Relaxed);
        self.awake_for_writes().await;
        // Others have their turn, as while a drive syncs.
        tokio::task::yield_now().await;
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
        self.awake_for_reads().await;
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
        self.awake_for_the_medium().await;
        self.read(token, 0..u32::MAX)
            .await
            .map(|shard| shard.header)
    }

    fn segments(&self) -> Vec<SegmentUse> {
        self.by_segment().into_values().collect()
    }

    async fn placed(&self, from: (u64, u64), limit: usize) -> Result<Vec<ShardEntry>, DriveError> {
        self.awake_for_reads().await;
        self.working()?;
        let state = self.state.lock();
        let durable = state.records.iter().filter(|(_, record)| record.durable);
        let mut entries: Vec<ShardEntry> = durable
            .map(|(token, record)| ShardEntry {
                token: *token,
                segment: record.header.segment,
                offset: record.header.offset,
                length: record.header.record_length(),
            })
            .filter(|entry| (entry.segment, entry.offset) >= from)
            .collect();
        entries.sort_by_key(|entry| (entry.segment, entry.offset));
        entries.truncate(limit);
        Ok(entries)
    }

    async fn absent(&self, tokens: &[CopyToken]) -> Result<Vec<CopyToken>, DriveError> {
        self.awake_for_reads().await;
        self.working()?;
        let state = self.state.lock();
        let live = |token: &CopyToken| state.records.get(token).is_some_and(|r| r.durable);
        Ok(tokens.iter().copied().filter(|t| !live(t)).collect())
    }

    async fn check_segment(&self, segment: u64) -> Result<SegmentCheck, DriveError> {
        self.awake_for_reads().await;
        self.working()?;
        let mut state = self.state.lock();
        let damaged = state.footless.contains(&segment);
        state.footless.retain(|number| *number != segment);
        let footer = match (damaged, segment < state.segment) {
            (true, _) => FooterCheck::Damaged,
            (false, true) => FooterCheck::Sound,
            (false, false) => FooterCheck::Open,
        };
        Ok(SegmentCheck {
            header_sound: true,
            footer,
        })
    }

    async fn account(&self) -> Result<SpaceAccount, DriveError> {
        self.awake_for_reads().await;
        self.working()?;
        let mut account = SpaceAccount::default();
        for of in self.by_segment().into_values() {
            account.segments = account.segments.saturating_add(1);
            account.records = account.records.saturating_add(of.records);
            account.live = account.live.saturating_add(of.live);
            account.headers = account.headers.saturating_add(RECORD_ALIGN as u64);
            account.written = account.written.saturating_add(of.held);
        }
        account.allocated = account.written;
        Ok(account)
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
            let used = state.appended.saturating_add(RECORD_ALIGN as u64);
            state.capacity.saturating_sub(used)
        };
        DriveUsage {
            capacity: state.capacity,
            available,
            live,
            written: live,
        }
    }

    async fn close(&self) -> bool {
        self.state.lock().closed = true;
        true
    }
}
