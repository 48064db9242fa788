//! Parts: bytes come in under ids never used before, and their stripes move by compare-and-set.

use super::tx::{Step, Tx};
use super::{dead, packs, watermark};
use crate::keys;
use engine_core::meta::{
    Answer, DeadThing, NewPart, NewPlace, PartKey, PartRow, Place, Refusal, STRIPE_CHUNK, Slot,
    Stripe,
};
use engine_types::{BirthId, BucketId, DataId, ObjectKey, Stamp, StorageClass};

/// Writes a new part's rows. Refused where its id or a copy's token was born before the watermark:
/// the collector may already have judged those shards orphans. Refused too where the id is in use:
/// no other bytes are ever sealed under an id.
pub(crate) fn store(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    (part, class): (&NewPart, &StorageClass),
) -> Step<()> {
    let stripes: &[Stripe] = match &part.place {
        NewPlace::Inline(_) => &[],
        NewPlace::Stripes(stripes) => stripes,
    };
    refuse_old_ids(tx, part.data.birth(), stripes)?;
    let used = tx.exists(&keys::part(bucket, key, part.data))?;
    #[cfg(sabotage)]
    let used = used && !engine_types::sabotage("reuse-data-id");
    if used {
        return Err(Refusal::TooOld.into());
    }
    let place = match &part.place {
        NewPlace::Inline(bytes) => {
            tx.write_bytes(keys::inline(bucket, key, part.data), bytes.to_vec());
            packs::wait(tx, (bucket, key), part, class);
            Place::Inline
        }
        NewPlace::Stripes(stripes) => {
            Place::Stripes(store_stripes(tx, bucket, key, part.data, stripes))
        }
    };
    let row = PartRow {
        size: part.size,
        md5: part.md5,
        key: part.key.clone(),
        place,
    };
    tx.write(keys::part(bucket, key, part.data), &row);
    Ok(())
}

/// Refuses a data id or a copy that was born before the watermark.
pub(crate) fn refuse_old_ids(tx: &Tx<'_>, birth: Stamp, stripes: &[Stripe]) -> Step<()> {
    let watermark = watermark(&tx.rows())?;
    refuse_old(birth, watermark)?;
    let slots = stripes
        .iter()
        .flat_map(|stripe| stripe.slots.iter().flatten());
    for slot in slots {
        refuse_old(slot.token.birth(), watermark)?;
    }
    Ok(())
}

fn refuse_old(birth: Stamp, watermark: Stamp) -> Result<(), Refusal> {
    #[cfg(sabotage)]
    if engine_types::sabotage("accept-old-id") {
        return Ok(());
    }
    if birth < watermark {
        Err(Refusal::TooOld)
    } else {
        Ok(())
    }
}

/// Writes a part's stripe map; how many stripes it has.
pub(crate) fn store_stripes(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    data: DataId,
    stripes: &[Stripe],
) -> u32 {
    let mut index = 0;
    for (chunk, stripes) in (0..).zip(stripes.chunks(STRIPE_CHUNK as usize)) {
        tx.write(keys::stripes(bucket, key, data, chunk), &stripes);
        for stripe in stripes {
            queue_repair(
                tx,
                &StripeOf {
                    bucket,
                    key,
                    data,
                    index,
                },
                stripe,
            );
            index += 1;
        }
    }
    index
}

/// One stripe of one part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StripeOf<'a> {
    /// Bucket.
    pub(crate) bucket: BucketId,
    /// Key.
    pub(crate) key: &'a ObjectKey,
    /// Part.
    pub(crate) data: DataId,
    /// Which stripe of it.
    pub(crate) index: u32,
}

/// Keeps `repairs` in step: a row for each stripe that misses a slot.
fn queue_repair(tx: &mut Tx<'_>, of: &StripeOf<'_>, stripe: &Stripe) {
    #[cfg(sabotage)]
    if engine_types::sabotage("queue-no-repair") {
        return;
    }
    if stripe.slots.iter().any(Option::is_none) {
        let missing = stripe.slots.iter().filter(|slot| slot.is_none()).count();
        let missing = u8::try_from(missing).unwrap_or(u8::MAX);
        tx.write(keys::repair(of.bucket, of.key, of.data, of.index), &missing);
    }
}

/// Sets a stripe's map from what the proposer read to what it shall be. The copies no longer named
/// go into `dead` in the same apply.
pub(crate) fn move_stripe(
    tx: &mut Tx<'_>,
    of: &StripeOf<'_>,
    from: &Stripe,
    to: &Stripe,
) -> Step<Answer> {
    let StripeOf {
        bucket,
        key,
        data,
        index,
    } = *of;
    let part: Option<PartRow> = tx.read(&keys::part(bucket, key, data))?;
    let held =
        part.is_some_and(|part| matches!(part.place, Place::Stripes(count) if index < count));
    let dead = tx.exists(&keys::dead(bucket, key, &data.0))?;
    #[cfg(sabotage)]
    let dead = dead && !engine_types::sabotage("move-the-dead");
    if !held || dead {
        return Err(Refusal::Changed.into());
    }
    let chunk_key = keys::stripes(bucket, key, data, index / STRIPE_CHUNK);
    let mut chunk: Vec<Stripe> = tx.read(&chunk_key)?.unwrap_or_default();
    let stripe = chunk
        .get_mut((index % STRIPE_CHUNK) as usize)
        .ok_or(Refusal::Changed)?;
    let shaped =
        to.slots.len() == usize::from(to.k) + usize::from(to.m) && to.length == from.length;
    let moved = stripe != from;
    #[cfg(sabotage)]
    let moved = moved && !engine_types::sabotage("move-without-cas");
    if moved || !shaped {
        return Err(Refusal::Changed.into());
    }
    let watermark = watermark(&tx.rows())?;
    let old: Vec<Slot> = from.slots.iter().flatten().copied().collect();
    let new: Vec<Slot> = to.slots.iter().flatten().copied().collect();
    for slot in new.iter().filter(|slot| !old.contains(slot)) {
        refuse_old(slot.token.birth(), watermark)?;
    }
    stripe.clone_from(to);
    tx.write(chunk_key, &chunk);
    for slot in old.into_iter().filter(|slot| !new.contains(slot)) {
        #[cfg(sabotage)]
        if engine_types::sabotage("move-and-forget") {
            continue;
        }
        dead::bury(tx, bucket, key, DeadThing::Copy(slot));
    }
    tx.delete(keys::repair(bucket, key, data, index));
    queue_repair(tx, of, to);
    Ok(Answer::Done)
}

/// Sets how a part's data key is wrapped, from what the proposer read to what it shall be.
pub(crate) fn rewrap(
    tx: &mut Tx<'_>,
    (bucket, key, data): (BucketId, &ObjectKey, DataId),
    from: &PartKey,
    to: &PartKey,
) -> Step<Answer> {
    let place = keys::part(bucket, key, data);
    let row: Option<PartRow> = tx.read(&place)?;
    let as_read = |row: &PartRow| {
        #[cfg(sabotage)]
        if engine_types::sabotage("rewrap-blindly") {
            return true;
        }
        row.key == *from
    };
    let row = row.filter(as_read).ok_or(Refusal::Changed)?;
    let key = to.clone();
    tx.write(place, &PartRow { key, ..row });
    Ok(Answer::Done)
}
