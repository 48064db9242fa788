//! Tests of the state machine, one file per family; `model` holds it against a naive S3.

mod bounds;
mod buckets;
mod control;
mod dead;
mod done;
mod judged;
mod keys;
mod layout;
mod model;
mod objects;
mod packs;
mod uploads;
mod watermark;

use crate::keys as rows;
use crate::keys::Table;
use crate::state::{parse, scan};
use crate::testing::Partition;
use engine_core::meta::{
    Answer, Body, DeadRow, DeadThing, ManifestEntry, PartRow, Place, Refusal, UploadPartRow,
    UploadRow, VersionRow,
};
use engine_tenancy::{Charges, Counter, Delta, Scope};
use engine_types::{BucketId, DataId, ObjectKey, StorageClass, UploadId};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// A refusal as an answer.
fn refused(refusal: Refusal) -> Answer {
    Answer::Refused(refusal)
}

type Thing = (BucketId, ObjectKey, [u8; 16]);

fn all<T: DeserializeOwned>(partition: &Partition, table: Table) -> Vec<(Vec<u8>, T)> {
    let rows = scan(&partition.rows, &rows::table(table));
    rows.map(|row| {
        row.map(|(key, value)| (key, parse(&value).unwrap()))
            .unwrap()
    })
    .collect()
}

/// Every version, current or not.
fn all_versions(partition: &Partition) -> Vec<(BucketId, ObjectKey, VersionRow)> {
    let found = [Table::Objects, Table::Versions]
        .into_iter()
        .flat_map(|table| {
            let rows = all(partition, table).into_iter();
            rows.map(move |(row, version)| {
                let at = rows::split(table, &row).unwrap();
                (at.bucket, at.key, version)
            })
        });
    found.collect()
}

/// Parts listed in manifests and as parts of uploads, by upload.
fn listed(partition: &Partition) -> BTreeMap<Thing, Vec<DataId>> {
    let mut found: BTreeMap<Thing, Vec<DataId>> = BTreeMap::new();
    for (row, value) in scan(&partition.rows, &rows::table(Table::Manifests)).map(Result::unwrap) {
        let (at, upload) = rows::split_id(Table::Manifests, &row).unwrap();
        if at.rest.first() == Some(&1) {
            let entries: Vec<ManifestEntry> = parse(&value).unwrap();
            let parts = found.entry((at.bucket, at.key, upload)).or_default();
            parts.extend(entries.into_iter().map(|entry| entry.data));
        }
    }
    for (row, part) in all::<UploadPartRow>(partition, Table::UploadParts) {
        let (at, upload) = rows::split_id(Table::UploadParts, &row).unwrap();
        found
            .entry((at.bucket, at.key, upload))
            .or_default()
            .push(part.data);
    }
    found
}

/// Every row of `parts` is referenced or dead, never both; nothing referenced is missing; no row of
/// a manifest or upload is left over; counters are the sum of what they count.
fn check(partition: &Partition) {
    let mut live: BTreeSet<Thing> = BTreeSet::new();
    let mut dead: BTreeSet<Thing> = BTreeSet::new();
    let mut listed = listed(partition);
    let mut charges = Charges::default();
    for (bucket, key, row) in all_versions(partition) {
        let attributes = &row.attributes;
        charges.add(
            bucket,
            attributes.charged_to,
            &attributes.class,
            Delta::object(row.counted),
        );
        match row.body {
            Body::None => {}
            Body::Part(data) => assert!(live.insert((bucket, key, data.0)), "shared"),
            Body::Manifest(upload) => {
                let parts = listed.remove(&(bucket, key.clone(), upload.0)).unwrap();
                let parts = parts.into_iter().map(|data| (bucket, key.clone(), data.0));
                live.extend(parts);
            }
        }
    }
    for (row, upload) in all::<UploadRow>(partition, Table::Uploads) {
        let (at, id) = rows::split_id(Table::Uploads, &row).unwrap();
        let (to, class) = (upload.attributes.charged_to, &upload.attributes.class);
        charges.add(at.bucket, to, class, Delta::object(upload.counted));
        for part in listed
            .remove(&(at.bucket, at.key.clone(), id))
            .unwrap_or_default()
        {
            live.insert((at.bucket, at.key.clone(), part.0));
        }
        let parts = rows::upload_parts(at.bucket, &at.key, UploadId(id));
        for (_, value) in scan(&partition.rows, &parts).map(Result::unwrap) {
            let part: UploadPartRow = parse(&value).unwrap();
            charges.add(at.bucket, part.charged_to, class, Delta::bytes(part.size));
        }
    }
    for (row, dying) in all::<DeadRow>(partition, Table::Dead) {
        let (at, id) = rows::split_id(Table::Dead, &row).unwrap();
        match dying.thing {
            DeadThing::Part(_) => assert!(dead.insert((at.bucket, at.key, id))),
            DeadThing::Copy(_) => {}
            DeadThing::Manifest(_) => {
                let parts = listed
                    .remove(&(at.bucket, at.key.clone(), id))
                    .unwrap_or_default();
                dead.extend(
                    parts
                        .into_iter()
                        .map(|data| (at.bucket, at.key.clone(), data.0)),
                );
            }
        }
    }
    assert!(listed.is_empty(), "left over: {listed:?}");
    live.extend(packs::check(partition, &dead));
    assert!(live.is_disjoint(&dead), "referenced and dead");
    let union: BTreeSet<Thing> = live.union(&dead).cloned().collect();
    assert_eq!(stored(partition), union, "parts = referenced or dead");
    assert_eq!(
        counters(partition),
        charges.into_changes().collect::<Vec<_>>()
    );
}

/// Parts that have rows, each with the rows its place asks for.
fn stored(partition: &Partition) -> BTreeSet<Thing> {
    let mut found = BTreeSet::new();
    let (mut inline, mut chunks) = (0, 0);
    for (row, value) in scan(&partition.rows, &rows::table(Table::Parts)).map(Result::unwrap) {
        let (at, data) = rows::split_id(Table::Parts, &row).unwrap();
        if at.rest == [0] {
            match parse::<PartRow>(&value).unwrap().place {
                Place::Inline => inline += 1,
                Place::Stripes(stripes) => chunks += stripes.div_ceil(64),
                Place::Packed { .. } => {}
            }
            found.insert((at.bucket, at.key, data));
        } else {
            chunks -= 1;
        }
    }
    assert_eq!(
        inline,
        partition.count(Table::Inline),
        "inline bytes without a part"
    );
    assert_eq!(
        inline,
        partition.count(Table::Unpacked),
        "what is inline waits to be packed, and nothing else"
    );
    assert_eq!(chunks, 0, "stripes without a part");
    found
}

/// Counters that are not zero.
fn counters(partition: &Partition) -> Vec<(Scope, StorageClass, Delta)> {
    let found = all::<Counter>(partition, Table::Counters)
        .into_iter()
        .map(|(row, counter)| {
            let (scope, class) = rows::split_counter(&row).unwrap();
            let delta = Delta {
                bytes: counter.bytes.into(),
                objects: counter.objects.into(),
            };
            (scope, class, delta)
        });
    found.filter(|(_, _, delta)| !delta.is_zero()).collect()
}
