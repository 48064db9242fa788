//! Rows in memory and a partition over them, for tests.

use crate::keys::Table;
use crate::query::answer;
use crate::rows::{Changes, Row, Rows, RowsError};
use crate::state::{Entry, apply};
use engine_core::meta::{
    Answer, BucketRef, BucketRow, Change, Command, CompleteUpload, Condition, CreateUpload,
    DeadRow, Delete, Encryption, ManifestEntry, NewPart, NewPlace, PartKey, PutPart, PutVersion,
    Query, Reply, Slot, Stripe, VersionAttributes, VersionRow, Versioning,
};
use engine_types::{
    AccountId, BirthId, BucketId, BucketName, ChargedTo, DriveId, ETag, KeyId, ObjectKey,
    PartitionId, Stamp, StorageClass, UploadId, VersionId,
};
use serde_bytes::ByteBuf;
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

/// A partition that applies one command after another, each in a batch of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    /// Its rows.
    pub(crate) rows: MemoryRows,
    /// Every entry applied.
    pub(crate) log: Vec<Entry>,
    /// The leader's clock.
    pub(crate) now: Stamp,
    ids: u64,
}

/// When tests begin.
pub(crate) const BEGIN: Stamp = Stamp(1_800_000_000_000);

impl Partition {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            now: BEGIN,
            ..Self::default()
        }
    }
    /// One with buckets 1 … `count`, all of account 1.
    pub(crate) fn with_buckets(count: u64) -> Self {
        let mut partition = Self::new();
        for id in 1..=count {
            let answer = partition.apply(Change::CreateBucket(Box::new(bucket_row(id))));
            assert!(matches!(answer, Answer::Bucket(_)), "{answer:?}");
        }
        partition
    }
    /// Ten fresh bytes.
    pub(crate) fn entropy(&mut self) -> [u8; 10] {
        self.ids += 1;
        let mut bytes = [0xAB; 10];
        bytes[2..].copy_from_slice(&self.ids.to_be_bytes());
        bytes
    }
    /// A fresh id born now.
    pub(crate) fn id<T: BirthId>(&mut self) -> T {
        let entropy = self.entropy();
        T::born(self.now, entropy)
    }
    /// Applies a new command.
    pub(crate) fn apply(&mut self, change: Change) -> Answer {
        let command = Command {
            id: self.id(),
            change,
        };
        self.again(command)
    }
    /// Applies a command, perhaps one seen before.
    pub(crate) fn again(&mut self, command: Command) -> Answer {
        let index = u64::try_from(self.log.len()).unwrap() + 1;
        let entry = Entry {
            index,
            stamp: self.now,
            command,
        };
        let mut changes = Changes::default();
        let answer = apply(&self.rows, &entry, &mut changes).unwrap();
        self.rows.write(changes);
        self.log.push(entry);
        answer
    }
    /// Reads.
    pub(crate) fn ask(&self, query: &Query) -> Reply {
        answer(&self.rows, query, u64::try_from(self.log.len()).unwrap()).unwrap()
    }
    /// The bucket as a gateway that has just looked it up knows it.
    pub(crate) fn bucket(&self, id: u64) -> BucketRef {
        let Reply::Bucket(row) = self.ask(&Query::Bucket(BucketId(id))) else {
            panic!("not a bucket")
        };
        let epoch = row.map_or(0, |row| row.epoch);
        BucketRef {
            id: BucketId(id),
            partition: PartitionId(1),
            epoch,
        }
    }
    /// A part of `size` bytes; of ≤ 16 inline, else in stripes of 100 on six drives.
    pub(crate) fn part(&mut self, size: u64) -> NewPart {
        let data = self.id();
        let place = if size <= 16 {
            NewPlace::Inline(ByteBuf::from(vec![7; 16]))
        } else {
            NewPlace::Stripes((0..size.div_ceil(100)).map(|_| self.stripe(6)).collect())
        };
        let key = PartKey {
            version: None,
            wrapped: ByteBuf::from(vec![1]),
            context: None,
        };
        NewPart {
            data,
            size,
            md5: [1; 16],
            key,
            place,
        }
    }
    /// A 4+2 stripe with its first `there` slots filled.
    pub(crate) fn stripe(&mut self, there: u32) -> Stripe {
        let mut slot = |drive| Slot {
            drive: DriveId(drive),
            token: self.id(),
        };
        let slots = (0..6)
            .map(|drive| (drive < there).then(|| slot(drive)))
            .collect();
        Stripe {
            codec: 1,
            k: 4,
            m: 2,
            length: 100,
            slots,
        }
    }
    /// A PUT of `size` bytes whose `ETag` begins with `tag`.
    pub(crate) fn put_of(&mut self, bucket: u64, name: &str, size: u64, tag: u8) -> PutVersion {
        PutVersion {
            bucket: self.bucket(bucket),
            key: key(name),
            condition: Condition::default(),
            attributes: attributes(),
            etag: etag(tag),
            checksum: None,
            part: self.part(size),
        }
    }
    /// Applies a PUT.
    pub(crate) fn put(&mut self, bucket: u64, name: &str, size: u64, tag: u8) -> VersionRow {
        let put = self.put_of(bucket, name, size, tag);
        version(self.apply(Change::PutVersion(Box::new(put))))
    }
    /// Applies a DELETE.
    pub(crate) fn delete(&mut self, bucket: u64, name: &str, version: Option<VersionId>) -> Answer {
        let delete = Delete {
            bucket: self.bucket(bucket),
            key: key(name),
            version,
            condition: Condition::default(),
            owner: AccountId(1),
            charged_to: attributes().charged_to,
        };
        self.apply(Change::Delete(Box::new(delete)))
    }
    /// Begins an upload.
    pub(crate) fn upload(&mut self, bucket: u64, name: &str) -> UploadId {
        let upload = self.id();
        let create = CreateUpload {
            bucket: self.bucket(bucket),
            key: key(name),
            upload,
            attributes: attributes(),
            initiator_name: "root".into(),
            initiator: AccountId(1),
            checksum: None,
        };
        assert_eq!(
            self.apply(Change::CreateUpload(Box::new(create))),
            Answer::Done
        );
        upload
    }
    /// Uploads a part.
    pub(crate) fn put_part(
        &mut self,
        bucket: u64,
        name: &str,
        upload: UploadId,
        number: u16,
        size: u64,
    ) -> Answer {
        let put = PutPart {
            bucket: self.bucket(bucket),
            key: key(name),
            upload,
            number,
            part: self.part(size),
            checksum: None,
            declared: None,
            charged_to: attributes().charged_to,
        };
        self.apply(Change::PutPart(Box::new(put)))
    }
    /// Completes an upload with the parts of these numbers as they are now.
    pub(crate) fn complete_of(
        &self,
        bucket: u64,
        name: &str,
        upload: UploadId,
        numbers: &[u16],
    ) -> CompleteUpload {
        let query = Query::ListParts {
            bucket: self.bucket(bucket),
            key: key(name),
            upload,
            after: 0,
            limit: 10_000,
        };
        let there = match self.ask(&query) {
            Reply::Parts(page) => page.parts,
            _ => Vec::new(),
        };
        let (mut offset, mut parts) = (0, Vec::new());
        for (number, part) in there.into_iter().filter(|(n, _)| numbers.contains(n)) {
            parts.push(ManifestEntry {
                number,
                data: part.data,
                size: part.size,
                offset,
                checksum: None,
            });
            offset += part.size;
        }
        CompleteUpload {
            bucket: self.bucket(bucket),
            key: key(name),
            upload,
            condition: Condition::default(),
            parts,
            size: offset,
            etag: ETag {
                md5: [9; 16],
                parts: 1,
            },
            checksum: None,
        }
    }
    /// Rows of a table.
    pub(crate) fn count(&self, table: Table) -> usize {
        self.rows
            .0
            .keys()
            .filter(|key| key.first() == Some(&(table as u8)))
            .count()
    }
    /// Dead things, all ages.
    pub(crate) fn dead(&self) -> Vec<(BucketId, ObjectKey, DeadRow)> {
        match self.ask(&Query::Dead {
            after: None,
            before: Stamp(u64::MAX),
            limit: u32::MAX,
        }) {
            Reply::Dead(found) => found,
            other => panic!("{other:?}"),
        }
    }
    /// Frees everything dead, as the collector does.
    pub(crate) fn collect(&mut self) {
        while let Some((bucket, key, row)) = self.dead().pop() {
            assert_eq!(
                self.apply(Change::Freed {
                    bucket,
                    key,
                    dead: row.thing.id()
                }),
                Answer::Done
            );
        }
    }
}

