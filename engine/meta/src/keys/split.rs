//! Row keys read back. Every byte string decodes to what encodes to it, or is refused.

use super::Table;
use crate::rows::RowsError;
use engine_tenancy::Scope;
use engine_types::{AccountId, BucketId, DataId, KeyId, NodeId, ObjectKey, Order, StorageClass};

/// What stands behind (bucket, object key) in a row's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRest<'a> {
    /// Bucket.
    pub bucket: BucketId,
    /// Object key.
    pub key: ObjectKey,
    /// The rest of the row's key.
    pub rest: &'a [u8],
}

/// A row's key that nobody wrote.
fn malformed(key: &[u8]) -> RowsError {
    let shown: Vec<String> = key
        .iter()
        .take(40)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    RowsError(format!("malformed key {}", shown.concat()))
}

/// Bucket, object key and what follows, of a row of `expected`.
pub fn split(expected: Table, row: &[u8]) -> Result<KeyRest<'_>, RowsError> {
    let (tag, bytes) = row.split_first().ok_or_else(|| malformed(row))?;
    let (bucket, bytes) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| malformed(row))?;
    if *tag != expected as u8 {
        return Err(malformed(row));
    }
    let (key, rest) = unescape(bytes).ok_or_else(|| malformed(row))?;
    let key = ObjectKey::parse(&key).map_err(|_error| malformed(row))?;
    Ok(KeyRest {
        bucket: BucketId(u64::from_be_bytes(*bucket)),
        key,
        rest,
    })
}

/// An escaped, ended text and what follows it.
fn unescape(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match rest {
            [0, 0xFF, more @ ..] => {
                text.push(0);
                rest = more;
            }
            [0, 1, more @ ..] => return Some((String::from_utf8(text).ok()?, more)),
            [0, ..] | [] => return None,
            [byte, more @ ..] => {
                text.push(*byte);
                rest = more;
            }
        }
    }
}

/// The 16-byte id behind (bucket, object key), and what follows it.
pub fn split_id(expected: Table, row: &[u8]) -> Result<(KeyRest<'_>, [u8; 16]), RowsError> {
    let mut found = split(expected, row)?;
    let (id, rest) = found
        .rest
        .split_first_chunk::<16>()
        .ok_or_else(|| malformed(row))?;
    found.rest = rest;
    Ok((found, *id))
}

/// The id that is all of a row's key.
pub fn split_bare_id(expected: Table, row: &[u8]) -> Result<[u8; 16], RowsError> {
    let (tag, id) = row.split_first().ok_or_else(|| malformed(row))?;
    if *tag != expected as u8 {
        return Err(malformed(row));
    }
    <[u8; 16]>::try_from(id).map_err(|_error| malformed(row))
}

/// Bucket, key and order of a row of `Versions`.
pub fn split_version(row: &[u8]) -> Result<(BucketId, ObjectKey, Order), RowsError> {
    let found = split(Table::Versions, row)?;
    let order = <[u8; 10]>::try_from(found.rest).map_err(|_error| malformed(row))?;
    Ok((found.bucket, found.key, Order::from_newest_first(order)))
}

/// Part number of a row of `UploadParts`.
pub fn split_part_number(row: &[u8]) -> Result<u16, RowsError> {
    let (found, _upload) = split_id(Table::UploadParts, row)?;
    let number = <[u8; 2]>::try_from(found.rest).map_err(|_error| malformed(row))?;
    Ok(u16::from_be_bytes(number))
}

/// Bucket, key, data id and stripe of a row of `Repairs`.
pub fn split_repair(row: &[u8]) -> Result<(BucketId, ObjectKey, DataId, u32), RowsError> {
    let (found, data) = split_id(Table::Repairs, row)?;
    let stripe = <[u8; 4]>::try_from(found.rest).map_err(|_error| malformed(row))?;
    Ok((
        found.bucket,
        found.key,
        DataId(data),
        u32::from_be_bytes(stripe),
    ))
}

/// Scope and class of a row of `Counters`.
pub fn split_counter(row: &[u8]) -> Result<(Scope, StorageClass), RowsError> {
    let [tag, kind, rest @ ..] = row else {
        return Err(malformed(row));
    };
    let (number, class) = rest
        .split_first_chunk::<8>()
        .ok_or_else(|| malformed(row))?;
    let number = u64::from_be_bytes(*number);
    let scope = match (*tag == Table::Counters as u8, kind) {
        (true, 0) => Scope::Account(AccountId(number)),
        (true, 1) => Scope::Key(KeyId(number)),
        (true, 2) => Scope::Bucket(BucketId(number)),
        _ => return Err(malformed(row)),
    };
    let class = std::str::from_utf8(class)
        .ok()
        .and_then(|c| StorageClass::parse(c).ok());
    Ok((scope, class.ok_or_else(|| malformed(row))?))
}

/// Node of a row of `Boots`.
pub fn split_boot(row: &[u8]) -> Result<NodeId, RowsError> {
    let id = row.get(1..).and_then(|id| <[u8; 4]>::try_from(id).ok());
    Ok(NodeId(u32::from_be_bytes(
        id.ok_or_else(|| malformed(row))?,
    )))
}

/// Text behind the first `skip` bytes of a row's key.
pub fn split_text(row: &[u8], skip: usize) -> Result<&str, RowsError> {
    let text = row
        .get(skip..)
        .and_then(|text| std::str::from_utf8(text).ok());
    text.ok_or_else(|| malformed(row))
}
