//! New versions, and changes of what describes one.

use super::parts;
use super::tx::{Step, Tx};
use super::versions::{self, Absent, Found};
use engine_core::meta::{
    Answer, Body, BucketRef, BucketRow, Condition, Judged, PutVersion, Refusal, VersionAttributes,
    VersionKind, VersionRow,
};
use engine_types::{ChargedTo, Checksum, ObjectKey, VersionId};
use serde_bytes::ByteBuf;

/// Who pays: the bucket's owner, whatever the proposer wrote, and the writer's key.
pub(crate) fn payer(bucket: &BucketRow, to: ChargedTo) -> ChargedTo {
    ChargedTo {
        account: bucket.owner,
        key: to.key,
    }
}

/// PUT, copy, form.
pub(crate) fn put(tx: &mut Tx<'_>, put: &PutVersion) -> Step<Answer> {
    let bucket = tx.open_bucket(put.bucket)?;
    let current = versions::current(&tx.rows(), (&bucket).into(), &put.key)?;
    versions::judge(
        &put.condition,
        current.as_ref().map(|found| &found.row),
        Absent::WRITE,
    )?;
    parts::store(tx, bucket.id, &put.key, (&put.part, &put.attributes.class))?;
    let mut attributes = put.attributes.clone();
    attributes.charged_to = payer(&bucket, attributes.charged_to);
    let (version, order) = versions::identity(tx, bucket.versioning);
    let row = VersionRow {
        version,
        order,
        kind: VersionKind::Object,
        size: put.part.size,
        etag: put.etag,
        checksum: put.checksum.clone(),
        counted: put
            .part
            .size
            .saturating_add(versions::described(&put.key, &attributes)),
        attributes,
        body: Body::Part(put.part.data),
    };
    versions::insert(tx, (&bucket).into(), &put.key, &row, current.as_ref())?;
    Ok(Answer::Version(versions::slim(row)))
}

/// The version a change of tags or ACL was judged for. Anything else at its place is `Changed`, also
/// nothing: who asks looks again, and says what is missing.
fn still(
    tx: &Tx<'_>,
    bucket: BucketRef,
    key: &ObjectKey,
    judged: &Judged,
) -> Step<(BucketRow, Found)> {
    let bucket = tx.open_bucket(bucket)?;
    let found = versions::find(&tx.rows(), (&bucket).into(), key, judged.version)?;
    let same = |found: &Found| found.row.kind == VersionKind::Object && judged.is(&found.row);
    let found = found.filter(same).ok_or(Refusal::Changed)?;
    Ok((bucket, found))
}

/// `PutObjectTagging`, `DeleteObjectTagging`. Tags are counted.
pub(crate) fn set_tags(
    tx: &mut Tx<'_>,
    bucket: BucketRef,
    key: &ObjectKey,
    judged: &Judged,
    tags: &[(String, String)],
) -> Step<Answer> {
    let (bucket, found) = still(tx, bucket, key, judged)?;
    let mut row = found.row.clone();
    row.attributes.tags = tags.to_vec();
    row.counted = row
        .size
        .saturating_add(versions::described(key, &row.attributes));
    versions::rewrite(tx, bucket.id, key, &found, &row);
    Ok(Answer::Version(versions::slim(row)))
}

/// `PutObjectAcl`.
pub(crate) fn set_acl(
    tx: &mut Tx<'_>,
    bucket: BucketRef,
    key: &ObjectKey,
    judged: &Judged,
    acl: &ByteBuf,
) -> Step<Answer> {
    let (bucket, found) = still(tx, bucket, key, judged)?;
    let mut row = found.row.clone();
    row.attributes.acl = acl.clone();
    versions::rewrite(tx, bucket.id, key, &found, &row);
    Ok(Answer::Version(versions::slim(row)))
}

/// What a copy onto itself brings.
#[derive(Debug)]
pub(crate) struct NewAttributes<'a> {
    /// Conditions.
    pub(crate) condition: &'a Condition,
    /// All attributes anew.
    pub(crate) attributes: &'a VersionAttributes,
    /// Its checksum, if it changed.
    pub(crate) checksum: Option<&'a Checksum>,
}

/// Replaces the `null` version by one of the same bytes. Where the copy would be a second version it
/// is refused: were bytes shared, freeing one version's would lose the other's.
pub(crate) fn reattribute(
    tx: &mut Tx<'_>,
    bucket: BucketRef,
    key: &ObjectKey,
    new: &NewAttributes<'_>,
) -> Step<Answer> {
    let bucket = tx.open_bucket(bucket)?;
    let current = versions::current(&tx.rows(), (&bucket).into(), key)?;
    versions::judge(
        new.condition,
        current.as_ref().map(|found| &found.row),
        Absent::WRITE,
    )?;
    let found = current.filter(|found| found.row.kind == VersionKind::Object);
    let found = found.ok_or(Refusal::NoSuchKey)?;
    let (version, order) = versions::identity(tx, bucket.versioning);
    if version != VersionId::Null || found.row.version != VersionId::Null {
        return Err(Refusal::NeedsCopy.into());
    }
    let mut attributes = new.attributes.clone();
    attributes.charged_to = payer(&bucket, attributes.charged_to);
    let row = VersionRow {
        order,
        checksum: new.checksum.cloned().or_else(|| found.row.checksum.clone()),
        counted: found
            .row
            .size
            .saturating_add(versions::described(key, &attributes)),
        attributes,
        ..found.row.clone()
    };
    // The body changes hands: taken from the old row, so that inserting the new one kills nothing, and
    // finds nothing that it would have to move.
    versions::take(tx, bucket.id, key, &found);
    versions::insert(tx, (&bucket).into(), key, &row, None)?;
    if let Body::Manifest(upload) = row.body {
        tx.write(crate::keys::manifest_head(bucket.id, key, upload), &order);
    }
    Ok(Answer::Version(versions::slim(row)))
}
