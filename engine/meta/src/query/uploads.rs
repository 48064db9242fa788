//! `ListMultipartUploads` and `ListParts`.

use super::list::TableStream;
use super::walk::{self, Entry, Stream};
use crate::keys::{self, Table};
use crate::rows::{Rows, RowsError};
use crate::state::{parse, read};
use engine_core::meta::{ListQuery, ListedUpload, PartsPage, UploadRow, UploadsPage};
use engine_types::{BucketId, ObjectKey, UploadId};
use std::ops::Bound;

struct Uploads<'a>(TableStream<'a>);

impl Stream for Uploads<'_> {
    type Item = (UploadId, UploadRow);
    fn seek(&mut self, suffix: &[u8]) {
        self.0.seek(suffix);
    }
    fn next(&mut self) -> Result<Option<(ObjectKey, Self::Item)>, RowsError> {
        let Some((row, value)) = self.0.next()? else {
            return Ok(None);
        };
        let (found, upload) = keys::split_id(Table::Uploads, &row)?;
        Ok(Some((found.key, (UploadId(upload), parse(&value)?))))
    }
}

/// A page of open uploads: by key, then by age (their ids sort by birth).
pub(super) fn list(
    rows: &dyn Rows,
    bucket: BucketId,
    page: &ListQuery,
    upload_after: Option<UploadId>,
) -> Result<UploadsPage, RowsError> {
    let mut stream = Uploads(TableStream::new(rows, Table::Uploads, bucket, page));
    match (&page.after, upload_after) {
        (Some(after), Some(upload)) => {
            let mut below = keys::ended(after);
            below.extend(upload.0);
            below.push(0);
            stream.seek(&below.max(keys::escaped(&page.prefix)));
        }
        _ => stream.seek(&walk::start(page)),
    }
    let walked = walk::walk(&mut stream, page)?;
    let last = walked
        .entries
        .last()
        .filter(|_| walked.more)
        .map(|entry| match entry {
            Entry::Item(key, (upload, _)) => (key.as_str().to_owned(), Some(*upload)),
            Entry::Prefix(prefix) => (prefix.clone(), None),
        });
    let mut found = UploadsPage {
        next: last,
        ..UploadsPage::default()
    };
    for entry in walked.entries {
        match entry {
            Entry::Item(key, (upload, row)) => {
                found.uploads.push(ListedUpload { key, upload, row });
            }
            Entry::Prefix(prefix) => found.prefixes.push(prefix),
        }
    }
    Ok(found)
}

/// Parts of an open upload with number > `after`; none: no such upload.
pub(super) fn parts(
    rows: &dyn Rows,
    (bucket, key, upload): (BucketId, &ObjectKey, UploadId),
    after: u16,
    limit: u32,
) -> Result<Option<PartsPage>, RowsError> {
    let Some(row) = read(rows, &keys::upload(bucket, key, upload))? else {
        return Ok(None);
    };
    let mut page = PartsPage {
        upload: row,
        parts: Vec::new(),
        more: false,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(Some(page));
    }
    let from = keys::upload_part(bucket, key, upload, after);
    let end = keys::above(&keys::upload_parts(bucket, key, upload));
    for row in rows.scan(Bound::Excluded(&from), &end) {
        let (part, value) = row?;
        if page.parts.len() == limit {
            page.more = true;
            break;
        }
        page.parts
            .push((keys::split_part_number(&part)?, parse(&value)?));
    }
    Ok(Some(page))
}
