//! Puts missing and damaged shards back: those queued in a commit, and those that readers report.
//! What a stripe needs and how it is done: `mend`. Drives that leave are the `walk`'s.

use super::mend::mend;
use crate::EngineError;
use crate::damage::{Damage, Reports};
use crate::engine::Inner;
use crate::stripe_read::StripeAt;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{Query, Reply};
use engine_types::{BucketId, DataId, ObjectKey, PartitionId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Stripes looked at in one tick of one partition, and reports taken.
const STRIPES_PER_TICK: u32 = 64;

type Cursor = (BucketId, ObjectKey, DataId, u32);

#[derive(Debug, Default)]
pub(crate) struct Repairer {
    reports: Option<Reports>,
    /// Where each partition's next tick goes on: stripes that cannot be repaired yet must not
    /// block others.
    after: BTreeMap<PartitionId, Cursor>,
}

#[async_trait]
impl Worker for Repairer {
    fn name(&self) -> &'static str {
        "repair"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.repair_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        if self.reports.is_none() {
            self.reports = inner.damage.take();
        }
        let mut progress = self.reported(inner).await?;
        let mut failed = None;
        for partition in inner.metadata.partitions() {
            match self.queued(inner, partition).await {
                Ok(Progress::More) => progress = Progress::More,
                Ok(Progress::Done) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(progress), Err)
    }
}

impl Repairer {
    async fn reported(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let Some(reports) = &mut self.reports else {
            return Ok(Progress::Done);
        };
        for _ in 0..STRIPES_PER_TICK {
            let Some(damage) = reports.pop() else {
                return Ok(Progress::Done);
            };
            let Damage {
                partition,
                bucket,
                key,
                data,
                stripe,
                index,
                drive,
                ..
            } = damage;
            let at = StripeAt {
                partition,
                bucket,
                key,
                data,
                stripe,
            };
            mend(inner, &at, Some((index, drive))).await?;
        }
        Ok(Progress::More)
    }

    async fn queued(
        &mut self,
        inner: &Arc<Inner>,
        partition: PartitionId,
    ) -> Result<Progress, EngineError> {
        if partition == PartitionId::CONTROL {
            return Ok(Progress::Done);
        }
        let query = Query::Repairs {
            after: self.after.remove(&partition),
            limit: STRIPES_PER_TICK,
        };
        let Reply::Repairs(rows) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("Repairs"));
        };
        let full = rows.len() >= STRIPES_PER_TICK as usize;
        for (bucket, key, data, stripe) in rows {
            if inner.life.is_cancelled() {
                return Ok(Progress::Done);
            }
            let at = StripeAt {
                partition,
                bucket,
                key: key.clone(),
                data,
                stripe,
            };
            mend(inner, &at, None).await?;
            self.after.insert(partition, (bucket, key, data, stripe));
        }
        if full {
            return Ok(Progress::More);
        }
        self.after.remove(&partition);
        Ok(Progress::Done)
    }
}
