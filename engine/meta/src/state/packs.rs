//! Packs: which small parts wait for one, how their bytes get there, and when a pack dies.
//!
//! An inline part has a row in `unpacked` as long as its bytes are in `inline`: by data id, hence by
//! birth, so that a pass reads what is old enough and nothing else, however many objects there are.
//! Scanning `inline` instead was turned down, although what is packed leaves it: every pass would
//! read the bytes of all that is too young, a minute of writes, again and again.
//!
//! `packs` counts the live bytes of each pack. A packed part that is no longer referenced loses its
//! row at once (as an inline one does: who reads it holds where it is, and his pin holds the pack),
//! and the pack its bytes. At 0 the pack itself becomes a dead part, and the usual way frees it.

use super::tx::{Step, Tx};
use super::{dead, parts};
use crate::keys;
use crate::rows::RowsError;
use engine_core::meta::{
    Answer, DeadThing, NewPack, NewPart, NewPlace, PACK_BYTES_MAX, PACK_MEMBERS_MAX, PACKS,
    PackMember, PackRow, PartKey, PartRow, Place, Refusal, Stripe, UnpackedRow, pack_data,
    pack_key,
};
use engine_core::stripes::FRAME_TAG;
use engine_types::{BirthId, BucketId, DataId, ObjectKey, PackId, PartitionId, StorageClass};
use serde_bytes::ByteBuf;

/// An inline part was stored: it waits to be packed.
pub(crate) fn wait(
    tx: &mut Tx<'_>,
    (bucket, key): (BucketId, &ObjectKey),
    part: &NewPart,
    class: &StorageClass,
) {
    let NewPlace::Inline(sealed) = &part.place else {
        return;
    };
    let row = UnpackedRow {
        bucket,
        key: key.clone(),
        class: class.clone(),
        length: u32::try_from(sealed.len()).unwrap_or(u32::MAX),
    };
    tx.write(keys::unpacked(part.data), &row);
}

/// A part is inline no more.
pub(crate) fn leave_inline(tx: &mut Tx<'_>, bucket: BucketId, key: &ObjectKey, data: DataId) {
    tx.delete(keys::inline(bucket, key, data));
    tx.delete(keys::unpacked(data));
}

/// Names the members of a durable pack.
pub(crate) fn pack(tx: &mut Tx<'_>, new: &NewPack) -> Step<Answer> {
    let (key, data) = (pack_key(new.pack), pack_data(new.pack));
    check(new)?;
    parts::refuse_old_ids(tx, data.birth(), std::slice::from_ref(&new.stripe))?;
    // Freed or not, its id is in use: no other bytes are ever written under it.
    if tx.exists(&keys::pack(new.pack))? || tx.exists(&keys::part(PACKS, &key, data))? {
        return Err(Refusal::TooOld.into());
    }
    let mut row = PackRow {
        class: new.class.clone(),
        bytes: new
            .members
            .iter()
            .map(|(member, _)| u64::from(member.length))
            .sum(),
        live: 0,
        owners: Vec::new(),
        made: tx.now(),
    };
    let (mut packed, mut left_out) = (0, 0);
    for (member, from) in &new.members {
        if take(tx, new, member, *from)? {
            row.live = row.live.saturating_add(member.length.into());
            packed += 1;
        } else {
            left_out += 1;
        }
    }
    if packed == 0 {
        // The proposer frees the shards: nothing names them.
        return Err(Refusal::Changed.into());
    }
    store(tx, new.pack, &new.stripe);
    write(tx, new.pack, &row);
    Ok(Answer::Packed { packed, left_out })
}

/// What a command must be whatever the rows say.
fn check(new: &NewPack) -> Result<(), Refusal> {
    let Stripe {
        k,
        m,
        length,
        slots,
        ..
    } = &new.stripe;
    let length = usize::try_from(*length).unwrap_or(usize::MAX);
    let shaped = slots.len() == usize::from(*k) + usize::from(*m) && *k > 0;
    let inside = |member: &PackMember| {
        member
            .range()
            .is_some_and(|range| range.end <= length && !range.is_empty())
    };
    if !shaped
        || length > PACK_BYTES_MAX
        || new.members.len() > PACK_MEMBERS_MAX
        || !new.members.iter().all(|(member, _)| inside(member))
    {
        return Err(Refusal::Changed);
    }
    Ok(())
}

