//! Buckets at their home.

use super::tx::{Step, Tx, parse};
use super::uploads;
use crate::keys::{self, Table};
use engine_core::meta::{Answer, BucketDocument, BucketRow, Refusal, UploadRow, Versioning};
use engine_types::{BucketId, UploadId};
use serde_bytes::ByteBuf;

/// Rows of uploads and parts that one `DeleteBucket` aborts before it asks to be proposed again.
/// Checked between uploads, so the last one may take it over by its own parts.
pub const BUCKET_ABORT_ROWS: usize = 10_000;

/// Makes the bucket; the same id again: made already.
pub(crate) fn create(tx: &mut Tx<'_>, row: &BucketRow) -> Step<Answer> {
    if tx.any(&keys::table(Table::Cluster))? {
        return Err(Refusal::WrongPartition.into());
    }
    if let Some(there) = tx.read::<BucketRow>(&keys::bucket(row.id))? {
        return if there.closed {
            Err(Refusal::BucketBusy.into())
        } else {
            Ok(Answer::Bucket(Box::new(there)))
        };
    }
    let row = BucketRow {
        closed: false,
        ..row.clone()
    };
    tx.write(keys::bucket(row.id), &row);
    Ok(Answer::Bucket(Box::new(row)))
}

/// Deletes the bucket if it holds no version. Its open uploads die with it, a bounded number at a
/// time; from the first on it is closed, so that they only become fewer.
pub(crate) fn delete(tx: &mut Tx<'_>, id: BucketId) -> Step<Answer> {
    let Some(mut row) = tx.read::<BucketRow>(&keys::bucket(id))? else {
        return Ok(Answer::Done);
    };
    let held = tx.any(&keys::of_bucket(Table::Objects, id))?
        || tx.any(&keys::of_bucket(Table::Versions, id))?;
    #[cfg(sabotage)]
    let held = held && !engine_types::sabotage("delete-full-bucket");
    if held {
        return Err(Refusal::BucketNotEmpty.into());
    }
    let open = keys::of_bucket(Table::Uploads, id);
    let mut aborted = 0;
    for (upload_key, value) in tx.scan(&open, BUCKET_ABORT_ROWS)? {
        if aborted >= BUCKET_ABORT_ROWS {
            break;
        }
        let (found, upload) = keys::split_id(Table::Uploads, &upload_key)?;
        let upload_row: UploadRow = parse(&value)?;
        aborted += 1 + uploads::end(tx, id, &found.key, UploadId(upload), &upload_row)?;
    }
    if tx.any(&open)? {
        row.epoch += u64::from(!row.closed);
        row.closed = true;
        tx.write(keys::bucket(id), &row);
        return Ok(Answer::Bucket(Box::new(row)));
    }
    tx.delete(keys::bucket(id));
    Ok(Answer::Done)
}

/// Versioning once enabled is suspended, never undone.
pub(crate) fn set_versioning(
    tx: &mut Tx<'_>,
    judged: (BucketId, u64),
    versioning: Versioning,
) -> Step<Answer> {
    change(tx, judged, |row| {
        row.versioning = match (row.versioning, versioning) {
            (Versioning::Enabled | Versioning::Suspended, Versioning::Unversioned) => {
                Versioning::Suspended
            }
            _ => versioning,
        };
    })
}

/// Sets or removes one configuration document.
pub(crate) fn set_document(
    tx: &mut Tx<'_>,
    judged: (BucketId, u64),
    kind: BucketDocument,
    content: Option<&ByteBuf>,
) -> Step<Answer> {
    change(tx, judged, |row| match content {
        Some(content) => drop(row.documents.insert(kind, content.to_vec())),
        None => drop(row.documents.remove(&kind)),
    })
}

/// Changes an open bucket's row, if it is at the epoch the change was judged by. A change that changes
/// nothing leaves the epoch, so that caches live.
fn change(
    tx: &mut Tx<'_>,
    (id, epoch): (BucketId, u64),
    change: impl FnOnce(&mut BucketRow),
) -> Step<Answer> {
    let row: Option<BucketRow> = tx.read(&keys::bucket(id))?;
    let before = row.filter(|row| !row.closed).ok_or(Refusal::NoSuchBucket)?;
    if before.epoch != epoch {
        return Err(Refusal::StaleBucket.into());
    }
    let mut row = before.clone();
    change(&mut row);
    if row != before {
        row.epoch += 1;
        tx.write(keys::bucket(id), &row);
    }
    Ok(Answer::Bucket(Box::new(row)))
}
