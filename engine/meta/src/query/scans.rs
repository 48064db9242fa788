//! What the background asks: dead things, parts to look over, stripes to repair, counters.

use super::body;
use crate::keys::{self, Table};
use crate::rows::{Row, Rows, RowsError};
use crate::state::{parse, scan};
use engine_core::meta::{DeadRow, PartFound, PartRow, Place};
use engine_types::{BucketId, DataId, ObjectKey, Stamp};
use std::ops::Bound;

/// A table's rows strictly after one, or from its start.
pub(super) fn rows_after<'a>(
    rows: &'a dyn Rows,
    table: Table,
    after: Option<&[u8]>,
) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
    let start = keys::table(table);
    let from = after.map_or(Bound::Included(&start[..]), Bound::Excluded);
    rows.scan(from, &keys::above(&start))
}

pub(super) fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Dead things since before `before`, in key order.
pub(super) fn dead(
    rows: &dyn Rows,
    after: Option<&(BucketId, ObjectKey, [u8; 16])>,
    before: Stamp,
    limit: u32,
) -> Result<Vec<(BucketId, ObjectKey, DeadRow)>, RowsError> {
    let after = after.map(|(bucket, key, id)| keys::dead(*bucket, key, id));
    let mut found = Vec::new();
    for row in rows_after(rows, Table::Dead, after.as_deref()) {
        if found.len() >= count(limit) {
            break;
        }
        let (row, value) = row?;
        let dead: DeadRow = parse(&value)?;
        if dead.since < before {
            let at = keys::split(Table::Dead, &row)?;
            found.push((at.bucket, at.key, dead));
        }
    }
    Ok(found)
}

/// Whether a data id is referenced or dead. A part's row stays until it is freed, so it says both.
pub(super) fn known(
    rows: &dyn Rows,
    bucket: BucketId,
    key: &ObjectKey,
    data: DataId,
) -> Result<bool, RowsError> {
    Ok(rows.get(&keys::part(bucket, key, data))?.is_some()
        || rows.get(&keys::dead(bucket, key, &data.0))?.is_some())
}

/// Parts that are not dead, each with the first chunk of its stripes. Inline bytes are left out.
pub(super) fn parts(
    rows: &dyn Rows,
    after: Option<&(BucketId, ObjectKey, DataId)>,
    limit: u32,
) -> Result<Vec<(BucketId, ObjectKey, PartFound)>, RowsError> {
    // Above every row of the part the last page ended with.
    let mut from = after.map_or_else(
        || keys::table(Table::Parts),
        |(bucket, key, data)| keys::above(&keys::part_rows(*bucket, key, *data)),
    );
    let end = keys::above(&keys::table(Table::Parts));
    let mut found = Vec::new();
    while found.len() < count(limit) {
        // One seek a part, because its chunks of stripes lie between it and the next.
        let Some(row) = rows.scan(Bound::Included(&from), &end).next() else {
            break;
        };
        let (row, value) = row?;
        let (at, data) = keys::split_id(Table::Parts, &row)?;
        let (bucket, key, data) = (at.bucket, at.key, DataId(data));
        from = keys::above(&keys::part_rows(bucket, &key, data));
        if rows.get(&keys::dead(bucket, &key, &data.0))?.is_some() {
            continue;
        }
        let row: PartRow = parse(&value)?;
        let mut part = PartFound {
            data,
            row,
            inline: None,
            stripes: Vec::new(),
        };
        if let Place::Stripes(_) = part.row.place {
            part.stripes = body::stripes(rows, bucket, &key, data, 0)?;
        }
        found.push((bucket, key, part));
    }
    Ok(found)
}

/// Stripes with a slot missing.
pub(super) fn repairs(
    rows: &dyn Rows,
    after: Option<&(BucketId, ObjectKey, DataId, u32)>,
    limit: u32,
) -> Result<Vec<(BucketId, ObjectKey, DataId, u32)>, RowsError> {
    let after = after.map(|(bucket, key, data, stripe)| keys::repair(*bucket, key, *data, *stripe));
    let found = rows_after(rows, Table::Repairs, after.as_deref()).take(count(limit));
    found.map(|row| keys::split_repair(&row?.0)).collect()
}

/// Every counter: its row's key ([`keys::split_counter`]) and value.
pub(super) fn counters(rows: &dyn Rows) -> Result<Vec<Row>, RowsError> {
    scan(rows, &keys::table(Table::Counters)).collect()
}
