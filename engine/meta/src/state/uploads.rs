//! Open multipart uploads and their parts.

use super::objects::payer;
use super::tx::{Step, Tx, parse};
use super::{dead, parts, versions};
use crate::keys;
use crate::rows::RowsError;
use engine_core::meta::{
    Answer, BucketRef, CreateUpload, DeadThing, PutPart, Refusal, UploadPartRow, UploadRow,
};
use engine_tenancy::Delta;
use engine_types::{BucketId, ObjectKey, UploadId};

/// Highest part number (S3: 10,000), which bounds what one command on an upload touches.
pub(crate) const PART_NUMBER_MAX: u16 = 10_000;

/// `CreateMultipartUpload`. An id in use, open or not yet collected, is refused as too old.
pub(crate) fn create(tx: &mut Tx<'_>, create: &CreateUpload) -> Step<Answer> {
    let bucket = tx.open_bucket(create.bucket)?;
    let (key, upload) = (&create.key, create.upload);
    let used = tx.exists(&keys::upload(bucket.id, key, upload))?
        || tx.any(&keys::manifest_rows(bucket.id, key, upload))?
        || tx.any(&keys::upload_parts(bucket.id, key, upload))?;
    if used {
        return Err(Refusal::TooOld.into());
    }
    let mut attributes = create.attributes.clone();
    attributes.charged_to = payer(&bucket, attributes.charged_to);
    let row = UploadRow {
        initiator: create.initiator,
        initiator_name: create.initiator_name.clone(),
        initiated: tx.now(),
        checksum: create.checksum,
        counted: versions::described(key, &attributes),
        attributes,
    };
    let to = row.attributes.charged_to;
    tx.charge(
        bucket.id,
        to,
        &row.attributes.class,
        Delta::object(row.counted),
    );
    tx.write(keys::upload(bucket.id, key, upload), &row);
    Ok(Answer::Done)
}

/// `UploadPart`. The last to be applied wins; the one it replaces dies in the same apply.
pub(crate) fn put_part(tx: &mut Tx<'_>, put: &PutPart) -> Step<Answer> {
    let bucket = tx.open_bucket(put.bucket)?;
    let (id, key) = (bucket.id, &put.key);
    let upload: UploadRow = tx
        .read(&keys::upload(id, key, put.upload))?
        .ok_or(Refusal::NoSuchUpload)?;
    if !(1..=PART_NUMBER_MAX).contains(&put.number) {
        return Err(Refusal::Changed.into());
    }
    let class = &upload.attributes.class;
    let place = keys::upload_part(id, key, put.upload, put.number);
    if let Some(replaced) = tx.read::<UploadPartRow>(&place)? {
        tx.charge(id, replaced.charged_to, class, -Delta::bytes(replaced.size));
        dead::kill_part(tx, id, key, replaced.data)?;
    }
    parts::store(tx, id, key, (&put.part, class))?;
    let row = UploadPartRow {
        data: put.part.data,
        size: put.part.size,
        md5: put.part.md5,
        checksum: put.checksum.clone(),
        declared: put.declared.clone(),
        modified: tx.now(),
        charged_to: payer(&bucket, put.charged_to),
    };
    tx.charge(id, row.charged_to, class, Delta::bytes(row.size));
    tx.write(place, &row);
    Ok(Answer::Part(row))
}

/// `AbortMultipartUpload`. Of an upload completed or aborted before: `NoSuchUpload`.
pub(crate) fn abort(
    tx: &mut Tx<'_>,
    bucket: BucketRef,
    key: &ObjectKey,
    upload: UploadId,
) -> Step<Answer> {
    let bucket = tx.open_bucket(bucket)?;
    let row: UploadRow = tx
        .read(&keys::upload(bucket.id, key, upload))?
        .ok_or(Refusal::NoSuchUpload)?;
    end(tx, bucket.id, key, upload, &row)?;
    Ok(Answer::Done)
}

/// Ends an upload without a version: no longer listed nor counted; its parts' rows stay until the
/// collector has made dead rows of them. Returns how many parts it had.
pub(crate) fn end(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    upload: UploadId,
    row: &UploadRow,
) -> Result<usize, RowsError> {
    let parts = all_parts(tx, bucket, key, upload)?;
    uncharge(tx, bucket, row, &parts);
    tx.delete(keys::upload(bucket, key, upload));
    if !parts.is_empty() {
        dead::bury(tx, bucket, key, DeadThing::Manifest(upload));
    }
    Ok(parts.len())
}

/// The parts of an upload by number: at most [`PART_NUMBER_MAX`].
pub(crate) fn all_parts(
    tx: &Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    upload: UploadId,
) -> Result<Vec<(u16, UploadPartRow)>, RowsError> {
    let rows = tx.scan(
        &keys::upload_parts(bucket, key, upload),
        usize::from(PART_NUMBER_MAX),
    )?;
    rows.iter()
        .map(|(key, value)| Ok((keys::split_part_number(key)?, parse(value)?)))
        .collect()
}

/// No longer counts an upload and its parts.
pub(crate) fn uncharge(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    upload: &UploadRow,
    parts: &[(u16, UploadPartRow)],
) {
    let class = &upload.attributes.class;
    tx.charge(
        bucket,
        upload.attributes.charged_to,
        class,
        -Delta::object(upload.counted),
    );
    for (_, part) in parts {
        tx.charge(bucket, part.charged_to, class, -Delta::bytes(part.size));
    }
}
