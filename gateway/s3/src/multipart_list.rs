//! ListParts and ListMultipartUploads.

use crate::checksum::{self, set_checksum};
use crate::gateway::{Gateway, RequestContext, fresh, object_key, signed};
use crate::list::{Encoding, filled, list_query, page_size};
use crate::multipart::upload_id;
use crate::translate::{etag, time};
use crate::xml;
use engine_core::meta::{ListedUpload, UploadPartRow, UploadsPage};
use engine_types::ETag;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

fn part(number: u16, row: &UploadPartRow) -> Part {
    let mut part = Part {
        e_tag: Some(etag(ETag {
            md5: row.md5,
            parts: 0,
        })),
        last_modified: Some(time(row.modified)),
        part_number: Some(i32::from(number)),
        size: signed(row.size),
        ..Part::default()
    };
    if let Some((algorithm, value)) = row.declared.as_ref().or(row.checksum.as_ref()) {
        set_checksum!(part, algorithm, checksum::value_text(value));
    }
    part
}

/// Who began an upload, as listings show it.
fn initiator(owner: &Owner) -> Initiator {
    Initiator {
        display_name: owner.display_name.clone(),
        id: owner.id.clone(),
    }
}

/// ListParts.
pub(crate) async fn parts(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let (key, upload) = (object_key(&input.key)?, upload_id(&input.upload_id)?);
    let size = page_size(input.max_parts, "max-parts")?;
    let after = match input.part_number_marker.map(u16::try_from) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) if input.part_number_marker.is_some_and(|m| m > 0) => u16::MAX,
        Some(Err(_)) => {
            return Err(s3_error!(
                InvalidArgument,
                "Argument part-number-marker must be an integer between 0 and 2147483647"
            ));
        }
    };
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let limit = u32::try_from(size).unwrap_or_default();
    let page = fresh!(
        gateway,
        &cx,
        bucket,
        gateway
            .engine
            .list_parts(&bucket, &key, upload, after, limit)
            .await
    )?;
    let by = gateway.owner(page.upload.initiator).await?;
    let owner = gateway.owner(page.upload.attributes.owner).await?;
    let last = page.parts.last().map_or(after, |(number, _)| *number);
    let output = ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: page
            .upload
            .checksum
            .map(|(algorithm, _)| ChecksumAlgorithm::from_static(checksum::name(algorithm))),
        checksum_type: page.upload.checksum.map(|(_, kind)| checksum::kind(kind)),
        initiator: Some(initiator(&by)),
        is_truncated: Some(page.more),
        key: Some(input.key),
        max_parts: Some(size),
        next_part_number_marker: Some(i32::from(last)),
        owner: Some(owner),
        part_number_marker: Some(i32::from(after)),
        parts: Some(
            page.parts
                .iter()
                .map(|(number, row)| part(*number, row))
                .collect(),
        ),
        storage_class: Some(page.upload.attributes.class.as_str().to_owned().into()),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    };
    xml::answer(&cx.state, &output)
}

fn upload(
    listed: &ListedUpload,
    encoding: Encoding,
    owners: &crate::list::Owners,
) -> MultipartUpload {
    let row = &listed.row;
    MultipartUpload {
        checksum_algorithm: row
            .checksum
            .map(|(algorithm, _)| ChecksumAlgorithm::from_static(checksum::name(algorithm))),
        checksum_type: row.checksum.map(|(_, kind)| checksum::kind(kind)),
        initiated: Some(time(row.initiated)),
        initiator: owners.get(&row.initiator).map(initiator),
        key: Some(encoding.write(listed.key.as_str())),
        owner: owners.get(&row.attributes.owner).cloned(),
        storage_class: Some(row.attributes.class.as_str().to_owned().into()),
        upload_id: Some(listed.upload.to_string()),
    }
}

/// ListMultipartUploads.
pub(crate) async fn uploads(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = page_size(input.max_uploads, "max-uploads")?;
    let after = filled(input.key_marker.as_ref()).cloned();
    // Without a key marker an upload marker is ignored, as AWS documents.
    let marker = filled(input.upload_id_marker.as_ref()).filter(|_| after.is_some());
    let upload_after = marker.map(|m| {
        m.parse()
            .map_err(|_malformed| s3_error!(InvalidArgument, "Invalid uploadId marker"))
    });
    let upload_after = upload_after.transpose()?;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let query = list_query!(input, after, size);
    let page = if size == 0 {
        UploadsPage::default()
    } else {
        fresh!(
            gateway,
            &cx,
            bucket,
            gateway
                .engine
                .list_uploads(&bucket, query.clone(), upload_after)
                .await
        )?
    };
    let people = page
        .uploads
        .iter()
        .flat_map(|u| [u.row.initiator, u.row.attributes.owner]);
    let owners = gateway.owners(people).await?;
    let (next_key, next_upload) = page.next.clone().unzip();
    let output = ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: filled(input.delimiter.as_ref()).map(|d| encoding.write(d)),
        encoding_type: encoding.dto(),
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(encoding.write(input.key_marker.as_deref().unwrap_or_default())),
        max_uploads: Some(size),
        next_key_marker: next_key.map(|k| encoding.write(&k)),
        next_upload_id_marker: next_upload.flatten().map(|u| u.to_string()),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(
            page.uploads
                .iter()
                .map(|u| upload(u, encoding, &owners))
                .collect(),
        ),
        ..ListMultipartUploadsOutput::default()
    };
    xml::answer(&cx.state, &output)
}
