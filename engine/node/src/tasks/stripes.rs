//! All stripes of all partitions, page by page: what a walk over the stripe maps reads.
//!
//! A page is bounded whatever parts are like: of a part with more stripes than one row of its map
//! holds, the rest comes in pages of its own.

use crate::EngineError;
use crate::engine::Inner;
use crate::stripe_read::StripeAt;
use engine_core::meta::{PartFound, Place, Query, Reply, Stripe};
use engine_types::{BucketId, DataId, ObjectKey, PartitionId};
use std::collections::VecDeque;

/// Parts read at once: with up to 64 stripes each, a page stays below 2 MiB.
const PARTS_PER_PAGE: u32 = 128;

/// A part whose later stripes are still to be read.
#[derive(Debug)]
struct Rest {
    partition: PartitionId,
    bucket: BucketId,
    key: ObjectKey,
    data: DataId,
    next: u32,
    count: u32,
}

/// Where a walk is.
#[derive(Debug)]
pub(super) struct Stripes {
    partitions: VecDeque<PartitionId>,
    after: Option<(BucketId, ObjectKey, DataId)>,
    /// At most a page's parts.
    rest: VecDeque<Rest>,
    /// A partition was left out.
    incomplete: bool,
}

impl Stripes {
    /// From the beginning.
    pub(super) fn new(inner: &Inner) -> Self {
        let all = inner.metadata.partitions().into_iter();
        Self {
            partitions: all.filter(|p| *p != PartitionId::CONTROL).collect(),
            after: None,
            rest: VecDeque::new(),
            incomplete: false,
        }
    }

    /// The next page, which may be empty, of the partitions that answer; none: the end. One without a
    /// majority must not leave the stripes of the others short of shards.
    pub(super) async fn page_of_those_that_answer(
        &mut self,
        inner: &Inner,
    ) -> Option<Vec<(StripeAt, Stripe)>> {
        match self.page(inner).await {
            Ok(page) => page,
            Err(error) => {
                let partition = match self.rest.front() {
                    Some(rest) => rest.partition,
                    None => *self.partitions.front()?,
                };
                tracing::warn!(%partition, %error, "a walk over the stripes leaves a partition out");
                self.leave_out(partition);
                Some(Vec::new())
            }
        }
    }

    /// Whether some partition was left out.
    pub(super) fn incomplete(&self) -> bool {
        self.incomplete
    }

    fn leave_out(&mut self, partition: PartitionId) {
        self.incomplete = true;
        self.rest.retain(|rest| rest.partition != partition);
        if self.partitions.front() == Some(&partition) {
            self.partitions.pop_front();
            self.after = None;
        }
    }

    /// The next page, which may be empty; none: the end.
    pub(super) async fn page(
        &mut self,
        inner: &Inner,
    ) -> Result<Option<Vec<(StripeAt, Stripe)>>, EngineError> {
        if let Some(rest) = self.rest.front_mut() {
            let page = rest.page(inner).await?;
            if rest.next >= rest.count || page.is_empty() {
                self.rest.pop_front();
            }
            return Ok(Some(page));
        }
        let Some(partition) = self.partitions.front().copied() else {
            return Ok(None);
        };
        let query = Query::ScanParts {
            after: self.after.clone(),
            limit: PARTS_PER_PAGE,
        };
        let Reply::ScannedParts(parts) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("ScanParts"));
        };
        if parts.len() < PARTS_PER_PAGE as usize {
            self.partitions.pop_front();
            self.after = None;
        } else {
            let last = parts.last();
            self.after = last.map(|(bucket, key, part)| (*bucket, key.clone(), part.data));
        }
        let mut page = Vec::new();
        for (bucket, key, part) in parts {
            self.take(partition, bucket, key, part, &mut page);
        }
        Ok(Some(page))
    }

    fn take(
        &mut self,
        partition: PartitionId,
        bucket: BucketId,
        key: ObjectKey,
        part: PartFound,
        page: &mut Vec<(StripeAt, Stripe)>,
    ) {
        let Place::Stripes(count) = part.row.place else {
            return;
        };
        let mut rest = Rest {
            partition,
            bucket,
            key,
            data: part.data,
            next: 0,
            count,
        };
        page.extend(rest.number(part.stripes));
        if rest.next > 0 && rest.next < count {
            self.rest.push_back(rest);
        }
    }
}

impl Rest {
    async fn page(&mut self, inner: &Inner) -> Result<Vec<(StripeAt, Stripe)>, EngineError> {
        let query = Query::Part {
            bucket: self.bucket,
            key: self.key.clone(),
            data: self.data,
            first: self.next,
        };
        let Reply::Part(found) = inner.ask(self.partition, query).await? else {
            return Err(EngineError::unexpected("Part"));
        };
        // Freed meanwhile: nothing of it is left to look at.
        Ok(self.number(found.map(|part| part.stripes).unwrap_or_default()))
    }

    /// The next stripes under their numbers.
    fn number(&mut self, stripes: Vec<Stripe>) -> Vec<(StripeAt, Stripe)> {
        let first = self.next;
        self.next += u32::try_from(stripes.len()).unwrap_or(u32::MAX);
        let at = |index| StripeAt {
            partition: self.partition,
            bucket: self.bucket,
            key: self.key.clone(),
            data: self.data,
            stripe: index,
        };
        (first..)
            .zip(stripes)
            .map(|(index, stripe)| (at(index), stripe))
            .collect()
    }
}
