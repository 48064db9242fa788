//! What `state` (pure apply) and `query` see of a replica's tables: ordered bytes, and the changes
//! of the commands being applied laid over them.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::ops::Bound;

/// The tables could not be read: the replica stops and is rebuilt, nothing is guessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tables: {0}")]
pub struct RowsError(pub String);

/// One row: full key (table tag first) and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Ordered rows of one replica at one moment.
pub trait Rows {
    /// The row at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError>;
    /// Rows from `from` (bounds as given) up to `to` (exclusive), ascending, lazily.
    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a>;
}

/// Row changes of one or more commands, not yet written; `None` deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(pub BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Changes {
    /// Writes a row.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.insert(key, Some(value));
    }
    /// Deletes a row; absent is fine.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.0.insert(key, None);
    }
}

/// Rows with changes laid over them that are not written yet: what a command sees of those before it
/// in its batch and of its own, and a reader of what is ahead of the tables.
#[derive(Clone, Copy)]
pub(crate) struct Overlay<'a> {
    /// What lies below.
    pub(crate) below: &'a dyn Rows,
    /// What lies above.
    pub(crate) changes: &'a Changes,
}

impl<'a> Overlay<'a> {
    /// [`Rows::scan`] for as long as what it is made of lives.
    pub(crate) fn into_scan(
        self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        // BTreeMap::range panics on bounds the wrong way round; an empty range is meant.
        let start = match from {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &[],
        };
        if start >= to {
            return Box::new(std::iter::empty());
        }
        let above = self.changes.0.range::<[u8], _>((from, Bound::Excluded(to)));
        Box::new(Merged {
            below: self.below.scan(from, to).peekable(),
            above: above.peekable(),
        })
    }
}

impl Rows for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        match self.changes.0.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.below.get(key),
        }
    }

    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        self.into_scan(from, to)
    }
}

/// Two ascending streams as one; where both have a key, the change wins.
struct Merged<'a, I: Iterator<Item = Result<Row, RowsError>>> {
    below: Peekable<I>,
    above: Peekable<Range<'a, Vec<u8>, Option<Vec<u8>>>>,
}

impl<I: Iterator<Item = Result<Row, RowsError>>> Iterator for Merged<'_, I> {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let changed = self.above.peek().map(|(key, _)| *key);
            match (self.below.peek(), changed) {
                (Some(Err(_)), _) | (_, None) => return self.below.next(),
                (Some(Ok((key, _))), Some(changed)) if key < changed => return self.below.next(),
                (Some(Ok((key, _))), Some(changed)) if key == changed => drop(self.below.next()),
                _ => {}
            }
            let (key, value) = self.above.next()?;
            if let Some(value) = value {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryRows;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_as_if_the_changes_were_written(
            below in prop::collection::btree_map(prop::collection::vec(0..4u8, 0..4), any::<u8>(), 0..20),
            above in prop::collection::btree_map(prop::collection::vec(0..4u8, 0..4), any::<Option<u8>>(), 0..20),
            from in prop::collection::vec(0..4u8, 0..4),
            to in prop::collection::vec(0..4u8, 0..4),
            open in any::<bool>(),
        ) {
            let mut rows = MemoryRows::default();
            let mut changes = Changes::default();
            for (key, value) in below {
                rows.0.insert(key, vec![value]);
            }
            for (key, value) in above {
                changes.0.insert(key, value.map(|v| vec![v]));
            }
            let from = if open { Bound::Excluded(&from[..]) } else { Bound::Included(&from[..]) };
            let overlay = Overlay { below: &rows, changes: &changes };
            let seen: Vec<_> = overlay.scan(from, &to).map(Result::unwrap).collect();
            let mut written = rows.clone();
            written.write(changes.clone());
            let want: Vec<_> = written.scan(from, &to).map(Result::unwrap).collect();
            prop_assert_eq!(seen, want);
            for key in written.0.keys().chain(rows.0.keys()) {
                prop_assert_eq!(overlay.get(key), written.get(key));
            }
        }
    }
}
