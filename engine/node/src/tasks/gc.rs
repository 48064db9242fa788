//! Frees what is dead: not before every reader that may still need it is gone, and its row goes only
//! after every drive that held a copy has acknowledged, or has left the layout.
//!
//! A page of rows costs each drive one free, and so one sync, whatever is in it; where the copies are
//! is asked for several rows at once, and their rows go side by side: one after the other they would
//! go by the latency of a sync and a commit each, slower than they come. Nothing in a page depends on
//! the rest of it.
//!
//! A row that only drives keep which take no frees is not looked at again before other drives take
//! them: all that is dead hangs on a drive that is out, and that may last for days.

use crate::EngineError;
use crate::drives::Service;
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{Change, DeadRow, DeadThing, Place, Query, Reply, Slot};
use engine_types::{BucketId, DataId, DriveId, ObjectKey, PartitionId, Stamp};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Dead rows looked at in one tick of one partition.
const DEAD_PER_TICK: u32 = 256;
/// Pages of rows that are known to wait, gone past in one tick of one partition.
const PAGES_PER_TICK: u32 = 16;
/// Partitions gone over at once.
const PARTITIONS_AT_ONCE: usize = 8;
/// Parts whose copies are asked for at once, of one partition.
const PARTS_AT_ONCE: usize = 16;
/// Copies from which on they are freed, before more is asked for: a part has some thousands at most.
const COPIES_AT_ONCE: usize = 16 * 1024;
/// Rows on their way out at once, of one partition: they share a few entries of its log's syncs.
const ROWS_AT_ONCE: usize = 64;

type Cursor = (BucketId, ObjectKey, [u8; 16]);
type Row = (BucketId, ObjectKey, DeadRow);

#[derive(Debug, Default)]
pub(crate) struct Collector {
    passes: BTreeMap<PartitionId, Pass>,
}

/// Drives that take frees, of this layout.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Takers {
    layout: u64,
    drives: BTreeSet<DriveId>,
}

impl Takers {
    fn now(inner: &Inner) -> Self {
        let takes = |service| matches!(service, Service::Up | Service::Full);
        let here = inner.drives.here().into_iter();
        let here = here.filter(|drive| takes(drive.service()));
        Self {
            layout: inner.drives.layout().version,
            drives: here.map(|drive| drive.row.id).collect(),
        }
    }
}

/// One partition's way through its dead rows, from the first to the last and over again.
#[derive(Debug)]
struct Pass {
    /// Where the next tick goes on: rows that have to wait must not block others.
    after: Option<Cursor>,
    /// As it began.
    takers: Takers,
    /// What was dead before then and is still there by the end waits for other takers.
    settled: Stamp,
    /// That of the passes before, while the takers are these.
    waits: Option<(Takers, Stamp)>,
}

#[async_trait]
impl Worker for Collector {
    fn name(&self) -> &'static str {
        "gc"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.gc_period
    }
    fn asked(&self, inner: &Inner) -> Option<Arc<Notify>> {
        Some(Arc::clone(&inner.clean_up.dead))
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let all = inner.metadata.partitions().into_iter();
        let all = all.filter(|partition| *partition != PartitionId::CONTROL);
        let ticks: Vec<_> = all
            .map(|partition| {
                let pass = self.passes.remove(&partition);
                let pass = pass.unwrap_or_else(|| Pass::new(Takers::now(inner)));
                one(inner, partition, pass)
            })
            .collect();
        let mut ticks = stream::iter(ticks).buffer_unordered(PARTITIONS_AT_ONCE);
        let mut progress = Progress::Done;
        let mut failed = None;
        while let Some((partition, pass, done)) = ticks.next().await {
            self.passes.insert(partition, pass);
            match done {
                Ok(Progress::More) => progress = Progress::More,
                Ok(Progress::Done) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(progress), Err)
    }
}

async fn one(
    inner: &Inner,
    partition: PartitionId,
    mut pass: Pass,
) -> (PartitionId, Pass, Result<Progress, EngineError>) {
    let done = pass.tick(inner, partition).await;
    (partition, pass, done)
}

