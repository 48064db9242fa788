//! Row keys (**format**): which table, whose, in which order.
//!
//! The first byte is the table's tag ([`Table`]). Numbers are big-endian. An object key is written
//! with 0x00 as `00 FF` and ended by `00 01`, so that byte order of rows is byte order of keys, a
//! key never runs into what follows it, and all keys with a prefix stand together. Rows of what is
//! stored begin with (bucket id, object key), so that a key range can move to another partition.
//!
//! Lengths or hashes before the key were turned down: they end the order that listings need.

use crate::rows::RowsError;
use engine_tenancy::Scope;
use engine_types::{
    AccountId, BucketId, CommandId, DataId, KeyId, NodeId, ObjectKey, Order, PackId, StorageClass,
    UploadId,
};
use std::ops::Bound;

/// Tables, by the first byte of their rows' keys. Never re-used, never re-ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Table {
    /// Buckets whose home is here: bucket id.
    Buckets = 1,
    /// Current versions that are objects: bucket, key. What ListObjects scans.
    Objects = 2,
    /// Non-current versions and all delete markers: bucket, key, order newest first.
    Versions = 3,
    /// Where the `null` version stands in `Versions`: bucket, key.
    Nulls = 4,
    /// Sealed bytes of small parts: bucket, key, data id.
    Inline = 5,
    /// Packs: pack id.
    Packs = 6,
    /// Parts: bucket, key, data id, then 0 for the row, or 1 and the number of a chunk of stripes.
    Parts = 7,
    /// Chosen parts of completed uploads: bucket, key, upload id, then 0 for the head (which version
    /// it became), or 1 and the number of a chunk of entries.
    Manifests = 8,
    /// Open uploads: bucket, key, upload id. Apart from their parts, so that listing them is dense.
    Uploads = 9,
    /// Parts of uploads: bucket, key, upload id, part number. Outlive an aborted upload until they
    /// have become dead rows.
    UploadParts = 10,
    /// Replaced and deleted things: bucket, key, id of the thing.
    Dead = 11,
    /// Stripes with a slot missing: bucket, key, data id, stripe.
    Repairs = 12,
    /// Counters: scope, its number, storage class.
    Counters = 13,
    /// Reserved: ledger.
    Ledger = 14,
    /// Answers: command id, hence by birth.
    Done = 15,
    /// Newest boot of each node: node id.
    Boots = 16,
    /// The watermark: no more.
    Watermark = 17,
    /// Stamp, order and housekeeping of apply: no more.
    Clock = 18,
    /// Control: cluster: no more.
    Cluster = 32,
    /// Control: bucket names: name.
    Names = 33,
    /// Control: live names by owner: account id, name.
    NamesByOwner = 34,
    /// Control: names being created or deleted: name.
    NamesUnsettled = 35,
    /// Control: accounts: account id.
    Accounts = 36,
    /// Control: account ids by canonical id.
    AccountsByCanonicalId = 37,
    /// Control: account ids by e-mail address.
    AccountsByEmail = 38,
    /// Control: access keys: what clients send.
    AccessKeys = 39,
    /// Control: what clients send by key id.
    AccessKeysById = 40,
    /// Control: layout: no more.
    Layout = 41,
    /// Control: named keys: name.
    KmsKeys = 42,
    /// Control: last number given: 0 bucket, 1 account, 2 access key.
    Sequences = 43,
    /// The replica's own rows (`applied` and the like); never in snapshots' digests, not apply's.
    Replica = 240,
}

/// Last numbers given by control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sequence {
    /// Bucket ids.
    Bucket = 0,
    /// Account ids.
    Account = 1,
    /// Access key numbers.
    AccessKey = 2,
}

const KEY_END: [u8; 2] = [0, 1];
const ROW: u8 = 0;
const CHUNK: u8 = 1;

/// A key with `prefix`'s escaped bytes but without an end: where all keys that begin with it stand.
pub fn escaped(prefix: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(prefix.len() + 2);
    for &byte in prefix.as_bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xFF);
        }
    }
    bytes
}

/// `text` as a key of a row: escaped and ended.
pub fn ended(text: &str) -> Vec<u8> {
    let mut bytes = escaped(text);
    bytes.extend(KEY_END);
    bytes
}

/// First byte string above all that begin with `prefix`.
pub fn above(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if last < 0xFF {
            bytes.push(last + 1);
            return bytes;
        }
    }
    // All 0xFF: no table has that tag, so nothing stands there; the longest possible start will do.
    vec![0xFF; prefix.len() + 1]
}

/// Bounds of the rows that begin with `prefix`.
pub fn within(prefix: &[u8]) -> (Bound<&[u8]>, Vec<u8>) {
    (Bound::Included(prefix), above(prefix))
}

