//! Rows with changes laid over them that are not written yet, so that a command sees those before
//! it in the same batch, and its own.

use crate::rows::{Changes, Row, Rows, RowsError};
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::ops::Bound;

/// `base` as it will read once `changes` are written.
#[derive(Clone, Copy)]
pub(crate) struct Overlay<'a> {
    /// What lies below.
    pub(crate) base: &'a dyn Rows,
    /// What lies above.
    pub(crate) changes: &'a Changes,
}

impl Rows for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        match self.changes.0.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.get(key),
        }
    }

    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        // BTreeMap::range panics on bounds the wrong way round; an empty range is meant.
        let empty = match from {
            Bound::Included(from) | Bound::Excluded(from) => from >= to,
            Bound::Unbounded => to.is_empty(),
        };
        if empty {
            return Box::new(std::iter::empty());
        }
        let above = self.changes.0.range::<[u8], _>((from, Bound::Excluded(to)));
        let merged = Merged {
            below: self.base.scan(from, to).peekable(),
            above: above.peekable(),
        };
        Box::new(merged)
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
            let overlay = Overlay { base: &rows, changes: &changes };
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
