//! Row keys (**format**): which table, whose, in which order.
//!
//! The first byte is the table's tag ([`Table`]). Numbers are big-endian. An object key is written
//! with 0x00 as `00 FF` and ended by `00 01`, so that byte order of rows is byte order of keys, a
//! key never runs into what follows it, and all keys with a prefix stand together. Rows of what is
//! stored begin with (bucket id, object key), so that a key range can move to another partition.
//!
//! Lengths or hashes before the key were turned down: they end the order that listings need.

mod split;
#[cfg(test)]
mod tests;

pub use split::{
    KeyRest, split, split_bare_id, split_boot, split_counter, split_id, split_part_number,
    split_repair, split_text, split_version,
};

use engine_core::meta::KeyVersionId;
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
    /// The replica's own rows (`applied` and the like): not apply's, the same on no two replicas.
    Replica = 0,
    /// Buckets whose home is here: bucket id.
    Buckets = 1,
    /// Current versions that are objects: bucket, key. What `ListObjects` scans.
    Objects = 2,
    /// Non-current versions and all delete markers: bucket, key, order newest first.
    Versions = 3,
    /// Where the `null` version stands in `Versions`: bucket, key.
    Nulls = 4,
    /// Sealed bytes of small parts: bucket, key, data id.
    Inline = 5,
    /// Counts of packs: pack id. A pack's stripe map is in `Parts`, under bucket 0 and its id.
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
    /// Parts in `Inline` that wait to be packed: data id, hence by birth. Follows `Inline`: who moves
    /// a key range writes these anew.
    Unpacked = 19,
    /// Packs of which little lives: pack id. Follows `Packs`.
    SparsePacks = 20,
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
    /// Control: last number given: 0 bucket, 1 account, 2 access key, 3 drive.
    Sequences = 43,
    /// Control: destroyed key versions: number.
    DestroyedKeys = 44,
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
    /// Drive numbers.
    Drive = 3,
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
/// A pack of which little lives.
pub fn sparse_pack(id: PackId) -> Vec<u8> {
    let mut bytes = table(Table::SparsePacks);
    bytes.extend(id.0);
    bytes
}
/// A small part that waits to be packed.
pub fn unpacked(data: DataId) -> Vec<u8> {
    let mut bytes = table(Table::Unpacked);
    bytes.extend(data.0);
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
/// A destroyed key version.
pub fn destroyed_key(id: KeyVersionId) -> Vec<u8> {
    of_number(Table::DestroyedKeys, id.0)
}
/// The last number given.
pub fn sequence(which: Sequence) -> Vec<u8> {
    vec![Table::Sequences as u8, which as u8]
}