/// A key.
pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}
/// An `ETag`.
pub(crate) fn etag(tag: u8) -> ETag {
    ETag {
        md5: [tag; 16],
        parts: 0,
    }
}
/// A plain writer's attributes: key 5 of account 1.
pub(crate) fn attributes() -> VersionAttributes {
    VersionAttributes {
        owner: AccountId(1),
        charged_to: ChargedTo {
            account: AccountId(1),
            key: Some(KeyId(5)),
        },
        class: StorageClass::standard(),
        headers: vec![("content-type".into(), "text/plain".into())],
        user: Vec::new(),
        tags: Vec::new(),
        acl: ByteBuf::new(),
        encryption: Encryption::Tenant,
    }
}
/// A new bucket's row.
pub(crate) fn bucket_row(id: u64) -> BucketRow {
    BucketRow {
        id: BucketId(id),
        name: BucketName::parse(&format!("bucket-{id}")).unwrap(),
        owner: AccountId(1),
        created: BEGIN,
        epoch: 1,
        versioning: Versioning::Unversioned,
        documents: BTreeMap::new(),
        closed: false,
    }
}
/// The version of an answer.
pub(crate) fn version(answer: Answer) -> VersionRow {
    match answer {
        Answer::Version(row) => *row,
        other => panic!("{other:?}"),
    }
}
