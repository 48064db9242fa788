//! Rolls forward what `CreateBucket` and `DeleteBucket` left between their steps.

use crate::EngineError;
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{ControlQuery, ControlReply};
use engine_types::PartitionId;
use std::sync::Arc;
use std::time::Duration;

/// A name that has been on its way for so long was left by somebody.
const LEFT_AFTER_MS: u64 = 60_000;

#[derive(Debug)]
pub(crate) struct Settler;

#[async_trait]
impl Worker for Settler {
    fn name(&self) -> &'static str {
        "buckets"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.settle_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let ControlReply::Buckets(names, more) =
            inner.ask_control(ControlQuery::UnsettledBuckets).await?
        else {
            return Err(EngineError::unexpected("UnsettledBuckets"));
        };
        let now = inner.metadata.stamp(PartitionId::CONTROL).await?;
        for (name, row) in names {
            // A deletion's beginning is not kept; each of its steps is idempotent, so to help one
            // that is still under way does no harm.
            let creating = row.state == engine_core::meta::BucketState::Creating;
            if creating && row.created > now.minus_ms(LEFT_AFTER_MS) {
                continue;
            }
            inner.settle_bucket(&name, &row).await?;
        }
        Ok(if more { Progress::More } else { Progress::Done })
    }
}
