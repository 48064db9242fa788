//! Frees what is dead: not before every reader that may still need it is gone, and its row goes only
//! after every drive that held a copy has acknowledged, or has left the layout.

use crate::EngineError;
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{Change, DeadRow, DeadThing, Place, Query, Reply, Slot};
use engine_types::{BucketId, DataId, ObjectKey, PartitionId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Dead rows looked at in one tick of one partition.
const DEAD_PER_TICK: u32 = 256;

type Cursor = (BucketId, ObjectKey, [u8; 16]);

#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// Where each partition's next tick goes on: rows that have to wait must not block others.
    after: BTreeMap<PartitionId, Cursor>,
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
        let mut progress = Progress::Done;
        let mut failed = None;
        for partition in inner.metadata.partitions() {
            match self.partition(inner, partition).await {
                Ok(Progress::More) => progress = Progress::More,
                Ok(Progress::Done) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(progress), Err)
    }
}

impl Collector {
    async fn partition(
        &mut self,
        inner: &Inner,
        partition: PartitionId,
    ) -> Result<Progress, EngineError> {
        if partition == PartitionId::CONTROL {
            return Ok(Progress::Done);
        }
        let now = inner.metadata.stamp(partition).await?;
        let before =
            now.minus_ms(u64::try_from(inner.options.gc_grace.as_millis()).unwrap_or(u64::MAX));
        let after = self.after.remove(&partition);
        let query = Query::Dead {
            after,
            before,
            limit: DEAD_PER_TICK,
        };
        // Asked after the look at the stamp: a reader that comes later pins what is applied by then.
        let Reply::Dead(rows) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("Dead"));
        };
        let full = rows.len() >= DEAD_PER_TICK as usize;
        let mut again = false;
        for (bucket, key, row) in rows {
            if inner.life.is_cancelled() {
                return Ok(Progress::Done);
            }
            let cursor = (bucket, key.clone(), row.thing.id());
            // Died at an index above the oldest pin: its reader may have seen it alive.
            let pinned = inner
                .pins
                .oldest(partition)
                .is_some_and(|pin| row.index > pin);
            if !pinned && collect(inner, partition, (bucket, &key), &row).await? {
                again |= matches!(row.thing, DeadThing::Manifest(_));
            }
            self.after.insert(partition, cursor);
        }
        if full {
            return Ok(Progress::More);
        }
        self.after.remove(&partition);
        Ok(if again {
            Progress::More
        } else {
            Progress::Done
        })
    }
}

/// Frees one dead thing's copies and lets its row go. False: some drive has not acknowledged.
async fn collect(
    inner: &Inner,
    partition: PartitionId,
    (bucket, key): (BucketId, &ObjectKey),
    row: &DeadRow,
) -> Result<bool, EngineError> {
    let freed = match row.thing {
        DeadThing::Manifest(_) => true,
        DeadThing::Copy(slot) => inner.free(&[slot]).await,
        DeadThing::Part(data) => {
            let slots = slots_of(inner, partition, (bucket, key), data).await?;
            inner.free(&slots).await
        }
    };
    #[cfg(sabotage)]
    let freed = freed || engine_types::sabotage("freed-without-ack");
    if freed {
        let change = Change::Freed {
            bucket,
            key: key.clone(),
            dead: row.thing.id(),
        };
        inner.propose(partition, change).await.answer()?;
    }
    Ok(freed)
}

/// Every copy of a part.
async fn slots_of(
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
