//! One page of a listing: keys in byte order, rolled up by delimiter.
//!
//! A rolled-up prefix costs one row: the walk seeks past all that lies below it. Positions are
//! suffixes of row keys behind (table, bucket), so that one walk serves every table.

use crate::keys;
use crate::rows::RowsError;
use engine_core::meta::ListQuery;
use engine_types::ObjectKey;

/// Rows of a listing in key order.
pub(super) trait Stream {
    /// What stands beside the key.
    type Item;
    /// Goes on from this suffix, inclusive.
    fn seek(&mut self, suffix: &[u8]);
    /// The next row.
    fn next(&mut self) -> Result<Option<(ObjectKey, Self::Item)>, RowsError>;
}

/// One line of a page.
#[derive(Debug)]
pub(super) enum Entry<T> {
    /// A row.
    Item(ObjectKey, T),
    /// A common prefix.
    Prefix(String),
}

/// A page.
#[derive(Debug)]
pub(super) struct Walked<T> {
    /// In byte order.
    pub(super) entries: Vec<Entry<T>>,
    /// At least one more entry really follows.
    pub(super) more: bool,
}

/// Where the rows of a prefix end.
pub(super) fn end(table: keys::Table, bucket: engine_types::BucketId, page: &ListQuery) -> Vec<u8> {
    keys::above(&super::place(table, bucket, &keys::escaped(&page.prefix)))
}

/// First suffix behind all rows of `key`.
pub(super) fn behind(key: &str) -> Vec<u8> {
    keys::above(&keys::ended(key))
}

/// Where a page begins that continues after no particular version or upload.
pub(super) fn start(page: &ListQuery) -> Vec<u8> {
    let first = keys::escaped(&page.prefix);
    let Some(after) = &page.after else {
        return first;
    };
    let next = if rolled(page, after) == Some(after) {
        keys::above(&keys::escaped(after))
    } else {
        behind(after)
    };
    first.max(next)
}

/// The common prefix `key` is rolled up into.
fn rolled<'a>(page: &ListQuery, key: &'a str) -> Option<&'a str> {
    if page.delimiter.is_empty() {
        return None;
    }
    let at = key
        .strip_prefix(page.prefix.as_str())?
        .find(&page.delimiter)?;
    key.get(..page.prefix.len() + at + page.delimiter.len())
}

/// Fills a page from where `stream` stands.
pub(super) fn walk<S: Stream>(
    stream: &mut S,
    page: &ListQuery,
) -> Result<Walked<S::Item>, RowsError> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    if limit == 0 {
        return Ok(Walked {
            entries,
            more: false,
        });
    }
    while let Some((key, item)) = stream.next()? {
        if entries.len() == limit {
            return Ok(Walked {
                entries,
                more: true,
            });
        }
        if let Some(prefix) = rolled(page, key.as_str()) {
            stream.seek(&keys::above(&keys::escaped(prefix)));
            entries.push(Entry::Prefix(prefix.to_owned()));
        } else {
            entries.push(Entry::Item(key, item));
        }
    }
    Ok(Walked {
        entries,
        more: false,
    })
}
