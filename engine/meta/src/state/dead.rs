//! What is replaced or deleted, until its bytes are off the drives.
//!
//! An inline part's bytes go at once, a packed one's are taken off its pack's count (`packs`). A part
//! in stripes, and so a pack, becomes one `dead` row and keeps its own rows, so that readers pinned below can
//! still find it and the collector knows what to free. `Freed` removes both. A manifest (or an
//! aborted upload) becomes one row whatever it holds; `Freed` on it turns its next parts into dead
//! rows of their own, with its age, and it goes when none is left. Expanding it in the query instead
//! was turned down: `Freed` of such a part could not tell, in bounded time, that the part is dead.

use super::packs;
use super::tx::{Step, Tx, parse};
use crate::keys;
use crate::rows::RowsError;
use engine_core::meta::{
    Answer, Body, DeadRow, DeadThing, MANIFEST_CHUNK_ENTRIES, ManifestEntry, PartRow, Place,
    UploadPartRow,
};
use engine_types::{BucketId, DataId, ObjectKey, UploadId};

/// Parts that one `Freed` takes out of a dead manifest or upload.
pub const EXPANDED_AT_ONCE: u32 = MANIFEST_CHUNK_ENTRIES;

/// A version's bytes are no longer referenced.
pub(crate) fn kill_body(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    body: &Body,
) -> Result<(), RowsError> {
    match body {
        Body::None => {}
        Body::Part(data) => kill_part(tx, bucket, key, *data)?,
        Body::Manifest(upload) => {
            // Without its head a repeated Complete finds nothing any more.
            tx.delete(keys::manifest_head(bucket, key, *upload));
            bury(tx, bucket, key, DeadThing::Manifest(*upload));
        }
    }
    Ok(())
}

/// A part is no longer referenced, as of now.
pub(crate) fn kill_part(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    data: DataId,
) -> Result<(), RowsError> {
    let (since, index) = (tx.now(), tx.index);
    kill_part_since(
        tx,
        bucket,
        key,
        &DeadRow {
            thing: DeadThing::Part(data),
            since,
            index,
        },
    )
}

fn kill_part_since(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    row: &DeadRow,
) -> Result<(), RowsError> {
    let data = DataId(row.thing.id());
    let part: Option<PartRow> = tx.read(&keys::part(bucket, key, data))?;
    #[cfg(sabotage)]
    if engine_types::sabotage("free-early") {
        return tx.delete_all(&keys::part_rows(bucket, key, data));
    }
    match part.map(|part| part.place) {
        None => {}
        Some(Place::Inline) => {
            tx.delete(keys::part(bucket, key, data));
            packs::leave_inline(tx, bucket, key, data);
        }
        Some(Place::Packed { pack, length, .. }) => {
            tx.delete(keys::part(bucket, key, data));
            packs::lose(tx, pack, length)?;
        }
        Some(Place::Stripes(_)) => {
            tx.write(keys::dead(bucket, key, &data.0), row);
        }
    }
    Ok(())
}

/// A dead row, as of now.
pub(crate) fn bury(tx: &mut Tx<'_>, bucket: BucketId, key: &ObjectKey, thing: DeadThing) {
    let row = DeadRow {
        thing,
        since: tx.now(),
        index: tx.index,
    };
    tx.write(keys::dead(bucket, key, &thing.id()), &row);
}

/// The bytes of a dead thing are off every drive, durably. Gone already: done already.
pub(crate) fn freed(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    id: &[u8; 16],
) -> Step<Answer> {
    let place = keys::dead(bucket, key, id);
    let Some(row) = tx.read::<DeadRow>(&place)? else {
        return Ok(Answer::Done);
    };
    let ended = match row.thing {
        DeadThing::Copy(_) => true,
        DeadThing::Part(data) => {
            // A part has at most 5 GiB / 8 MiB = 640 stripes: ten chunks.
            tx.delete_all(&keys::part_rows(bucket, key, data))?;
            tx.delete_all(&keys::repairs(bucket, key, data))?;
            packs::freed(tx, bucket, data);
            true
        }
        DeadThing::Manifest(upload) => expand(tx, bucket, key, upload, &row)?,
    };
    if ended {
        tx.delete(place);
    }
    Ok(Answer::Done)
}

/// Turns the next parts of a dead manifest or upload into dead rows; true when none is left.
fn expand(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    upload: UploadId,
    dead: &DeadRow,
) -> Result<bool, RowsError> {
    let chunks = keys::manifest_chunks(bucket, key, upload);
    let parts = keys::upload_parts(bucket, key, upload);
    let mut found = Vec::new();
    if let Some((chunk, value)) = tx.scan(&chunks, 1)?.pop() {
        let entries: Vec<ManifestEntry> = parse(&value)?;
        found.extend(entries.into_iter().map(|entry| entry.data));
        tx.delete(chunk);
    } else {
        for (part, value) in tx.scan(&parts, EXPANDED_AT_ONCE as usize)? {
            found.push(parse::<UploadPartRow>(&value)?.data);
            tx.delete(part);
        }
    }
    for data in found {
        let row = DeadRow {
            thing: DeadThing::Part(data),
            ..dead.clone()
        };
        kill_part_since(tx, bucket, key, &row)?;
    }
    Ok(!tx.any(&chunks)? && !tx.any(&parts)?)
}