impl Pass {
    fn new(takers: Takers) -> Self {
        Self {
            after: None,
            takers,
            settled: Stamp(0),
            waits: None,
        }
    }

    async fn tick(
        &mut self,
        inner: &Inner,
        partition: PartitionId,
    ) -> Result<Progress, EngineError> {
        for _ in 0..PAGES_PER_TICK {
            if inner.life.is_cancelled() {
                return Ok(Progress::Done);
            }
            let page = self.page(inner, partition).await?;
            if page.last || page.looked {
                let more = !page.last || page.expanded;
                return Ok(if more { Progress::More } else { Progress::Done });
            }
        }
        Ok(Progress::More)
    }

    async fn page(&mut self, inner: &Inner, partition: PartitionId) -> Result<Page, EngineError> {
        let now = inner.metadata.stamp(partition).await?;
        let before =
            now.minus_ms(u64::try_from(inner.options.gc_grace.as_millis()).unwrap_or(u64::MAX));
        let takers = Takers::now(inner);
        self.waits.take_if(|(of, _)| *of != takers);
        if self.after.is_none() {
            (self.takers, self.settled) = (takers, before);
        }
        let query = Query::Dead {
            after: self.after.clone(),
            before,
            limit: DEAD_PER_TICK,
        };
        // Asked after the look at the stamp: a reader that comes later pins what is applied by then.
        let Reply::Dead(rows) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("Dead"));
        };
        let last = rows.len() < DEAD_PER_TICK as usize;
        let end = rows.last();
        let end = end.map(|(bucket, key, row)| (*bucket, key.clone(), row.thing.id()));
        let due = self.due(inner, partition, rows);
        let mut page = Page {
            last,
            looked: !due.is_empty(),
            expanded: false,
        };
        // What goes wrong with one row does not stand in the way of those behind it.
        let done = self.collect(inner, partition, due, &mut page).await;
        self.after = end.filter(|_| !last);
        done?;
        if last {
            self.end();
        }
        Ok(page)
    }

    /// The rows that may go now, as far as is known.
    fn due(&mut self, inner: &Inner, partition: PartitionId, rows: Vec<Row>) -> Vec<Row> {
        let waits = self.waits.as_ref().map(|(_, before)| *before);
        // Died at an index above the oldest pin: its reader may have seen it alive.
        let pin = inner.pins.oldest(partition);
        let mut due = Vec::with_capacity(rows.len());
        for (bucket, key, row) in rows {
            if waits.is_some_and(|before| row.since < before) {
                continue;
            }
            if pin.is_some_and(|pin| row.index > pin) {
                self.open(&row);
            } else {
                due.push((bucket, key, row));
            }
        }
        due
    }

    /// A row may go later although the drives stay as they are: nor is anything younger settled.
    fn open(&mut self, row: &DeadRow) {
        self.settled = self.settled.min(row.since);
    }

    fn end(&mut self) {
        let before = self.waits.take().map_or(Stamp(0), |(_, before)| before);
        self.waits = Some((self.takers.clone(), before.max(self.settled)));
    }

    /// Frees dead things' copies and lets those rows go of which every drive has acknowledged.
    async fn collect(
        &mut self,
        inner: &Inner,
        partition: PartitionId,
        due: Vec<Row>,
        page: &mut Page,
    ) -> Result<(), EngineError> {
        // Until the last of them is done with.
        let settled = self.settled;
        for (_, _, row) in &due {
            self.open(row);
        }
        let mut open = settled;
        let looks = due.into_iter().map(|row| async move {
            let slots = slots_of(inner, partition, &row).await?;
            Ok::<_, EngineError>((row, slots))
        });
        let looks: Vec<_> = looks.collect();
        let mut looks = stream::iter(looks).buffered(PARTS_AT_ONCE);
        let (mut found, mut copies) = (Vec::new(), 0);
        loop {
            if inner.life.is_cancelled() {
                return Ok(());
            }
            let next = looks.try_next().await?;
            let end = next.is_none();
            if let Some((row, slots)) = next {
                copies += slots.len();
                found.push((row, slots));
            }
            if end || copies >= COPIES_AT_ONCE {
                let found = std::mem::take(&mut found);
                open = open.min(self.free(inner, partition, found, page).await?);
                copies = 0;
            }
            if end {
                break;
            }
        }
        self.settled = open;
        Ok(())
    }

    /// Frees these; the oldest of those that are to be looked at again.
    async fn free(
        &self,
        inner: &Inner,
        partition: PartitionId,
        found: Vec<(Row, Vec<Slot>)>,
        page: &mut Page,
    ) -> Result<Stamp, EngineError> {
        let all: Vec<Slot> = found.iter().flat_map(|(_, slots)| slots).copied().collect();
        let acknowledged = inner.free_where_it_can_be(&all).await;
        let mut open = Stamp(u64::MAX);
        let mut gone = Vec::with_capacity(found.len());
        for (row, slots) in found {
            let drives = slots.iter().map(|slot| slot.drive);
            let mut missing = drives
                .filter(|drive| !acknowledged.contains(drive))
                .peekable();
            let freed = missing.peek().is_none();
            #[cfg(sabotage)]
            let freed = freed || engine_types::sabotage("freed-without-ack");
            let expands = matches!(row.2.thing, DeadThing::Manifest(_));
            // A drive that took frees when the pass began may well take this one.
            if expands || missing.any(|drive| self.takers.drives.contains(&drive)) {
                open = open.min(row.2.since);
            }
            page.expanded |= expands;
            if freed {
                gone.push(forget(inner, partition, row));
            }
        }
        let mut gone = stream::iter(gone).buffer_unordered(ROWS_AT_ONCE);
        while gone.try_next().await?.is_some() {}
        Ok(open)
    }
}

