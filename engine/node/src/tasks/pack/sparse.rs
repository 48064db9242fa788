//! Packs anew what is left of sparse packs, several into one.
//!
//! Their bytes come from the drives, verified by the shards' checksums and against each other
//! ([`crate::cross_check`]); that they are authentic is their readers' to judge, because a customer's
//! key is not here. The members that have moved make
//! the old pack lose them in the same commit; with the last the old pack dies, and is freed behind
//! the pins of those who read it.

use super::write::Pack;
use super::{PACK_BYTES_FLOOR, ask};
use crate::EngineError;
use crate::cross_check::CHECK_BYTES_MAX;
use crate::engine::Inner;
use crate::metrics::PACKS_REPACKED;
use crate::stripe_read::StripeAt;
use crate::worker::Progress;
use engine_core::meta::{
    Contents, PACK_BYTES_MAX, PACK_PAGE_MAX, PACKS, PackQuery, PackReply, PackRow, Query, Reply,
    pack_data, pack_key,
};
use engine_types::{PackId, PartitionId, StorageClass};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sparse packs looked at in one tick of one partition: of 8 MiB each, their lists alone would be
/// too many for one more.
const SPARSE_PER_TICK: u32 = 256;
const _: () = assert!(SPARSE_PER_TICK <= PACK_PAGE_MAX, "one page");

/// One pack made of sparse ones of one class, where that is worth it. `after`: where the next look
/// goes on, because packs that cannot be read must not block others; none: with the first.
pub(super) async fn partition(
    inner: &Arc<Inner>,
    partition: PartitionId,
    after: &mut Option<PackId>,
) -> Result<Progress, EngineError> {
    let query = PackQuery::Packs {
        after: after.take(),
        sparse: true,
        limit: SPARSE_PER_TICK,
    };
    let PackReply::Packs(packs) = ask(inner, partition, query).await? else {
        return Err(EngineError::unexpected("Packs"));
    };
    let full = packs.len() >= SPARSE_PER_TICK as usize;
    *after = packs.last().map(|(last, _)| *last).filter(|_| full);
    let mut classes: BTreeMap<StorageClass, Vec<(PackId, PackRow)>> = BTreeMap::new();
    for (id, pack) in packs {
        // At 0 it waits for other partitions: there is nothing here to move.
        if pack.live > 0 {
            classes
                .entry(pack.class.clone())
                .or_default()
                .push((id, pack));
        }
    }
    let mut progress = if full { Progress::More } else { Progress::Done };
    for (class, packs) in classes {
        if worth(inner, &packs) && repack(inner, partition, class, &packs).await? > 0 {
            progress = Progress::More;
        }
    }
    Ok(progress)
}

/// Enough to be moved, or enough to be won.
fn worth(inner: &Inner, packs: &[(PackId, PackRow)]) -> bool {
    let live: u64 = packs.iter().map(|(_, pack)| pack.live).sum();
    let bytes: u64 = packs.iter().map(|(_, pack)| pack.bytes).sum();
    let least = inner.options.pack_bytes_min;
    live >= PACK_BYTES_FLOOR.min(least) || bytes - live.min(bytes) >= least
}

async fn repack(
    inner: &Arc<Inner>,
    partition: PartitionId,
    class: StorageClass,
    packs: &[(PackId, PackRow)],
) -> Result<u32, EngineError> {
    // One old pack is in memory beside the new one, and shards of it.
    let room = (PACK_BYTES_MAX, PACK_BYTES_MAX + CHECK_BYTES_MAX);
    let mut pack = Pack::begin(inner, partition, class, room).await?;
    let (mut room, mut moved) = (PACK_BYTES_MAX as u64, 0);
    for (id, row) in packs {
        if pack.is_full() {
            break;
        }
        let Some(left) = room.checked_sub(row.live) else {
            continue;
        };
        match members(inner, partition, *id, &mut pack).await {
            Ok(()) => (room, moved) = (left, moved + 1),
            // Its shards are out of reach, or damaged beyond repair: the others need not wait.
            Err(error) => tracing::warn!(pack = %id, %error, "a sparse pack could not be read"),
        }
    }
    let packed = pack.finish().await?;
    metrics::counter!(PACKS_REPACKED).increment(moved);
    Ok(packed)
}

/// Adds what lives of a pack to the new one.
async fn members(
    inner: &Inner,
    partition: PartitionId,
    id: PackId,
    into: &mut Pack<'_>,
) -> Result<(), EngineError> {
    let at = StripeAt {
        partition,
        bucket: PACKS,
        key: pack_key(id),
        data: pack_data(id),
        stripe: 0,
    };
    let query = Query::Part {
        bucket: at.bucket,
        key: at.key.clone(),
        data: at.data,
        first: 0,
    };
    let Reply::Part(found) = inner.ask(partition, query).await? else {
        return Err(EngineError::unexpected("Part"));
    };
    let Some(stripe) = found.and_then(|part| part.stripes.into_iter().next()) else {
        return Ok(());
    };
    let mut bytes = vec![0; stripe.length as usize];
    inner.read_to_encode(&at, &stripe, None, &mut bytes).await?;
    let listed =
        Contents::decode(&bytes).map_err(|error| EngineError::DataLost(error.to_string()))?;
    for listed in listed.chunks(PACK_PAGE_MAX as usize) {
        let query = PackQuery::Within {
            pack: id,
            members: listed.to_vec(),
        };
        let PackReply::Within(held) = ask(inner, partition, query).await? else {
            return Err(EngineError::unexpected("Within"));
        };
        let live = listed
            .iter()
            .zip(held)
            .filter_map(|(member, held)| held.then_some(member));
        for member in live {
            let sealed = member.range().and_then(|range| bytes.get(range));
            if let Some(sealed) = sealed {
                into.add(member, sealed, Some(id));
            }
        }
    }
    Ok(())
}
