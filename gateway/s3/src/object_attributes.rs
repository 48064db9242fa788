//! GetObjectAttributes.

use crate::checksum::{self, set_checksum};
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key, signed, version_id};
use crate::list::page_size;
use crate::sse::customer_asked;
use crate::translate::{etag, read_version, seconds};
use engine_core::meta::{Body, VersionRow};
use engine_node::Found;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// What may be asked for.
const ATTRIBUTES: [&str; 5] = [
    "ETag",
    "Checksum",
    "ObjectParts",
    "StorageClass",
    "ObjectSize",
];

/// The names asked for: s3s leaves a comma-separated header whole.
fn names(asked: &[ObjectAttributes]) -> S3Result<Vec<&str>> {
    let names: Vec<_> = asked
        .iter()
        .flat_map(|a| a.as_str().split(','))
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .collect();
    if names.is_empty() || names.iter().any(|name| !ATTRIBUTES.contains(name)) {
        return Err(s3_error!(
            InvalidArgument,
            "Invalid attribute name specified."
        ));
    }
    Ok(names)
}

fn checksum_of(row: &VersionRow) -> Option<Checksum> {
    let stored = row.checksum.as_ref()?;
    let mut checksum = Checksum {
        checksum_type: Some(checksum::kind(stored.kind)),
        ..Checksum::default()
    };
    // Here a composite value stands without its count.
    set_checksum!(
        checksum,
        stored.algorithm,
        checksum::value_text(&stored.value)
    );
    Some(checksum)
}

impl Gateway {
    /// The parts of a multipart object; listed one by one only where they have checksums, as AWS
    /// does.
    async fn parts_of(
        &self,
        found: &Found,
        max: Option<i32>,
        marker: Option<i32>,
    ) -> S3Result<Option<GetObjectAttributesParts>> {
        let row = &found.found.row;
        if !matches!(row.body, Body::Manifest(_)) {
            return Ok(None);
        }
        let size = page_size(max, "max-parts")?;
        let after = u16::try_from(marker.unwrap_or(0)).map_err(|_outside| {
            s3_error!(
                InvalidArgument,
                "Argument part-number-marker must be an integer between 0 and 2147483647"
            )
        })?;
        let mut output = GetObjectAttributesParts {
            is_truncated: Some(false),
            max_parts: Some(size),
            part_number_marker: Some(i32::from(after)),
            total_parts_count: i32::try_from(row.etag.parts).ok(),
            ..GetObjectAttributesParts::default()
        };
        let Some(stored) = &row.checksum else {
            return Ok(Some(output));
        };
        let limit = u32::try_from(size).unwrap_or_default();
        let (entries, more) = self
            .engine
            .object_parts(found, after, limit)
            .await
            .map_err(from_engine)?;
        let part = |entry: &engine_core::meta::ManifestEntry| {
            let mut part = ObjectPart {
                part_number: Some(i32::from(entry.number)),
                size: signed(entry.size),
                ..ObjectPart::default()
            };
            if let Some(value) = &entry.checksum {
                set_checksum!(part, stored.algorithm, checksum::value_text(value));
            }
            part
        };
        output.is_truncated = Some(more);
        let last = entries.last().map_or(after, |entry| entry.number);
        output.next_part_number_marker = Some(i32::from(last));
        output.parts = Some(entries.iter().map(part).collect());
        Ok(Some(output))
    }
}

/// GetObjectAttributes.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = &request.input;
    let asked = names(&input.object_attributes)?;
    let (key, version) = (
        object_key(&input.key)?,
        version_id(input.version_id.as_deref())?,
    );
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let found = gateway.find(&cx, &mut bucket, &key, version, true).await?;
    let row = &found.found.row;
    gateway.sse_for_read(&cx, &row.attributes.encryption, &customer_asked!(input))?;
    let wants = |name: &str| asked.contains(&name);
    let object_parts = if wants("ObjectParts") {
        gateway
            .parts_of(&found, input.max_parts, input.part_number_marker)
            .await?
    } else {
        None
    };
    Ok(S3Response::new(GetObjectAttributesOutput {
        checksum: checksum_of(row).filter(|_| wants("Checksum")),
        e_tag: wants("ETag").then(|| etag(row.etag)),
        last_modified: Some(seconds(row.order.stamp)),
        object_parts,
        object_size: signed(row.size).filter(|_| wants("ObjectSize")),
        storage_class: wants("StorageClass")
            .then(|| row.attributes.class.as_str().to_owned().into()),
        version_id: read_version(&bucket, row.version),
        ..GetObjectAttributesOutput::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_names_one_header_or_many() {
        let of = |texts: &[&str]| {
            let asked: Vec<_> = texts
                .iter()
                .map(|t| ObjectAttributes::from((*t).to_owned()))
                .collect();
            names(&asked).map(|names| names.len()).ok()
        };
        assert_eq!(of(&["ETag"]), Some(1));
        assert_eq!(of(&["ETag, Checksum,ObjectSize"]), Some(3));
        assert_eq!(of(&["ETag", "StorageClass"]), Some(2));
        for bad in [&["etag"][..], &["ETag,Foo"], &[""], &[]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
