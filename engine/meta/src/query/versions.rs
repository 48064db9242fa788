//! `ListObjectVersions`: current and other versions as one stream, key by key, newest first.

use super::list::TableStream;
use super::walk::{self, Entry, Stream};
use crate::keys::{self, Table};
use crate::rows::{Row, Rows, RowsError};
use crate::state::{Line, current, find, parse};
use engine_core::meta::{ListQuery, ListedVersion, VersionRow, VersionsPage};
use engine_types::{BucketId, ObjectKey, Order, VersionId};

/// A stream whose next row can be looked at before it is taken, and is read no sooner: what a page
/// seeks past is never read.
struct Peeked<'a> {
    stream: TableStream<'a>,
    ahead: Ahead,
}

/// What is known of the next row.
enum Ahead {
    /// Not read yet.
    Unread,
    /// Read: this, or there is none.
    Read(Option<Row>),
}

/// Bytes of a row's key before the suffix: table and bucket.
const HEAD_BYTES: usize = 9;

impl<'a> Peeked<'a> {
    fn new(rows: &'a dyn Rows, table: Table, bucket: BucketId, page: &ListQuery) -> Self {
        Self {
            stream: TableStream::new(rows, table, bucket, page),
            ahead: Ahead::Unread,
        }
    }
    fn seek(&mut self, suffix: &[u8]) {
        self.stream.seek(suffix);
        self.ahead = Ahead::Unread;
    }
    /// The next row's key behind table and bucket.
    fn suffix(&mut self) -> Result<Option<&[u8]>, RowsError> {
        if matches!(self.ahead, Ahead::Unread) {
            self.ahead = Ahead::Read(self.stream.next()?);
        }
        let Ahead::Read(Some((key, _))) = &self.ahead else {
            return Ok(None);
        };
        Ok(Some(key.get(HEAD_BYTES..).unwrap_or_default()))
    }
    fn take(&mut self) -> Option<Row> {
        match std::mem::replace(&mut self.ahead, Ahead::Unread) {
            Ahead::Read(row) => row,
            Ahead::Unread => None,
        }
    }
}

/// `objects` and `versions` merged. A key's row in `objects` is a prefix of those in `versions`, so
/// byte order of suffixes puts the current version before the others.
struct Versions<'a> {
    objects: Peeked<'a>,
    others: Peeked<'a>,
    /// The newest version of this key was given, or stands before where the page began.
    seen: Option<ObjectKey>,
}

impl<'a> Versions<'a> {
    fn new(rows: &'a dyn Rows, bucket: BucketId, page: &ListQuery) -> Self {
        Self {
            objects: Peeked::new(rows, Table::Objects, bucket, page),
            others: Peeked::new(rows, Table::Versions, bucket, page),
            seen: None,
        }
    }
}

impl Stream for Versions<'_> {
    type Item = (VersionRow, bool);

    fn seek(&mut self, suffix: &[u8]) {
        self.objects.seek(suffix);
        self.others.seek(suffix);
    }

    fn next(&mut self) -> Result<Option<(ObjectKey, (VersionRow, bool))>, RowsError> {
        let object_first = match (self.objects.suffix()?, self.others.suffix()?) {
            (Some(object), Some(version)) => object < version,
            (object, _) => object.is_some(),
        };
        let (table, from) = if object_first {
            (Table::Objects, &mut self.objects)
        } else {
            (Table::Versions, &mut self.others)
        };
        let Some((row, value)) = from.take() else {
            return Ok(None);
        };
        let key = keys::split(table, &row)?.key;
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
    let after = page
        .after
        .as_deref()
        .and_then(|after| ObjectKey::parse(after).ok());
    match (after, version_after) {
        (Some(key), Some(version)) => resume(&mut stream, rows, (bucket, &key, version), page)?,
        _ => stream.seek(&walk::start(page)),
    }
    let walked = walk::walk(&mut stream, page)?;
    let last = walked
        .entries
        .last()
        .filter(|_| walked.more)
        .map(|entry| match entry {
            Entry::Item(key, (row, _)) => (key.as_str().to_owned(), Some(row.version)),
            Entry::Prefix(prefix) => (prefix.clone(), None),
        });
    let mut found = VersionsPage {
        next: last,
        ..VersionsPage::default()
    };
    for entry in walked.entries {
        match entry {
            Entry::Item(key, (row, latest)) => {
                found.versions.push(ListedVersion { key, row, latest });
            }
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
    let lowest = keys::escaped(&page.prefix);
    // Either way: one look-up a page is nothing, and a marker may be of any bucket.
    let line = Line {
        bucket,
        versioned: true,
    };
    let order = match version {
        VersionId::Id { order, .. } => Some(order),
        VersionId::Null => find(rows, line, key, version)?.map(|found| found.row.order),
    };
    let mut below = keys::ended(key.as_str());
    if let Some(order) = order {
        below.extend(order.newest_first());
        // The smallest suffix greater than that row's.
        below.push(0);
    }
    let is_left = |found: Order| order.is_none_or(|order| found < order);
    let newest = current(rows, line, key)?;
    let object_left = newest
        .as_ref()
        .is_some_and(|newest| newest.in_objects && is_left(newest.row.order));
    let objects = if object_left {
        keys::ended(key.as_str())
    } else {
        walk::behind(key.as_str())
    };
    if newest.is_some_and(|newest| !is_left(newest.row.order)) {
        stream.seen = Some(key.clone());
    }
    stream.objects.seek(&lowest.clone().max(objects));
    stream.others.seek(&lowest.max(below));
    Ok(())
}
