//! Metadata in memory: the real apply and the real queries of `engine-meta`, one voter a partition,
//! no log. Commands are applied in the order they come, at most once as everywhere; faults make a
//! proposal's outcome unknown, before or after it took place.

use async_trait::async_trait;
use engine_core::meta::{Answer, Change, Command, Query, Reply};
use engine_core::ports::{MetaError, Metadata};
use engine_meta::query;
use engine_meta::rows::{Changes, Row, Rows, RowsError};
use engine_meta::state::{Entry, apply};
use engine_types::{PartitionId, Stamp};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::ops::Bound;
use tokio::sync::watch;

/// Where time begins.
const START_MS: u64 = 1_800_000_000_000;

/// What happens to a proposal instead of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is not applied.
    Lost,
    /// It is applied, and nobody hears of it.
    AnswerLost,
}

/// Ordered rows in a map.
#[derive(Clone, Debug, Default)]
struct MapRows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows for MapRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self.0.get(key).cloned())
    }
    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        let (Bound::Included(start) | Bound::Excluded(start)) = from else {
            let found = self
                .0
                .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(to)));
            return Box::new(found.map(|(key, value)| Ok((key.clone(), value.clone()))));
        };
        if start >= to {
            return Box::new(std::iter::empty());
        }
        let found = self.0.range::<[u8], _>((from, Bound::Excluded(to)));
        Box::new(found.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

#[derive(Debug, Default)]
struct Partition {
    rows: MapRows,
    index: u64,
}

#[derive(Debug)]
struct State {
    now: u64,
    partitions: BTreeMap<PartitionId, Partition>,
    faults: VecDeque<Fault>,
    /// Without a majority.
    down: BTreeSet<PartitionId>,
    proposals: u64,
    /// Proposals that wait for their answer, and most that did so at once.
    proposing: (u64, u64),
    /// Reads so far, by their kind.
    asked: HashMap<Discriminant<Query>, u64>,
}

/// [`Metadata`] in memory.
#[derive(Debug)]
pub struct FakeMetadata(Mutex<State>, watch::Sender<Option<Discriminant<Query>>>);

impl FakeMetadata {
    /// Control and `partitions` data partitions, empty.
    pub fn new(partitions: u32) -> Self {
        let partitions = (0..=partitions).map(|n| (PartitionId(n), Partition::default()));
        let state = State {
            now: START_MS,
            partitions: partitions.collect(),
            faults: VecDeque::new(),
            down: BTreeSet::new(),
            proposals: 0,
            proposing: (0, 0),
            asked: HashMap::new(),
        };
        Self(Mutex::new(state), watch::Sender::new(None))
    }

    /// Reads of this kind wait until others are held, or none.
    pub fn hold(&self, kind: Option<&Query>) {
        self.1.send_replace(kind.map(discriminant));
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        let mut state = self.0.lock();
        state.now = state.now.saturating_add(ms);
    }

    /// The next proposals meet these faults, one each.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().faults.extend(faults);
    }

    /// While down, every proposal and read answers `Unavailable`.
    pub fn set_down(&self, down: bool) {
        let mut state = self.0.lock();
        state.down = if down {
            state.partitions.keys().copied().collect()
        } else {
            BTreeSet::new()
        };
    }

    /// While without a majority, what asks this partition is answered `Unavailable`.
    pub fn set_majority(&self, partition: PartitionId, majority: bool) {
        let mut state = self.0.lock();
        if majority {
            state.down.remove(&partition);
        } else {
            state.down.insert(partition);
        }
    }

    /// Proposals so far, retries included.
    pub fn proposals(&self) -> u64 {
        self.0.lock().proposals
    }

    /// Most proposals that waited for their answer at once, since this was last asked.
    pub fn busiest(&self) -> u64 {
        std::mem::take(&mut self.0.lock().proposing.1)
    }

    /// Reads of this kind so far, whatever they asked: a worker that asks has gone round.
    pub fn asked(&self, kind: &Query) -> u64 {
        let state = self.0.lock();
        state.asked.get(&discriminant(kind)).copied().unwrap_or(0)
    }

    /// Applies a change under an id of its own, past all faults.
    pub fn apply(&self, partition: PartitionId, command: Command) -> Result<Answer, MetaError> {
        self.0.lock().apply(partition, command)
    }
}

