//! ListObjectVersions: current and other versions as one stream, key by key, newest first.

use super::list::TableStream;
use super::walk::{self, Entry, Stream};
use crate::keys::{self, Table};
use crate::rows::{Row, Rows, RowsError};
use crate::state::{current, find, parse};
use engine_core::meta::{ListQuery, ListedVersion, VersionRow, VersionsPage};
use engine_types::{BucketId, ObjectKey, Order, VersionId};

/// `objects` and `versions` merged. A key's row in `objects` is a prefix of those in `versions`, so
/// byte order of suffixes puts the current version before the others.
struct Versions<'a> {
    objects: TableStream<'a>,
    versions: TableStream<'a>,
    next_object: Option<Row>,
    next_version: Option<Row>,
    filled: bool,
    /// Newest version of this key was given, or stands before where the page began.
    seen: Option<ObjectKey>,
}

/// Bytes of a row's key before the suffix: table and bucket.
const HEAD_BYTES: usize = 9;

fn suffix(row: &Row) -> &[u8] {
    row.0.get(HEAD_BYTES..).unwrap_or_default()
}

impl<'a> Versions<'a> {
    fn new(rows: &'a dyn Rows, bucket: BucketId, page: &ListQuery) -> Self {
        Self {
            objects: TableStream::new(rows, Table::Objects, bucket, page),
            versions: TableStream::new(rows, Table::Versions, bucket, page),
            next_object: None,
            next_version: None,
            filled: false,
            seen: None,
        }
    }

    fn seek_each(&mut self, objects: &[u8], versions: &[u8]) {
        self.objects.seek(objects);
        self.versions.seek(versions);
        self.filled = false;
    }
}

impl Stream for Versions<'_> {
    type Item = (VersionRow, bool);

    fn seek(&mut self, suffix: &[u8]) {
        self.seek_each(suffix, suffix);
    }

    fn next(&mut self) -> Result<Option<(ObjectKey, (VersionRow, bool))>, RowsError> {
        if !self.filled {
            (self.next_object, self.next_version) = (self.objects.next()?, self.versions.next()?);
            self.filled = true;
        }
        let object_first = match (&self.next_object, &self.next_version) {
            (Some(object), Some(version)) => suffix(object) < suffix(version),
            (object, _) => object.is_some(),
        };
        if object_first {
            let next = self.objects.next()?;
            let Some((row, value)) = std::mem::replace(&mut self.next_object, next) else {
                return Ok(None);
            };
            let key = keys::split(Table::Objects, &row)?.key;
            self.seen = Some(key.clone());
            return Ok(Some((key, (parse(&value)?, true))));
        }
        let Some((row, value)) = self.next_version.take() else { return Ok(None) };
        self.next_version = self.versions.next()?;
        let (_, key, _) = keys::split_version(&row)?;
        let latest = self.seen.as_ref() != Some(&key);
        self.seen = Some(key.clone());
        Ok(Some((key, (parse(&value)?, latest))))
    }
}

/// A page of versions.
pub(super) fn list(
    rows: &dyn Rows,
    bucket: BucketId,
    page: &ListQuery,
    version_after: Option<VersionId>,
) -> Result<VersionsPage, RowsError> {
    let mut stream = Versions::new(rows, bucket, page);
    let after = page.after.as_deref().and_then(|after| ObjectKey::parse(after).ok());
    match (after, version_after) {
        (Some(key), Some(version)) => resume(&mut stream, rows, (bucket, &key, version), page)?,
        _ => stream.seek(&walk::start(page)),
    }
    let walked = walk::walk(&mut stream, page)?;
    let last = walked.entries.last().filter(|_| walked.more).map(|entry| match entry {
        Entry::Item(key, (row, _)) => (key.as_str().to_owned(), Some(row.version)),
        Entry::Prefix(prefix) => (prefix.clone(), None),
    });
    let mut found = VersionsPage { next: last, ..VersionsPage::default() };
    for entry in walked.entries {
        match entry {
            Entry::Item(key, (row, latest)) => found.versions.push(ListedVersion { key, row, latest }),
            Entry::Prefix(prefix) => found.prefixes.push(prefix),
        }
    }
    Ok(found)
}

/// Begins strictly after one version of a key. That version may be gone by now: its id still says
/// where it stood. Only a vanished `null` does not; then all of the key is listed again, since
/// leaving versions out would be worse.
fn resume(
    stream: &mut Versions<'_>,
    rows: &dyn Rows,
    (bucket, key, version): (BucketId, &ObjectKey, VersionId),
    page: &ListQuery,
) -> Result<(), RowsError> {
    let first = keys::escaped(&page.prefix);
    let order = match version {
        VersionId::Id { order, .. } => Some(order),
        VersionId::Null => find(rows, bucket, key, version)?.map(|found| found.row.order),
    };
    let mut below = keys::ended(key.as_str());
    if let Some(order) = order {
        below.extend(order.newest_first());
        // The smallest suffix greater than that row's.
        below.push(0);
    }
    let older = |found: Order| order.is_none_or(|order| found < order);
    let newest = current(rows, bucket, key)?;
    let object_left = newest.as_ref().is_some_and(|newest| newest.in_objects && older(newest.row.order));
    let objects = if object_left { keys::ended(key.as_str()) } else { walk::behind(key.as_str()) };
    if newest.is_some_and(|newest| !older(newest.row.order)) {
        stream.seen = Some(key.clone());
    }
    stream.seek_each(&first.clone().max(objects), &first.max(below));
    Ok(())
}
