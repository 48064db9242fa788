//! Packs small objects: moves the sealed bytes of inline parts, once they are a minute old, into
//! erasure-coded stripes, so that the tables stay small and a small object costs what a large one
//! does; and packs anew what is left of packs of which less than half lives.
//!
//! The order is that of a PUT: birth opened, bytes sealed already, all shards durable, then one
//! compare-and-set that moves every member that is still where it was read ([`mod@write`]). A failure
//! before it leaves copies that are freed, a crash leaves orphans; readers hold bytes or pins. Two
//! packers of one partition are safe and waste work: whoever commits first has the member.
//!
//! A pass over a partition reads the rows that wait, oldest first, until the first that is too
//! young: it costs what there is to pack, however many objects there are. Bytes are read only of
//! what fills a pack. Who has little to pack waits: packs of a few KiB would cost a block on every
//! drive each. So below [`PACK_BYTES_MIN`] for [`PACK_WAIT`], and below [`PACK_BYTES_FLOOR`] for
//! good; then the metadata holds at most that much of each class in each partition. As many as a pack may
//! have are packed however short: inline each would keep a row of its own, and one that says it waits.

mod sparse;
mod write;

use crate::EngineError;
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{PACK_PAGE_MAX, PackQuery, PackReply, Query, Reply, UnpackedRow};
use engine_types::{BirthId, DataId, PackId, PartitionId, Stamp, StorageClass};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use write::Draft;

/// A small object stays inline for so long: what is overwritten soon is never packed.
pub(crate) const PACK_AGE: Duration = Duration::from_mins(1);
/// Sealed bytes of one class in one partition that are worth a pack at once.
pub(crate) const PACK_BYTES_MIN: u64 = 1 << 20;
/// Fewer are packed when the oldest has waited for so long …
pub(crate) const PACK_WAIT: Duration = Duration::from_hours(1);
/// … if there are as many as this.
pub(crate) const PACK_BYTES_FLOOR: u64 = 64 << 10;
/// Storage classes of which packs are drafted at once in one partition; others wait for their turn.
const CLASSES_MAX: usize = 16;

/// One worker for all partitions: packing is one stripe at a time, so that it never holds more of
/// the buffers than one upload does.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    /// Where each partition's pass goes on; none: from the oldest.
    after: BTreeMap<PartitionId, DataId>,
    /// … and its next look for sparse packs.
    sparse: BTreeMap<PartitionId, PackId>,
}

#[async_trait]
impl Worker for Packer {
    fn name(&self) -> &'static str {
        "pack"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.pack_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let mut progress = Progress::Done;
        let mut failed = None;
        for partition in inner.metadata.partitions() {
            if partition == PartitionId::CONTROL || inner.life.is_cancelled() {
                continue;
            }
            match self.partition(inner, partition).await {
                Ok(Progress::More) => progress = Progress::More,
                Ok(Progress::Done) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(progress), Err)
    }
}

impl Packer {
    /// One pack of what waits, or, at the end of a pass, what is left; and one of sparse packs, since
    /// where objects come as fast as they are packed the end never comes.
    async fn partition(
        &mut self,
        inner: &Arc<Inner>,
        partition: PartitionId,
    ) -> Result<Progress, EngineError> {
        let now = inner.metadata.stamp(partition).await?;
        let before = now.minus_ms(millis(inner.options.pack_age));
        let mut drafts = Drafts::default();
        let full = self.fill(inner, partition, before, &mut drafts).await?;
        if let Some(draft) = full {
            // What else was read goes on waiting: its turn comes in the next pass.
            write::inline(inner, partition, draft).await?;
            self.sparse(inner, partition).await?;
            return Ok(Progress::More);
        }
        self.after.remove(&partition);
        let old = now.minus_ms(millis(inner.options.pack_wait));
        for draft in drafts.0.into_values() {
            if worth(inner, &draft, old) {
                write::inline(inner, partition, draft).await?;
            }
        }
        self.sparse(inner, partition).await
    }

    async fn sparse(
        &mut self,
        inner: &Arc<Inner>,
        partition: PartitionId,
    ) -> Result<Progress, EngineError> {
        let mut after = self.sparse.remove(&partition);
        let done = sparse::partition(inner, partition, &mut after).await;
        self.sparse.extend(after.map(|after| (partition, after)));
        done
    }

