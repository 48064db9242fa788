//! Commands, rows and their keys.

use engine_core::meta::{
    AccessKeyRow, AccountRow, Answer, BootRow, BucketRow, Change, Command, Condition, DeadRow,
    DeadThing, Delete, Encryption, EtagMatch, KmsKeyRow, ManifestEntry, NewPart, NewPlace, PartKey,
    PartRow, Place, PutVersion, Query, Reply, Slot, Stripe, UploadPartRow, UploadRow,
    VersionAttributes, VersionRow, Versioning, decode, encode,
};
use engine_core::placement::Layout;
use engine_meta::keys;
use engine_meta::snapshot::Applied;
use engine_types::{
    AccountId, BootId, BucketId, BucketName, ChargedTo, CommandId, CopyToken, DataId, DriveId,
    ETag, ObjectKey, Order, PartitionId, Stamp, StorageClass, VersionId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::fmt::Debug;

/// What is read reads again as the same, from what it encodes to.
fn value<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = decode::<T>(bytes) else {
        return false;
    };
    assert_eq!(decode::<T>(&encode(&value)), Ok(value));
    true
}

pub(crate) fn command(bytes: &[u8]) -> bool {
    let _others = (
        value::<Answer>(bytes),
        value::<Query>(bytes),
        value::<Reply>(bytes),
    );
    value::<Command>(bytes)
}

/// The first byte picks the kind of row.
pub(crate) fn row(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
    };
    match kind % 14 {
        0 => value::<VersionRow>(bytes),
        1 => value::<PartRow>(bytes),
        2 => value::<BucketRow>(bytes),
        3 => value::<UploadRow>(bytes),
        4 => value::<UploadPartRow>(bytes),
        5 => value::<Vec<Stripe>>(bytes),
        6 => value::<Vec<ManifestEntry>>(bytes),
        7 => value::<DeadRow>(bytes),
        8 => value::<BootRow>(bytes),
        9 => value::<AccountRow>(bytes),
        10 => value::<AccessKeyRow>(bytes),
        11 => value::<KmsKeyRow>(bytes),
        12 => value::<Layout>(bytes),
        _ => Applied::decode(bytes).is_ok(),
    }
}

pub(crate) fn row_key(bytes: &[u8]) -> bool {
    let _each = (
        keys::split_version(bytes),
        keys::split_part_number(bytes),
        keys::split_repair(bytes),
        keys::split_counter(bytes),
        keys::split_boot(bytes),
        keys::split_text(bytes, 1),
    );
    let Ok(found) = keys::split(keys::Table::Objects, bytes) else {
        return false;
    };
    assert_eq!(
        [keys::object(found.bucket, &found.key), found.rest.to_vec()].concat(),
        bytes
    );
    true
}

pub(crate) fn row_keys() -> Vec<Vec<u8>> {
    let of = |text| {
        ObjectKey::parse(text)
            .ok()
            .map(|key| keys::object(BucketId(7), &key))
    };
    ["a", "a/\u{0}b", "ü/\u{0}\u{1}"]
        .into_iter()
        .filter_map(of)
        .collect()
}

fn attributes() -> VersionAttributes {
    VersionAttributes {
        owner: AccountId(1),
        charged_to: ChargedTo {
            account: AccountId(1),
            key: None,
        },
        class: StorageClass::standard(),
        headers: vec![("content-type".into(), "text/plain".into())],
        user: vec![("a".into(), "b".into())],
        tags: vec![("t".into(), "v".into())],
        acl: ByteBuf::from(vec![1, 2]),
        encryption: Encryption::Kms {
            key_id: "k".into(),
            context: Some("{}".into()),
            bucket_key: true,
        },
    }
}

fn part(place: NewPlace) -> NewPart {
    let key = PartKey {
        version: None,
        wrapped: ByteBuf::from(vec![9; 60]),
        context: None,
    };
    NewPart {
        data: DataId([4; 16]),
        size: 5,
        md5: [1; 16],
        key,
        place,
    }
}

