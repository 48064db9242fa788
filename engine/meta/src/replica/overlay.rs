//! The changes of earlier commands of a batch, laid over the tables; and the digest of changes.

use crate::rows::{Changes, Row, Rows, RowsError};
use std::iter::Peekable;
use std::ops::Bound;

/// Tables with changes not yet written.
pub(super) struct Overlay<'a> {
    pub below: &'a dyn Rows,
    pub changes: &'a Changes,
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
        scan(self.below, self.changes, from, to)
    }
}

/// Rows of `below` with `changes` laid over them.
pub(super) fn scan<'a>(
    below: &'a dyn Rows,
    changes: &'a Changes,
    from: Bound<&[u8]>,
    to: &[u8],
) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
    let start = match from {
        Bound::Included(key) | Bound::Excluded(key) => key,
        Bound::Unbounded => &[],
    };
    if start >= to {
        return Box::new(std::iter::empty());
    }
    let above = changes.0.range::<[u8], _>((from, Bound::Excluded(to)));
    Box::new(Merge {
        below: below.scan(from, to).peekable(),
        above: above.peekable(),
    })
}

struct Merge<B: Iterator, A: Iterator> {
    below: Peekable<B>,
    above: Peekable<A>,
}

impl<'a, B, A> Iterator for Merge<B, A>
where
    B: Iterator<Item = Result<Row, RowsError>>,
    A: Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>,
{
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.below.peek(), self.above.peek()) {
                (Some(Err(_)), _) | (_, None) => return self.below.next(),
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(Ok((below, _))), Some((above, _))) => below.cmp(above),
            };
            if order.is_lt() {
                return self.below.next();
            }
            if order.is_eq() {
                self.below.next();
            }
            if let Some((key, Some(value))) = self.above.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}

/// Adds one row to a digest; lengths keep key and value apart.
pub(super) fn sum_row(sum: &mut crc_fast::Digest, key: &[u8], value: Option<&[u8]>) {
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(
        &value
            .map_or(u64::MAX, |value| value.len() as u64)
            .to_le_bytes(),
    );
    sum.update(value.unwrap_or_default());
}

/// The digest after a command's changes: the same on every replica at one index.
pub(super) fn chain(digest: u64, index: u64, changes: &Changes) -> u64 {
    let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    sum.update(&digest.to_le_bytes());
    sum.update(&index.to_le_bytes());
    for (key, value) in &changes.0 {
        sum_row(&mut sum, key, value.as_deref());
    }
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    struct Map(BTreeMap<Vec<u8>, Vec<u8>>);
    impl Rows for Map {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
            Ok(self.0.get(key).cloned())
        }
        fn scan<'a>(
            &'a self,
            from: Bound<&[u8]>,
            to: &[u8],
        ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
            let rows = self.0.range::<[u8], _>((from, Bound::Excluded(to)));
            Box::new(rows.map(|(key, value)| Ok((key.clone(), value.clone()))))
        }
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_if_its_changes_were_written(
            rows: BTreeMap<Vec<u8>, Vec<u8>>,
            changes in prop::collection::btree_map(prop::collection::vec(0..3_u8, 0..3), any::<Option<Vec<u8>>>(), 0..20),
            from in prop::collection::vec(0..3_u8, 0..3),
            to in prop::collection::vec(0..3_u8, 0..3),
        ) {
            let mut written = rows.clone();
            for (key, value) in &changes {
                match value {
                    Some(value) => written.insert(key.clone(), value.clone()),
                    None => written.remove(key),
                };
            }
            let (below, changes) = (Map(rows), Changes(changes));
            let over = Overlay { below: &below, changes: &changes };
            for key in written.keys().chain(changes.0.keys()) {
                prop_assert_eq!(over.get(key)?, written.get(key).cloned());
            }
            if from < to {
                for bound in [Bound::Included(from.as_slice()), Bound::Excluded(from.as_slice())] {
                    let found: Vec<Row> = over.scan(bound, &to).collect::<Result<_, _>>()?;
                    let due: Vec<Row> = Map(written.clone()).scan(bound, &to).collect::<Result<_, _>>()?;
                    prop_assert_eq!(found, due);
                }
            }
        }
    }
}
