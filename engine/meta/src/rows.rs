//! What `state` (pure apply) and `query` see of a replica's tables: ordered bytes, and the changes
//! of the commands being applied laid over them.

use std::collections::BTreeMap;
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