fn stripe() -> Stripe {
    let slot = Slot {
        drive: DriveId(2),
        token: CopyToken([6; 16]),
    };
    Stripe {
        codec: 1,
        k: 4,
        m: 2,
        length: 70_000,
        slots: vec![Some(slot), None, Some(slot)],
    }
}

pub(crate) fn commands() -> Vec<Vec<u8>> {
    let Ok(key) = ObjectKey::parse("a/b") else {
        return Vec::new();
    };
    let bucket = engine_core::meta::BucketRef {
        id: BucketId(7),
        partition: PartitionId(3),
        epoch: 2,
    };
    let etag = ETag {
        md5: [1; 16],
        parts: 0,
    };
    let put = |place| PutVersion {
        bucket,
        key: key.clone(),
        condition: Condition {
            if_match: Some(EtagMatch::Tags(vec![etag])),
            if_none_match: Some(EtagMatch::Any),
            unchanged: None,
        },
        attributes: attributes(),
        etag,
        checksum: None,
        part: part(place),
    };
    let delete = Delete {
        bucket,
        key: key.clone(),
        version: Some(VersionId::Null),
        condition: Condition::default(),
        owner: AccountId(1),
        charged_to: ChargedTo {
            account: AccountId(1),
            key: None,
        },
    };
    let changes = [
        Change::Tick,
        Change::PutVersion(Box::new(put(NewPlace::Inline(ByteBuf::from(vec![8; 30]))))),
        Change::PutVersion(Box::new(put(NewPlace::Stripes(vec![stripe(), stripe()])))),
        Change::Delete(Box::new(delete)),
        Change::MoveStripe {
            bucket: BucketId(7),
            key: key.clone(),
            data: DataId([4; 16]),
            index: 1,
            from: Box::new(stripe()),
            to: Box::new(stripe()),
        },
        Change::AdvanceWatermark,
    ];
    let all = changes.into_iter().map(|change| {
        encode(&Command {
            id: CommandId([3; 16]),
            change,
        })
    });
    all.collect()
}

fn version_row() -> VersionRow {
    VersionRow {
        version: VersionId::Null,
        order: Order {
            stamp: Stamp(5),
            seq: 1,
        },
        kind: engine_core::meta::VersionKind::Object,
        size: 5,
        etag: ETag {
            md5: [1; 16],
            parts: 2,
        },
        checksum: None,
        attributes: attributes(),
        body: engine_core::meta::Body::Part(DataId([4; 16])),
        counted: 20,
    }
}

pub(crate) fn rows() -> Vec<Vec<u8>> {
    let with = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    let key = PartKey {
        version: None,
        wrapped: ByteBuf::from(vec![9; 60]),
        context: None,
    };
    let mut all = vec![
        with(
            1,
            encode(&PartRow {
                size: 5,
                md5: [1; 16],
                key,
                place: Place::Stripes(1),
            }),
        ),
        with(5, encode(&vec![stripe(), stripe()])),
        with(
            7,
            encode(&DeadRow {
                thing: DeadThing::Part(DataId([4; 16])),
                since: Stamp(5),
                index: 9,
            }),
        ),
        with(
            8,
            encode(&BootRow {
                boot: BootId(2),
                fenced: false,
                reported: Stamp(4),
                holds: Stamp(3),
            }),
        ),
        with(12, encode(&Layout::default())),
        with(13, Applied::default().encode()),
        with(0, encode(&version_row())),
    ];
    if let Ok(name) = BucketName::parse("bucket") {
        let row = BucketRow {
            id: BucketId(7),
            name,
            owner: AccountId(1),
            created: Stamp(3),
            epoch: 1,
            versioning: Versioning::Unversioned,
            documents: [(engine_core::meta::BucketDocument::Acl, vec![1])].into(),
            closed: false,
        };
        all.push(with(2, encode(&row)));
    }
    all
}