fn damaged(error: &RowsError) -> MetaError {
    MetaError::Damaged(error.to_string())
}

impl State {
    fn propose(&mut self) {
        let (waiting, most) = self.proposing;
        let waiting = waiting.saturating_add(1);
        self.proposing = (waiting, most.max(waiting));
    }

    fn partition(&mut self, id: PartitionId) -> Result<&mut Partition, MetaError> {
        let missing = || MetaError::Unavailable(format!("no partition {id}"));
        self.partitions.get_mut(&id).ok_or_else(missing)
    }

    fn apply(&mut self, id: PartitionId, command: Command) -> Result<Answer, MetaError> {
        // Every command is later than the one before, as on a real leader most often.
        self.now = self.now.saturating_add(1);
        let stamp = Stamp(self.now);
        let partition = self.partition(id)?;
        partition.index = partition.index.saturating_add(1);
        let mut changes = Changes::default();
        let entry = Entry {
            index: partition.index,
            stamp,
            command,
        };
        let answer =
            apply(&partition.rows, &entry, &mut changes).map_err(|error| damaged(&error))?;
        for (key, value) in changes.0 {
            match value {
                Some(value) => drop(partition.rows.0.insert(key, value)),
                None => drop(partition.rows.0.remove(&key)),
            }
        }
        Ok(answer)
    }
}

#[async_trait]
impl Metadata for FakeMetadata {
    async fn propose(&self, partition: PartitionId, command: Command) -> Result<Answer, MetaError> {
        self.0.lock().propose();
        // Others have their turn, as while a majority syncs.
        tokio::task::yield_now().await;
        let lost = || MetaError::Unavailable("no leader".into());
        let mut state = self.0.lock();
        state.proposals = state.proposals.saturating_add(1);
        state.proposing.0 = state.proposing.0.saturating_sub(1);
        if state.down.contains(&partition) {
            return Err(lost());
        }
        // Background reports would eat the faults of the test.
        let background = matches!(
            command.change,
            Change::Tick | Change::Report { .. } | Change::AdvanceWatermark | Change::Fence { .. }
        );
        let fault = if background {
            None
        } else {
            state.faults.pop_front()
        };
        match fault {
            Some(Fault::Lost) => Err(lost()),
            Some(Fault::AnswerLost) => state.apply(partition, command).and_then(|_| Err(lost())),
            None => state.apply(partition, command),
        }
    }

    async fn read(&self, partition: PartitionId, query: Query) -> Result<Reply, MetaError> {
        tokio::task::yield_now().await;
        let kind = discriminant(&query);
        *self.0.lock().asked.entry(kind).or_default() += 1;
        let mut held = self.1.subscribe();
        if held.wait_for(|held| *held != Some(kind)).await.is_err() {
            return Err(MetaError::Closed);
        }
        let mut state = self.0.lock();
        if state.down.contains(&partition) {
            return Err(MetaError::Unavailable("no leader".into()));
        }
        let partition = state.partition(partition)?;
        query::answer(&partition.rows, &query, partition.index).map_err(|error| damaged(&error))
    }

    async fn stamp(&self, _partition: PartitionId) -> Result<Stamp, MetaError> {
        Ok(Stamp(self.0.lock().now))
    }

    fn applied(&self, partition: PartitionId) -> u64 {
        self.0
            .lock()
            .partitions
            .get(&partition)
            .map_or(0, |partition| partition.index)
    }

    fn partitions(&self) -> Vec<PartitionId> {
        self.0.lock().partitions.keys().copied().collect()
    }
}
