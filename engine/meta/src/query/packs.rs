//! What the packer asks. A page costs what it shows: nothing here scans objects.

use super::scans::{count, rows_after};
use crate::keys::{self, Table};
use crate::rows::{Rows, RowsError};
use crate::state::{parse, read};
use engine_core::meta::{PACK_PAGE_MAX, PackMember, PackQuery, PackReply, PackRow, PartRow, Place};
use engine_types::{BirthId, DataId, PackId, Stamp};
use serde_bytes::ByteBuf;

/// Answers `query`.
pub(super) fn answer(rows: &dyn Rows, query: &PackQuery) -> Result<PackReply, RowsError> {
    Ok(match query {
        PackQuery::Unpacked {
            after,
            before,
            limit,
        } => unpacked(rows, *after, *before, (*limit).min(PACK_PAGE_MAX))?,
        PackQuery::Inline(parts) => {
            let bytes = parts.iter().map(|(bucket, key, data)| {
                let bytes = rows.get(&keys::inline(*bucket, key, *data))?;
                Ok(bytes.map(ByteBuf::from))
            });
            PackReply::Inline(bytes.collect::<Result<_, RowsError>>()?)
        }
        PackQuery::Packs {
            after,
            sparse,
            limit,
        } => packs(rows, *after, *sparse, (*limit).min(PACK_PAGE_MAX))?,
        PackQuery::Within { pack, members } => {
            let held = members.iter().map(|member| within(rows, *pack, member));
            PackReply::Within(held.collect::<Result<_, RowsError>>()?)
        }
    })
}

fn unpacked(
    rows: &dyn Rows,
    after: Option<DataId>,
    before: Stamp,
    limit: u32,
) -> Result<PackReply, RowsError> {
    let after = after.map(keys::unpacked);
    let mut found = Vec::new();
    for row in rows_after(rows, Table::Unpacked, after.as_deref()).take(count(limit)) {
        let (row, value) = row?;
        let data = DataId(keys::split_bare_id(Table::Unpacked, &row)?);
        // By birth: all that follows is younger.
        if data.birth() >= before {
            break;
        }
        found.push((data, parse(&value)?));
    }
    Ok(PackReply::Unpacked(found))
}

fn packs(
    rows: &dyn Rows,
    after: Option<PackId>,
    sparse: bool,
    limit: u32,
) -> Result<PackReply, RowsError> {
    let (table, at): (_, fn(PackId) -> Vec<u8>) = if sparse {
        (Table::SparsePacks, keys::sparse_pack)
    } else {
        (Table::Packs, keys::pack)
    };
    let after = after.map(at);
    let mut found = Vec::new();
    for row in rows_after(rows, table, after.as_deref()).take(count(limit)) {
        let id = PackId(keys::split_bare_id(table, &row?.0)?);
        if let Some(pack) = read::<PackRow>(rows, &keys::pack(id))? {
            found.push((id, pack));
        }
    }
    Ok(PackReply::Packs(found))
}

fn within(rows: &dyn Rows, of: PackId, member: &PackMember) -> Result<bool, RowsError> {
    let PackMember {
        bucket,
        key,
        data,
        offset: from,
        length: bytes,
    } = member;
    let part: Option<PartRow> = read(rows, &keys::part(*bucket, key, *data))?;
    Ok(part.is_some_and(|part| {
        matches!(part.place, Place::Packed { pack, offset, length, .. }
            if pack == of && offset == *from && length == *bytes)
    }))
}
