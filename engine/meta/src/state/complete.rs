//! `CompleteMultipartUpload`: parts become a version without a byte of them being rewritten.

use super::tx::{Step, Tx};
use super::versions::{self, Absent};
use super::{dead, uploads};
use crate::keys;
use engine_core::meta::{
    Answer, Body, CompleteUpload, MANIFEST_CHUNK_ENTRIES, ManifestEntry, Refusal, UploadPartRow,
    UploadRow, VersionKind, VersionRow,
};
use engine_types::{BucketId, Order};

/// Compare-and-set on the data ids of the chosen parts. Parts not chosen die, the upload's rows go.
/// Repeated after success it answers the version it made, while that exists, whatever it names this
/// time: the upload's rows, which would have to be compared, are gone.
pub(crate) fn complete(tx: &mut Tx<'_>, complete: &CompleteUpload) -> Step<Answer> {
    let bucket = tx.open_bucket(complete.bucket)?;
    let (id, key, upload) = (bucket.id, &complete.key, complete.upload);
    let Some(row) = tx.read::<UploadRow>(&keys::upload(id, key, upload))? else {
        return repeated(tx, id, complete);
    };
    let current = versions::current(&tx.rows(), (&bucket).into(), key)?;
    let judged = versions::judge(
        &complete.condition,
        current.as_ref().map(|found| &found.row),
        Absent::WRITE,
    );
    #[cfg(sabotage)]
    let judged = judged.or_else(|refused| {
        let dropped = engine_types::sabotage("drop-complete-condition");
        dropped.then_some(()).ok_or(refused)
    });
    judged?;
    let parts = uploads::all_parts(tx, id, key, upload)?;
    let chosen_well = chosen_well(complete, &parts);
    #[cfg(sabotage)]
    let chosen_well = chosen_well || engine_types::sabotage("complete-blindly");
    if !chosen_well {
        return Err(Refusal::Changed.into());
    }
    uploads::uncharge(tx, id, &row, &parts);
    for (number, part) in &parts {
        tx.delete(keys::upload_part(id, key, upload, *number));
        if complete
            .parts
            .binary_search_by_key(number, |entry| entry.number)
            .is_err()
        {
            dead::kill_part(tx, id, key, part.data)?;
        }
    }
    tx.delete(keys::upload(id, key, upload));
    for (chunk, entries) in (0..).zip(complete.parts.chunks(MANIFEST_CHUNK_ENTRIES as usize)) {
        tx.write(keys::manifest(id, key, upload, chunk), &entries);
    }
    let (version, order) = versions::identity(tx, bucket.versioning);
    tx.write(keys::manifest_head(id, key, upload), &order);
    let made = VersionRow {
        version,
        order,
        kind: VersionKind::Object,
        size: complete.size,
        etag: complete.etag,
        checksum: complete.checksum.clone(),
        counted: complete.size.saturating_add(row.counted),
        attributes: row.attributes,
        body: Body::Manifest(upload),
    };
    versions::insert(tx, (&bucket).into(), key, &made, current.as_ref())?;
    Ok(Answer::Version(versions::slim(made)))
}

/// Whether what the node chose is what is here (`parts`, by number): ascending numbers, the same data
/// ids and sizes, offsets without gaps, the sum right.
fn chosen_well(complete: &CompleteUpload, parts: &[(u16, UploadPartRow)]) -> bool {
    let mut offset = 0u64;
    let mut last = 0;
    let as_read = |entry: &ManifestEntry| {
        let found = parts.binary_search_by_key(&entry.number, |(number, _)| *number);
        let part = found.ok().and_then(|at| parts.get(at));
        let same = part.is_some_and(|(_, part)| part.data == entry.data && part.size == entry.size);
        let next = same && entry.number > last && entry.offset == offset;
        last = entry.number;
        offset = offset.saturating_add(entry.size);
        next
    };
    !complete.parts.is_empty() && complete.parts.iter().all(as_read) && offset == complete.size
}

/// The version this upload became, whether or not it is still current.
fn repeated(tx: &Tx<'_>, bucket: BucketId, complete: &CompleteUpload) -> Step<Answer> {
    let head: Option<Order> =
        tx.read(&keys::manifest_head(bucket, &complete.key, complete.upload))?;
    let order = head.ok_or(Refusal::NoSuchUpload)?;
    let current: Option<VersionRow> = tx.read(&keys::object(bucket, &complete.key))?;
    let made = match current.filter(|row| row.order == order) {
        Some(row) => Some(row),
        None => tx.read(&keys::version(bucket, &complete.key, order))?,
    };
    Ok(Answer::Version(versions::slim(
        made.ok_or(Refusal::NoSuchUpload)?,
    )))
}