/// A table's rows.
pub fn table(table: Table) -> Vec<u8> {
    vec![table as u8]
}

/// A table's rows of one bucket.
pub fn of_bucket(table: Table, bucket: BucketId) -> Vec<u8> {
    let mut bytes = vec![table as u8];
    bytes.extend(bucket.0.to_be_bytes());
    bytes
}

/// A table's rows of one object key.
pub fn of_key(table: Table, bucket: BucketId, key: &ObjectKey) -> Vec<u8> {
    let mut bytes = of_bucket(table, bucket);
    bytes.extend(ended(key.as_str()));
    bytes
}

/// A row of one object key with an id behind it.
fn of_id(table: Table, bucket: BucketId, key: &ObjectKey, id: &[u8]) -> Vec<u8> {
    let mut bytes = of_key(table, bucket, key);
    bytes.extend(id);
    bytes
}

fn of_text(table: Table, text: &str) -> Vec<u8> {
    let mut bytes = vec![table as u8];
    bytes.extend(text.as_bytes());
    bytes
}

fn of_number(table: Table, number: u64) -> Vec<u8> {
    let mut bytes = vec![table as u8];
    bytes.extend(number.to_be_bytes());
    bytes
}

/// A bucket's row.
pub fn bucket(id: BucketId) -> Vec<u8> {
    of_number(Table::Buckets, id.0)
}
/// The current version, where it is an object.
pub fn object(bucket: BucketId, key: &ObjectKey) -> Vec<u8> {
    of_key(Table::Objects, bucket, key)
}
/// A version that is not current, or a delete marker.
pub fn version(bucket: BucketId, key: &ObjectKey, order: Order) -> Vec<u8> {
    of_id(Table::Versions, bucket, key, &order.newest_first())
}
/// Where the `null` version stands among `versions`.
pub fn null(bucket: BucketId, key: &ObjectKey) -> Vec<u8> {
    of_key(Table::Nulls, bucket, key)
}
/// Sealed bytes of a small part.
pub fn inline(bucket: BucketId, key: &ObjectKey, data: DataId) -> Vec<u8> {
    of_id(Table::Inline, bucket, key, &data.0)
}
/// A pack.
pub fn pack(id: PackId) -> Vec<u8> {
    let mut bytes = table(Table::Packs);
    bytes.extend(id.0);
    bytes
}
/// Row and chunks of a part.
pub fn part_rows(bucket: BucketId, key: &ObjectKey, data: DataId) -> Vec<u8> {
    of_id(Table::Parts, bucket, key, &data.0)
}
/// A part.
pub fn part(bucket: BucketId, key: &ObjectKey, data: DataId) -> Vec<u8> {
    let mut bytes = part_rows(bucket, key, data);
    bytes.push(ROW);
    bytes
}
/// One chunk of a part's stripes.
pub fn stripes(bucket: BucketId, key: &ObjectKey, data: DataId, chunk: u32) -> Vec<u8> {
    let mut bytes = part_rows(bucket, key, data);
    bytes.push(CHUNK);
    bytes.extend(chunk.to_be_bytes());
    bytes
}
/// Head and chunks of a manifest.
pub fn manifest_rows(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    of_id(Table::Manifests, bucket, key, &upload.0)
}
/// Which version an upload became.
pub fn manifest_head(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    let mut bytes = manifest_rows(bucket, key, upload);
    bytes.push(ROW);
    bytes
}
/// Chunks of a manifest.
pub fn manifest_chunks(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    let mut bytes = manifest_rows(bucket, key, upload);
    bytes.push(CHUNK);
    bytes
}
/// One chunk of a manifest.
pub fn manifest(bucket: BucketId, key: &ObjectKey, upload: UploadId, chunk: u32) -> Vec<u8> {
    let mut bytes = manifest_chunks(bucket, key, upload);
    bytes.extend(chunk.to_be_bytes());
    bytes
}
/// An open upload.
pub fn upload(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    of_id(Table::Uploads, bucket, key, &upload.0)
}
/// Parts of an upload.
pub fn upload_parts(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    of_id(Table::UploadParts, bucket, key, &upload.0)
}
/// One part of an upload.
pub fn upload_part(bucket: BucketId, key: &ObjectKey, upload: UploadId, number: u16) -> Vec<u8> {
    let mut bytes = upload_parts(bucket, key, upload);
    bytes.extend(number.to_be_bytes());
    bytes
}
/// Something dead.
pub fn dead(bucket: BucketId, key: &ObjectKey, id: &[u8; 16]) -> Vec<u8> {
    of_id(Table::Dead, bucket, key, id)
}
/// Stripes of a part that miss a slot.
pub fn repairs(bucket: BucketId, key: &ObjectKey, data: DataId) -> Vec<u8> {
    of_id(Table::Repairs, bucket, key, &data.0)
}
/// One stripe that misses a slot.
pub fn repair(bucket: BucketId, key: &ObjectKey, data: DataId, stripe: u32) -> Vec<u8> {
    let mut bytes = repairs(bucket, key, data);
    bytes.extend(stripe.to_be_bytes());
    bytes
}
/// A counter.
pub fn counter(scope: Scope, class: &StorageClass) -> Vec<u8> {
    let (kind, number) = match scope {
        Scope::Account(AccountId(id)) => (0, id),
        Scope::Key(KeyId(id)) => (1, id),
        Scope::Bucket(BucketId(id)) => (2, id),
    };
    let mut bytes = vec![Table::Counters as u8, kind];
    bytes.extend(u64::to_be_bytes(number));
    bytes.extend(class.as_str().as_bytes());
    bytes
}
/// The answer to a command.
pub fn done(command: CommandId) -> Vec<u8> {
    let mut bytes = table(Table::Done);
    bytes.extend(command.0);
    bytes
}
/// A node's newest boot.
pub fn boot(node: NodeId) -> Vec<u8> {
    let mut bytes = table(Table::Boots);
    bytes.extend(node.0.to_be_bytes());
    bytes
}
/// A bucket name.
pub fn name(name: &str) -> Vec<u8> {
    of_text(Table::Names, name)
}
/// Live names of an owner that begin with `prefix`.
pub fn names_by_owner(owner: AccountId, prefix: &str) -> Vec<u8> {
    let mut bytes = of_number(Table::NamesByOwner, owner.0);
    bytes.extend(prefix.as_bytes());
    bytes
}
/// A name being created or deleted.
pub fn name_unsettled(name: &str) -> Vec<u8> {
    of_text(Table::NamesUnsettled, name)
}
/// An account.
pub fn account(id: AccountId) -> Vec<u8> {
    of_number(Table::Accounts, id.0)
}
/// An account's id by its canonical id.
pub fn account_by_canonical_id(id: &str) -> Vec<u8> {
    of_text(Table::AccountsByCanonicalId, id)
}
/// An account's id by its e-mail address.
pub fn account_by_email(email: &str) -> Vec<u8> {
    of_text(Table::AccountsByEmail, email)
}
/// An access key.
pub fn access_key(access_key: &str) -> Vec<u8> {
    of_text(Table::AccessKeys, access_key)
}
/// What clients send, by number.
pub fn access_key_by_id(id: KeyId) -> Vec<u8> {
    of_number(Table::AccessKeysById, id.0)
}
/// A named key.
pub fn kms_key(name: &str) -> Vec<u8> {
    of_text(Table::KmsKeys, name)
}
/// The last number given.
pub fn sequence(which: Sequence) -> Vec<u8> {
    vec![Table::Sequences as u8, which as u8]
}

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
    let shown: Vec<String> = key.iter().take(40).map(|byte| format!("{byte:02x}")).collect();
    RowsError(format!("malformed key {}", shown.concat()))
}