    /// Reads on until one class fills a pack; none: the end came first.
    async fn fill(
        &mut self,
        inner: &Inner,
        partition: PartitionId,
        before: Stamp,
        drafts: &mut Drafts,
    ) -> Result<Option<Draft>, EngineError> {
        loop {
            let after = self.after.get(&partition).copied();
            let limit = PACK_PAGE_MAX;
            let query = PackQuery::Unpacked {
                after,
                before,
                limit,
            };
            let PackReply::Unpacked(rows) = ask(inner, partition, query).await? else {
                return Err(EngineError::unexpected("Unpacked"));
            };
            let end = rows.len() < limit as usize;
            for (data, row) in rows {
                if let Some(full) = drafts.add(data, &row) {
                    // The row that did not fit is read again.
                    return Ok(Some(full));
                }
                self.after.insert(partition, data);
            }
            if end {
                return Ok(None);
            }
        }
    }
}

/// Packs being drafted, one for each class.
#[derive(Debug, Default)]
struct Drafts(BTreeMap<StorageClass, Draft>);

impl Drafts {
    /// Takes a part, or hands out the draft that is full without it.
    fn add(&mut self, data: DataId, row: &UnpackedRow) -> Option<Draft> {
        if !self.0.contains_key(&row.class) && self.0.len() == CLASSES_MAX {
            return None;
        }
        let draft = self
            .0
            .entry(row.class.clone())
            .or_insert_with(|| Draft::new(row.class.clone()));
        if draft.add(data, row) {
            return None;
        }
        self.0.remove(&row.class)
    }
}

/// Whether a draft that is not full is to be packed.
fn worth(inner: &Inner, draft: &Draft, old: Stamp) -> bool {
    let least = inner.options.pack_bytes_min;
    let waited = draft.oldest().is_some_and(|oldest| oldest.birth() < old);
    draft.bytes() >= least || (waited && draft.bytes() >= PACK_BYTES_FLOOR.min(least))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn ask(
    inner: &Inner,
    partition: PartitionId,
    query: PackQuery,
) -> Result<PackReply, EngineError> {
    match inner.ask(partition, Query::Packs(query)).await? {
        Reply::Packs(reply) => Ok(reply),
        _ => Err(EngineError::unexpected("Packs")),
    }
}

#[cfg(test)]
mod tests {
    use super::write::MEMBERS_MAX;
    use super::*;
    use engine_core::meta::PACK_BYTES_MAX;
    use engine_types::{BucketId, ObjectKey};

    fn row(class: &str, length: u32) -> UnpackedRow {
        let (key, class) = (
            ObjectKey::parse("k").unwrap(),
            StorageClass::parse(class).unwrap(),
        );
        UnpackedRow {
            bucket: BucketId(1),
            key,
            class,
            length,
        }
    }

    fn id(number: usize) -> DataId {
        DataId((number as u128).to_be_bytes())
    }

    #[test]
    fn a_draft_of_so_many_is_handed_out_and_one_more_begins_the_next() {
        for length in [16, 16_400] {
            let mut drafts = Drafts::default();
            for number in 0..MEMBERS_MAX {
                let added = drafts.add(id(number), &row("STANDARD", length));
                assert!(added.is_none());
                let other = row("GLACIER", 16);
                assert!(number > 0 || drafts.add(id(number), &other).is_none());
            }
            let full = drafts.add(id(MEMBERS_MAX), &row("STANDARD", length));
            let full = full.expect("handed out");
            assert_eq!(full.bytes(), MEMBERS_MAX as u64 * u64::from(length));
            assert_eq!(drafts.0.len(), 1, "the other class's");
        }
    }

    #[test]
    fn a_draft_is_handed_out_when_the_next_does_not_fit() {
        const LENGTH: u32 = 100_000;
        let mut drafts = Drafts::default();
        let mut taken = 0;
        let full = loop {
            if let Some(full) = drafts.add(id(0), &row("STANDARD", LENGTH)) {
                break full;
            }
            taken += 1;
        };
        assert_eq!(full.bytes(), taken * u64::from(LENGTH));
        assert!(taken < MEMBERS_MAX as u64);
        let most = PACK_BYTES_MAX as u64;
        assert!(full.bytes() < most && full.bytes() + u64::from(LENGTH) + 200 * taken > most);
    }

    #[test]
    fn as_many_classes_as_may_be_and_one_more_waits() {
        let mut drafts = Drafts::default();
        for n in 0..=CLASSES_MAX {
            assert!(
                drafts
                    .add(DataId([1; 16]), &row(&format!("CLASS_{n}"), 16))
                    .is_none()
            );
        }
        assert_eq!(drafts.0.len(), CLASSES_MAX);
    }
}
