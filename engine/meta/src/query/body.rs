//! A version, and where its bytes are.

use crate::keys;
use crate::rows::{Rows, RowsError};
use crate::state::{Line, current, find, read};
use engine_core::meta::{
    Body, BodyStart, FoundVersion, ManifestEntry, PACKS, PartFound, PartRow, Place, Refusal, Reply,
    STRIPE_CHUNK, Stripe, VersionKind, pack_data, pack_key,
};
use engine_types::{BucketId, DataId, ObjectKey, UploadId, VersionId};
use serde_bytes::ByteBuf;

/// A version; none: the current one, whose being a marker is an answer of its own.
pub(super) fn version(
    rows: &dyn Rows,
    line: Line,
    key: &ObjectKey,
    version: Option<VersionId>,
    body: bool,
) -> Result<Reply, RowsError> {
    let bucket = line.bucket;
    let (found, absent) = match version {
        None => (current(rows, line, key)?, Refusal::NoSuchKey),
        Some(id) => (find(rows, line, key, id)?, Refusal::NoSuchVersion),
    };
    let found = found.filter(|found| version.is_none_or(|id| found.row.version == id));
    let Some(found) = found else {
        return Ok(Reply::Refused(absent));
    };
    if version.is_none() && found.row.kind == VersionKind::DeleteMarker {
        return Ok(Reply::Marker(found.row.version, found.row.order.stamp));
    }
    let body = match found.row.body {
        Body::Part(data) if body => part(rows, bucket, key, data, 0)?.map(BodyStart::Part),
        Body::Manifest(upload) if body => {
            Some(BodyStart::Manifest(manifest(rows, bucket, key, upload, 0)?))
        }
        _ => None,
    };
    Ok(Reply::Version(Box::new(FoundVersion {
        latest: found.latest,
        row: found.row,
        body,
    })))
}

/// A part with its inline bytes, or the stripes from `first` up to the end of their chunk.
pub(super) fn part(
    rows: &dyn Rows,
    bucket: BucketId,
    key: &ObjectKey,
    data: DataId,
    first: u32,
) -> Result<Option<PartFound>, RowsError> {
    let Some(row) = read::<PartRow>(rows, &keys::part(bucket, key, data))? else {
        return Ok(None);
    };
    let mut found = PartFound {
        data,
        row,
        inline: None,
        stripes: Vec::new(),
    };
    match found.row.place {
        Place::Inline => {
            found.inline = rows
                .get(&keys::inline(bucket, key, data))?
                .map(ByteBuf::from);
        }
        Place::Stripes(_) => found.stripes = stripes(rows, bucket, key, data, first)?,
        Place::Packed { pack, .. } => {
            found.stripes = stripes(rows, PACKS, &pack_key(pack), pack_data(pack), 0)?;
        }
    }
    Ok(Some(found))
}

/// Stripes from `first` up to the end of their chunk.
pub(super) fn stripes(
    rows: &dyn Rows,
    bucket: BucketId,
    key: &ObjectKey,
    data: DataId,
    first: u32,
) -> Result<Vec<Stripe>, RowsError> {
    let chunk = keys::stripes(bucket, key, data, first / STRIPE_CHUNK);
    let mut stripes: Vec<Stripe> = read(rows, &chunk)?.unwrap_or_default();
    let skipped = usize::try_from(first % STRIPE_CHUNK).unwrap_or(usize::MAX);
    stripes.drain(..skipped.min(stripes.len()));
    Ok(stripes)
}

/// One chunk of a manifest; empty behind its end.
pub(super) fn manifest(
    rows: &dyn Rows,
    bucket: BucketId,
    key: &ObjectKey,
    upload: UploadId,
    chunk: u32,
) -> Result<Vec<ManifestEntry>, RowsError> {
    Ok(read(rows, &keys::manifest(bucket, key, upload, chunk))?.unwrap_or_default())
}
