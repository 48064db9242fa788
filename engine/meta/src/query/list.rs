//! `ListObjects`: current versions, one dense scan.

use super::walk::{self, Entry, Stream};
use crate::keys::{self, Table};
use crate::rows::{Row, Rows, RowsError};
use crate::state::parse;
use engine_core::meta::{ListPage, ListQuery, VersionRow};
use engine_types::{BucketId, ObjectKey};
use std::ops::Bound;

/// Rows of one table and bucket from a suffix on.
pub(super) struct TableStream<'a> {
    rows: &'a dyn Rows,
    table: Table,
    bucket: BucketId,
    end: Vec<u8>,
    scan: Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a>,
}

impl<'a> TableStream<'a> {
    pub(super) fn new(
        rows: &'a dyn Rows,
        table: Table,
        bucket: BucketId,
        page: &ListQuery,
    ) -> Self {
        let end = walk::end(table, bucket, page);
        Self {
            rows,
            table,
            bucket,
            end,
            scan: Box::new(std::iter::empty()),
        }
    }
    pub(super) fn seek(&mut self, suffix: &[u8]) {
        let from = super::place(self.table, self.bucket, suffix);
        self.scan = self.rows.scan(Bound::Included(&from), &self.end);
    }
    pub(super) fn next(&mut self) -> Result<Option<Row>, RowsError> {
        self.scan.next().transpose()
    }
}

struct Objects<'a>(TableStream<'a>);

impl Stream for Objects<'_> {
    type Item = VersionRow;
    fn seek(&mut self, suffix: &[u8]) {
        self.0.seek(suffix);
    }
    fn next(&mut self) -> Result<Option<(ObjectKey, VersionRow)>, RowsError> {
        let Some((key, value)) = self.0.next()? else {
            return Ok(None);
        };
        Ok(Some((
            keys::split(Table::Objects, &key)?.key,
            parse(&value)?,
        )))
    }
}

/// A page of current versions.
pub(super) fn list(
    rows: &dyn Rows,
    bucket: BucketId,
    page: &ListQuery,
) -> Result<ListPage, RowsError> {
    let mut stream = Objects(TableStream::new(rows, Table::Objects, bucket, page));
    stream.seek(&walk::start(page));
    let walked = walk::walk(&mut stream, page)?;
    let last = walked
        .entries
        .last()
        .filter(|_| walked.more)
        .map(|entry| match entry {
            Entry::Item(key, _) => key.as_str().to_owned(),
            Entry::Prefix(prefix) => prefix.clone(),
        });
    let mut found = ListPage {
        next: last,
        ..ListPage::default()
    };
    for entry in walked.entries {
        match entry {
            Entry::Item(key, row) => found.objects.push((key, row)),
            Entry::Prefix(prefix) => found.prefixes.push(prefix),
        }
    }
    Ok(found)
}
