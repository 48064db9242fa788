//! Puts missing and damaged shards back: those queued in a commit, and those that readers report.
//! What a stripe needs and how it is done: `mend`. Drives that leave are the `walk`'s.

use super::mend::{Mended, Suspect, mend, room};
use crate::EngineError;
use crate::damage::{Damage, Reports};
use crate::engine::Inner;
use crate::stripe_read::StripeAt;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{Query, Reply, Slot};
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
        let (mut progress, mut failed) = match self.reported(inner).await {
            Ok(progress) => (progress, None),
            Err(error) => (Progress::Done, Some(error)),
        };
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
        let mut failed = None;
        for _ in 0..STRIPES_PER_TICK {
            // One mend may wait long for a drive; what is not taken is found again.
            if inner.life.is_cancelled() {
                return Ok(Progress::Done);
            }
            let Some(damage) = reports.pop() else {
                return failed.map_or(Ok(Progress::Done), Err);
            };
            // One that cannot be mended does not stand in the others' way: its repair has reported
            // its other shards, more urgent than all else.
            let (data, stripe) = (damage.data, damage.stripe);
            if let Err(error) = mend_damage(inner, damage).await {
                inner.damage.forget(data, stripe);
                failed = Some(error);
                #[cfg(sabotage)]
                if engine_types::sabotage("stop-at-unmendable") {
                    break;
                }
            }
        }
        failed.map_or(Ok(Progress::More), Err)
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
        let mut failed = None;
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
            if let Err(error) = mend(inner, &at, None).await {
                failed = Some(error);
                #[cfg(sabotage)]
                if engine_types::sabotage("stop-at-unmendable") {
                    break;
                }
            }
            self.after.insert(partition, (bucket, key, data, stripe));
        }
        if !full {
            self.after.remove(&partition);
        }
        failed.map_or(Ok(if full { Progress::More } else { Progress::Done }), Err)
    }
}

/// Mends what was reported, and tells where that is not possible: whoever looks after it asks again,
/// and nobody else would say why it does not end.
async fn mend_damage(inner: &Arc<Inner>, damage: Damage) -> Result<(), EngineError> {
    let Damage {
        partition,
        bucket,
        key,
        data,
        stripe,
        index,
        drive,
        token,
        lies,
        ..
    } = damage;
    let at = StripeAt {
        partition,
        bucket,
        key,
        data,
        stripe,
    };
    let slot = Slot { drive, token };
    let mended = mend(inner, &at, Some(Suspect { index, slot, lies })).await?;
    match mended {
        Mended::Blocked => {
            let writable = inner.drives.view(room()).writable.len();
            tracing::warn!(%drive, index, %data, stripe, writable, "a damaged shard waits: the drives do not allow its repair now");
        }
        Mended::Raced => {
            tracing::info!(%drive, index, %data, stripe, "a damaged shard's stripe moved meanwhile");
        }
        Mended::Sound | Mended::Done { .. } => {
            tracing::info!(%drive, index, %data, stripe, ?mended, "a reported shard was looked after");
        }
    }
    Ok(())
}
