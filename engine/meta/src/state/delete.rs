//! DELETE of one key, as the bucket's versioning says.

use super::objects::payer;
use super::tx::{Step, Tx};
use super::versions::{self, Absent};
use engine_core::meta::{
    Answer, Body, BucketRow, Delete, Encryption, Refusal, VersionAttributes, VersionKind,
    VersionRow, Versioning,
};
use engine_types::{ETag, StorageClass, VersionId};
use serde_bytes::ByteBuf;

/// With a version: that one goes for good; conditions are judged against it. Without: an unversioned
/// bucket loses the object, any other gets a delete marker; conditions are judged against the
/// current version. What is not there is deleted already (S3 answers 204), unless a condition names
/// it.
pub(crate) fn delete(tx: &mut Tx<'_>, delete: &Delete) -> Step<Answer> {
    let bucket = tx.open_bucket(delete.bucket)?;
    #[cfg(sabotage)]
    let delete = &Delete {
        condition: if engine_types::sabotage("drop-delete-condition") {
            engine_core::meta::Condition::default()
        } else {
            delete.condition.clone()
        },
        ..delete.clone()
    };
    match delete.version {
        Some(version) => one_version(tx, &bucket, delete, version),
        None if bucket.versioning == Versioning::Unversioned => current_object(tx, &bucket, delete),
        None => delete_marker(tx, &bucket, delete),
    }
}

fn one_version(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    delete: &Delete,
    version: VersionId,
) -> Step<Answer> {
    let found = versions::find(&tx.rows(), bucket.into(), &delete.key, version)?;
    let absent = Absent {
        none: Refusal::NoSuchVersion,
        ..Absent::DELETE
    };
    versions::judge(
        &delete.condition,
        found.as_ref().map(|found| &found.row),
        absent,
    )?;
    let mut marker = false;
    if let Some(found) = found {
        marker = found.row.kind == VersionKind::DeleteMarker;
        versions::remove(tx, bucket.into(), &delete.key, &found)?;
    }
    Ok(Answer::Deleted {
        version: Some(version),
        marker,
    })
}

fn current_object(tx: &mut Tx<'_>, bucket: &BucketRow, delete: &Delete) -> Step<Answer> {
    let found = versions::current(&tx.rows(), bucket.into(), &delete.key)?;
    versions::judge(
        &delete.condition,
        found.as_ref().map(|found| &found.row),
        Absent::DELETE,
    )?;
    if let Some(found) = found {
        versions::remove(tx, bucket.into(), &delete.key, &found)?;
    }
    Ok(Answer::Deleted {
        version: None,
        marker: false,
    })
}

fn delete_marker(tx: &mut Tx<'_>, bucket: &BucketRow, delete: &Delete) -> Step<Answer> {
    let found = versions::current(&tx.rows(), bucket.into(), &delete.key)?;
    versions::judge(
        &delete.condition,
        found.as_ref().map(|found| &found.row),
        Absent::DELETE,
    )?;
    let attributes = VersionAttributes {
        owner: delete.owner,
        charged_to: payer(bucket, delete.charged_to),
        class: StorageClass::standard(),
        headers: Vec::new(),
        user: Vec::new(),
        tags: Vec::new(),
        acl: ByteBuf::new(),
        encryption: Encryption::Tenant,
    };
    let (version, order) = versions::identity(tx, bucket.versioning);
    let row = VersionRow {
        version,
        order,
        kind: VersionKind::DeleteMarker,
        size: 0,
        etag: ETag {
            md5: [0; 16],
            parts: 0,
        },
        checksum: None,
        counted: versions::described(&delete.key, &attributes),
        attributes,
        body: Body::None,
    };
    versions::insert(tx, bucket.into(), &delete.key, &row, found.as_ref())?;
    Ok(Answer::Deleted {
        version: Some(version),
        marker: true,
    })
}
