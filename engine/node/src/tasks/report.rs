//! Tells every partition which births are open here, fences who is gone, and moves the watermark.

use crate::EngineError;
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{Change, Query, Refusal, Reply};
use engine_types::{BootId, NodeId, PartitionId, Stamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A boot that has not reported for so long is fenced.
pub(crate) const BOOT_SILENT_MS: u64 = 60_000;
/// Reports to one move of the watermark: nothing waits for it but the orphan clean-up.
const ADVANCE_TICKS: u32 = 6;
/// In-process restarts of a boot's number: a fenced boot goes on under the next.
const BOOT_SHIFT: u32 = 16;

#[derive(Debug, Default)]
pub(crate) struct Reporter {
    /// Times this process found itself fenced.
    fenced: u64,
    ticks: u32,
    /// Partitions in which predecessors are fenced.
    succeeded: BTreeSet<PartitionId>,
}

#[async_trait]
impl Worker for Reporter {
    fn name(&self) -> &'static str {
        "watermark"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.report_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let mut failed = None;
        self.ticks = self.ticks.wrapping_add(1);
        for partition in inner.metadata.partitions() {
            // One partition without a majority must not silence the others.
            if let Err(error) = self.partition(inner, partition).await {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(Progress::Done), Err)
    }
}

impl Reporter {
    fn boot(&self, inner: &Inner) -> BootId {
        BootId((inner.boot.0 << BOOT_SHIFT) + self.fenced)
    }

    async fn partition(
        &mut self,
        inner: &Inner,
        partition: PartitionId,
    ) -> Result<(), EngineError> {
        let node = inner.node;
        if !self.succeeded.contains(&partition) {
            if let Some(before) = (inner.boot.0 << BOOT_SHIFT).checked_sub(1) {
                fence(inner, partition, node, BootId(before)).await?;
            }
            self.succeeded.insert(partition);
        }
        let oldest = inner.births.oldest(partition);
        let report = Change::Report {
            node,
            boot: self.boot(inner),
            oldest,
        };
        match inner.propose(partition, report).await.answer() {
            Err(EngineError::Refused(Refusal::Fenced)) => {
                tracing::error!(%partition, "this boot was fenced; open uploads will be refused");
                self.fenced += 1;
                return Ok(());
            }
            other => drop(other?),
        }
        if self.ticks % ADVANCE_TICKS != 1 {
            return Ok(());
        }
        fence_silent(inner, partition, node).await?;
        inner
            .propose(partition, Change::AdvanceWatermark)
            .await
            .answer()
            .map(drop)
    }
}

async fn fence(
    inner: &Inner,
    partition: PartitionId,
    node: NodeId,
    boot: BootId,
) -> Result<(), EngineError> {
    inner
        .propose(partition, Change::Fence { node, boot })
        .await
        .answer()
        .map(drop)
}

/// Fences boots of other nodes that are silent, so that the watermark goes on without them.
async fn fence_silent(
    inner: &Inner,
    partition: PartitionId,
    own: NodeId,
) -> Result<(), EngineError> {
    let Reply::Boots(boots) = inner.ask(partition, Query::Boots).await? else {
        return Err(EngineError::unexpected("Boots"));
    };
    let now: Stamp = inner.metadata.stamp(partition).await?;
    for (node, row) in boots {
        if node != own && !row.fenced && row.reported < now.minus_ms(BOOT_SILENT_MS) {
            tracing::warn!(%node, %partition, "a silent node's boot is fenced");
            fence(inner, partition, node, row.boot).await?;
        }
    }
    Ok(())
}