/// Bucket, object key and what follows, of a row of `expected`.
pub fn split(expected: Table, row: &[u8]) -> Result<KeyRest<'_>, RowsError> {
    let (tag, bytes) = row.split_first().ok_or_else(|| malformed(row))?;
    let (bucket, bytes) = bytes.split_first_chunk::<8>().ok_or_else(|| malformed(row))?;
    if *tag != expected as u8 {
        return Err(malformed(row));
    }
    let (key, rest) = unescape(bytes).ok_or_else(|| malformed(row))?;
    let key = ObjectKey::parse(&key).map_err(|_error| malformed(row))?;
    Ok(KeyRest { bucket: BucketId(u64::from_be_bytes(*bucket)), key, rest })
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
    let (id, rest) = found.rest.split_first_chunk::<16>().ok_or_else(|| malformed(row))?;
    found.rest = rest;
    Ok((found, *id))
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
    Ok((found.bucket, found.key, DataId(data), u32::from_be_bytes(stripe)))
}

/// Scope and class of a row of `Counters`.
pub fn split_counter(row: &[u8]) -> Result<(Scope, StorageClass), RowsError> {
    let [tag, kind, rest @ ..] = row else { return Err(malformed(row)) };
    let (number, class) = rest.split_first_chunk::<8>().ok_or_else(|| malformed(row))?;
    let number = u64::from_be_bytes(*number);
    let scope = match (*tag == Table::Counters as u8, kind) {
        (true, 0) => Scope::Account(AccountId(number)),
        (true, 1) => Scope::Key(KeyId(number)),
        (true, 2) => Scope::Bucket(BucketId(number)),
        _ => return Err(malformed(row)),
    };
    let class = std::str::from_utf8(class).ok().and_then(|c| StorageClass::parse(c).ok());
    Ok((scope, class.ok_or_else(|| malformed(row))?))
}

