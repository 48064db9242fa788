//! Rows in memory, for tests.

use crate::rows::{Changes, Row, Rows, RowsError};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Rows in a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryRows(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryRows {
    /// Writes `changes`.
    pub(crate) fn write(&mut self, changes: Changes) {
        for (key, value) in changes.0 {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
    }
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self.0.get(key).cloned())
    }
    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        let start = match from {
            Bound::Included(from) | Bound::Excluded(from) => from,
            Bound::Unbounded => &[],
        };
        if start >= to {
            return Box::new(std::iter::empty());
        }
        let found = self.0.range::<[u8], _>((from, Bound::Excluded(to)));
        Box::new(found.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

/// Counts the rows read from what it wraps.
#[derive(Debug)]
pub(crate) struct Counting<'a> {
    /// What is read.
    pub(crate) rows: &'a MemoryRows,
    /// Rows it gave, found or not.
    pub(crate) read: Cell<usize>,
}

impl Rows for Counting<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.read.set(self.read.get() + 1);
        self.rows.get(key)
    }
    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        let counted = |row| {
            self.read.set(self.read.get() + 1);
            row
        };
        Box::new(self.rows.scan(from, to).map(counted))
    }
}