/// What came of a page of rows.
#[derive(Debug)]
struct Page {
    /// No row follows.
    last: bool,
    /// Some row in it was not known to wait.
    looked: bool,
    /// A dead manifest in it has become dead parts, which may be behind.
    expanded: bool,
}

/// Lets a row go.
async fn forget(
    inner: &Inner,
    partition: PartitionId,
    (bucket, key, row): Row,
) -> Result<(), EngineError> {
    if inner.life.is_cancelled() {
        return Ok(());
    }
    let dead = row.thing.id();
    let change = Change::Freed { bucket, key, dead };
    inner.propose(partition, change).await.answer().map(drop)
}

/// Every copy of a dead thing.
async fn slots_of(
    inner: &Inner,
    partition: PartitionId,
    (bucket, key, row): &Row,
) -> Result<Vec<Slot>, EngineError> {
    match row.thing {
        DeadThing::Manifest(_) => Ok(Vec::new()),
        DeadThing::Copy(slot) => Ok(vec![slot]),
        DeadThing::Part(data) => slots_of_part(inner, partition, (*bucket, key), data).await,
    }
}

/// Every copy of a part.
async fn slots_of_part(
    inner: &Inner,
    partition: PartitionId,
    (bucket, key): (BucketId, &ObjectKey),
    data: DataId,
) -> Result<Vec<Slot>, EngineError> {
    let mut slots = Vec::new();
    let mut first = 0;
    loop {
        let query = Query::Part {
            bucket,
            key: key.clone(),
            data,
            first,
        };
        let Reply::Part(part) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("Part"));
        };
        let Some(part) = part else { return Ok(slots) };
        first += u32::try_from(part.stripes.len()).unwrap_or(u32::MAX);
        slots.extend(
            part.stripes
                .iter()
                .flat_map(|stripe| stripe.slots.iter().flatten()),
        );
        let Place::Stripes(count) = part.row.place else {
            return Ok(slots);
        };
        if first >= count || part.stripes.is_empty() {
            return Ok(slots);
        }
    }
}