/// Node of a row of `Boots`.
pub fn split_boot(row: &[u8]) -> Result<NodeId, RowsError> {
    let id = row.get(1..).and_then(|id| <[u8; 4]>::try_from(id).ok());
    Ok(NodeId(u32::from_be_bytes(id.ok_or_else(|| malformed(row))?)))
}

/// Text behind the first `skip` bytes of a row's key.
pub fn split_text(row: &[u8], skip: usize) -> Result<&str, RowsError> {
    let text = row.get(skip..).and_then(|text| std::str::from_utf8(text).ok());
    text.ok_or_else(|| malformed(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_types::Stamp;
    use proptest::prelude::*;

    /// Keys that try the escapes: NULs, the highest bytes UTF-8 has, shared prefixes.
    fn key() -> impl Strategy<Value = ObjectKey> {
        let piece = prop::sample::select(vec!["\0", "\u{1}", "a", "b", "/", "\u{7f}", "é", "\u{10ffff}"]);
        let pieces = prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat());
        pieces.prop_map(|key| ObjectKey::parse(&key).unwrap())
    }

    proptest! {
        #[test]
        fn rows_are_in_the_order_of_keys(a in key(), b in key(), i in any::<[u8; 16]>(), j in any::<[u8; 16]>(), x in 0..3u64, y in 0..3u64) {
            let row = |bucket, key, id| part(BucketId(bucket), key, DataId(id));
            prop_assert_eq!(row(x, &a, i).cmp(&row(y, &b, j)), (x, &a, i).cmp(&(y, &b, j)));
        }

        #[test]
        fn decoding_gives_back_what_was_encoded(key in key(), bucket in any::<u64>(), id in any::<[u8; 16]>(), number in any::<u16>(), ms in 0..1u64 << 48, seq in any::<u32>()) {
            let bucket = BucketId(bucket);
            let order = Order { stamp: Stamp(ms), seq };
            prop_assert_eq!(split_version(&version(bucket, &key, order)).unwrap(), (bucket, key.clone(), order));
            let row = upload_part(bucket, &key, UploadId(id), number);
            prop_assert_eq!(split_part_number(&row).unwrap(), number);
            let row = repair(bucket, &key, DataId(id), seq);
            prop_assert_eq!(split_repair(&row).unwrap(), (bucket, key.clone(), DataId(id), seq));
            let row = dead(bucket, &key, &id);
            let (found, found_id) = split_id(Table::Dead, &row).unwrap();
            prop_assert_eq!((found.bucket, found.key, found_id), (bucket, key, id));
            let class = StorageClass::standard();
            for scope in [Scope::Account(AccountId(ms)), Scope::Key(KeyId(ms)), Scope::Bucket(bucket)] {
                prop_assert_eq!(split_counter(&counter(scope, &class)).unwrap(), (scope, class.clone()));
            }
        }

        #[test]
        fn a_prefix_scan_finds_exactly_the_keys_with_it(keys in prop::collection::vec(key(), 1..30), prefix in key()) {
            let start = [of_bucket(Table::Objects, BucketId(1)), escaped(prefix.as_str())].concat();
            let (_, end) = within(&start);
            for key in keys {
                let row = object(BucketId(1), &key);
                let inside = row >= start && row < end;
                prop_assert_eq!(inside, key.as_str().starts_with(prefix.as_str()));
                let whole = of_key(Table::Parts, BucketId(1), &key);
                let row = part(BucketId(1), &prefix, DataId([255; 16]));
                prop_assert_eq!(row >= whole && row < above(&whole), key == prefix);
            }
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for table in [Table::Parts, Table::Versions, Table::Dead] {
                if let Ok(found) = split(table, &bytes) {
                    let again = [of_key(table, found.bucket, &found.key), found.rest.to_vec()].concat();
                    prop_assert_eq!(again, bytes.clone());
                }
            }
            let (_, _, _) = (split_version(&bytes), split_counter(&bytes), split_repair(&bytes));
        }
    }

    #[test]
    fn bytes_of_a_row_are_fixed() {
        let key = ObjectKey::parse("a\0b").unwrap();
        let want = [2, 0, 0, 0, 0, 0, 0, 0, 7, b'a', 0, 0xFF, b'b', 0, 1];
        assert_eq!(object(BucketId(7), &key), want);
    }

    #[test]
    fn above_carries() {
        assert_eq!(above(&[1, 0xFF]), [2]);
        assert_eq!(above(&[0xFF]), [0xFF, 0xFF]);
    }
}
