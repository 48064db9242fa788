//! ListObjectVersions.

use crate::checksum;
use crate::gateway::{Gateway, RequestContext, fresh, signed, version_id};
use crate::list::{Encoding, Owners, algorithms, filled, list_query, page_size};
use crate::translate::{etag, time};
use crate::xml;
use engine_core::meta::{ListedVersion, VersionKind, VersionsPage};
use s3s::dto::*;
use s3s::xml::{SerResult, Serialize, SerializeContent, Serializer};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use std::io::Write;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

fn object(listed: &ListedVersion, encoding: Encoding, owners: &Owners) -> ObjectVersion {
    let row = &listed.row;
    ObjectVersion {
        checksum_algorithm: algorithms(row.checksum.as_ref()),
        checksum_type: row.checksum.as_ref().map(|c| checksum::kind(c.kind)),
        e_tag: Some(etag(row.etag)),
        is_latest: Some(listed.latest),
        key: Some(encoding.write(listed.key.as_str())),
        last_modified: Some(time(row.order.stamp)),
        owner: owners.get(&row.attributes.owner).cloned(),
        restore_status: None,
        size: signed(row.size),
        storage_class: Some(row.attributes.class.as_str().to_owned().into()),
        version_id: Some(row.version.to_string()),
    }
}

fn marker(listed: &ListedVersion, encoding: Encoding, owners: &Owners) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(listed.latest),
        key: Some(encoding.write(listed.key.as_str())),
        last_modified: Some(time(listed.row.order.stamp)),
        owner: owners.get(&listed.row.attributes.owner).cloned(),
        version_id: Some(listed.row.version.to_string()),
    }
}

/// One entry of a page.
enum Entry {
    Version(ObjectVersion),
    Marker(DeleteMarkerEntry),
}

/// A page as AWS writes it: one list by key, newest first. s3s knows two lists.
struct Page {
    head: ListObjectVersionsOutput,
    entries: Vec<Entry>,
}

impl Serialize for Page {
    fn serialize<W: Write>(&self, s: &mut Serializer<W>) -> SerResult {
        s.content_with_ns("ListVersionsResult", NAMESPACE, self)
    }
}

impl SerializeContent for Page {
    fn serialize_content<W: Write>(&self, s: &mut Serializer<W>) -> SerResult {
        self.head.serialize_content(s)?;
        for entry in &self.entries {
            match entry {
                Entry::Version(version) => s.content("Version", version)?,
                Entry::Marker(marker) => s.content("DeleteMarker", marker)?,
            }
        }
        Ok(())
    }
}

/// ListObjectVersions.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "max-keys")?;
    let after = filled(input.key_marker.as_ref()).cloned();
    let version_after = version_id(filled(input.version_id_marker.as_ref()).map(String::as_str))?;
    if version_after.is_some() && after.is_none() {
        return Err(s3_error!(
            InvalidArgument,
            "A version-id marker cannot be specified without a key marker."
        ));
    }
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let query = list_query!(input, after, size);
    let page = if size == 0 {
        VersionsPage::default()
    } else {
        fresh!(
            gateway,
            &cx,
            bucket,
            gateway
                .engine
                .list_versions(&bucket, query.clone(), version_after)
                .await
        )?
    };
    let owners = gateway
        .owners(page.versions.iter().map(|v| v.row.attributes.owner))
        .await?;
    let entry = |listed: &ListedVersion| match listed.row.kind {
        VersionKind::Object => Entry::Version(object(listed, encoding, &owners)),
        VersionKind::DeleteMarker => Entry::Marker(marker(listed, encoding, &owners)),
    };
    let entries = page.versions.iter().map(entry).collect();
    let (next_key, next_version) = page.next.clone().unzip();
    let head = ListObjectVersionsOutput {
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: filled(input.delimiter.as_ref()).map(|d| encoding.write(d)),
        encoding_type: encoding.dto(),
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(encoding.write(input.key_marker.as_deref().unwrap_or_default())),
        max_keys: Some(size),
        name: Some(input.bucket),
        next_key_marker: next_key.map(|k| encoding.write(&k)),
        next_version_id_marker: next_version.flatten().map(|v| v.to_string()),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        ..ListObjectVersionsOutput::default()
    };
    xml::answer(&cx.state, &Page { head, entries })
}