/// The pack's own part: a row that readers never ask for, and its stripe map.
fn store(tx: &mut Tx<'_>, pack: PackId, stripe: &Stripe) {
    let (key, data) = (pack_key(pack), pack_data(pack));
    let stripes = parts::store_stripes(tx, PACKS, &key, data, std::slice::from_ref(stripe));
    let row = PartRow {
        size: u64::from(stripe.length),
        md5: [0; 16],
        // Members are sealed each under its own key; the pack as such is not.
        key: PartKey {
            version: None,
            wrapped: ByteBuf::new(),
            context: None,
        },
        place: Place::Stripes(stripes),
    };
    tx.write(keys::part(PACKS, &key, data), &row);
}

/// Moves one member into the pack, if its bytes are still where they were read.
fn take(
    tx: &mut Tx<'_>,
    new: &NewPack,
    member: &PackMember,
    from: Option<PackId>,
) -> Result<bool, RowsError> {
    let PackMember {
        bucket,
        key,
        data,
        offset,
        length,
    } = member;
    let place = keys::part(*bucket, key, *data);
    let Some(mut part) = tx.read::<PartRow>(&place)? else {
        return Ok(false);
    };
    let whole = part.size.saturating_add(FRAME_TAG as u64) == u64::from(*length);
    let unchanged = match (&part.place, from) {
        (Place::Inline, None) => true,
        (Place::Packed { pack, .. }, Some(from)) => *pack == from,
        _ => false,
    };
    #[cfg(sabotage)]
    let unchanged = unchanged || (engine_types::sabotage("pack-without-cas") && from.is_none());
    if !whole || !unchanged {
        return Ok(false);
    }
    match from {
        None => leave_inline(tx, *bucket, key, *data),
        Some(old) => lose(tx, old, *length)?,
    }
    part.place = Place::Packed {
        maker: new.maker,
        pack: new.pack,
        offset: *offset,
        length: *length,
    };
    tx.write(place, &part);
    Ok(true)
}

/// A part that was in `pack` is gone or elsewhere. With the last of them the pack dies.
pub(crate) fn lose(tx: &mut Tx<'_>, pack: PackId, length: u32) -> Result<(), RowsError> {
    let Some(mut row) = tx.read::<PackRow>(&keys::pack(pack))? else {
        return Ok(());
    };
    row.live = row.live.saturating_sub(length.into());
    #[cfg(sabotage)]
    if engine_types::sabotage("pack-dies-early") {
        row.live = 0;
    }
    settle(tx, pack, &row)
}

/// Another partition begins or ceases to have rows that point into a pack.
pub(crate) fn set_owner(
    tx: &mut Tx<'_>,
    pack: PackId,
    owner: PartitionId,
    holds: bool,
) -> Step<Answer> {
    let known: Option<PackRow> = tx.read(&keys::pack(pack))?;
    let key = pack_key(pack);
    let dead = tx.exists(&keys::dead(PACKS, &key, &pack.0))?;
    let Some(mut row) = known.filter(|_| !dead) else {
        return if holds {
            Err(Refusal::Changed.into())
        } else {
            Ok(Answer::Done)
        };
    };
    row.owners.retain(|known| *known != owner);
    if holds {
        row.owners.push(owner);
        row.owners.sort_unstable();
    }
    settle(tx, pack, &row)?;
    Ok(Answer::Done)
}

/// Writes a pack's count; a pack of this partition that nobody needs any more dies. One made
/// elsewhere keeps its row at 0 until its maker knows.
fn settle(tx: &mut Tx<'_>, pack: PackId, row: &PackRow) -> Result<(), RowsError> {
    write(tx, pack, row);
    let key = pack_key(pack);
    let mine = tx.exists(&keys::part(PACKS, &key, pack_data(pack)))?;
    if mine && row.live == 0 && row.owners.is_empty() {
        tx.delete(keys::sparse_pack(pack));
        dead::bury(tx, PACKS, &key, DeadThing::Part(pack_data(pack)));
    }
    Ok(())
}

fn write(tx: &mut Tx<'_>, pack: PackId, row: &PackRow) {
    tx.write(keys::pack(pack), row);
    let sparse = keys::sparse_pack(pack);
    if row.is_sparse() {
        tx.write(sparse, &());
    } else {
        tx.delete(sparse);
    }
}

/// A dead part's bytes are off the drives: were they a pack's, its count goes too.
pub(crate) fn freed(tx: &mut Tx<'_>, bucket: BucketId, data: DataId) {
    if bucket == PACKS {
        tx.delete(keys::pack(PackId(data.0)));
    }
}
