//! Random commands against a naive S3: a Vec of versions per key, a Vec of parts per upload.

use super::check;
use crate::keys::Table;
use crate::query::answer;
use crate::rows::Changes;
use crate::state::{Entry, apply};
use crate::testing::{MemoryRows, Partition, attributes, etag, key, version};
use engine_core::meta::{
    Answer, Change, Condition, EtagMatch, ListQuery, Query, Refusal, Reply, VersionKind, Versioning,
};
use engine_types::{ETag, UploadId, VersionId};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NAMES: [&str; 4] = ["a", "a/b", "a/c", "b\0"];

#[derive(Clone, Debug)]
enum Op {
    Put {
        name: usize,
        size: u64,
        tag: u8,
        condition: u8,
    },
    Delete {
        name: usize,
    },
    DeleteVersion {
        name: usize,
        nth: usize,
    },
    Versioning(bool),
    Tags {
        name: usize,
        nth: usize,
        tags: usize,
    },
    Reattribute {
        name: usize,
    },
    Create {
        name: usize,
    },
    Part {
        nth: usize,
        number: u16,
        size: u64,
    },
    Complete {
        nth: usize,
        number: u16,
    },
    Abort {
        nth: usize,
    },
    Collect,
    Replay {
        nth: usize,
    },
    Wait,
}

fn op() -> impl Strategy<Value = Op> {
    let (name, nth) = (0..NAMES.len(), 0..6usize);
    let size = prop::sample::select(vec![0u64, 10, 150, 6_500]);
    prop_oneof![
        5 => (name.clone(), size.clone(), 0..3u8, 0..5u8)
            .prop_map(|(name, size, tag, condition)| Op::Put { name, size, tag, condition }),
        3 => name.clone().prop_map(|name| Op::Delete { name }),
        3 => (name.clone(), nth.clone()).prop_map(|(name, nth)| Op::DeleteVersion { name, nth }),
        2 => any::<bool>().prop_map(Op::Versioning),
        1 => (name.clone(), nth.clone(), 0..3usize).prop_map(|(name, nth, tags)| Op::Tags { name, nth, tags }),
        1 => name.clone().prop_map(|name| Op::Reattribute { name }),
        2 => name.prop_map(|name| Op::Create { name }),
        4 => (nth.clone(), 1..4u16, size).prop_map(|(nth, number, size)| Op::Part { nth, number, size }),
        2 => (nth.clone(), 1..4u16).prop_map(|(nth, number)| Op::Complete { nth, number }),
        1 => nth.clone().prop_map(|nth| Op::Abort { nth }),
        1 => Just(Op::Collect),
        1 => nth.prop_map(|nth| Op::Replay { nth }),
        1 => Just(Op::Wait),
    ]
}

/// A version as the model has it.
#[derive(Clone, Debug, PartialEq)]
struct Old {
    id: VersionId,
    /// Size and tag; none: a marker.
    object: Option<(u64, ETag)>,
    counted: u64,
}

#[derive(Debug, Default)]
struct Model {
    versioning: Versioning,
    /// Oldest first.
    keys: BTreeMap<&'static str, Vec<Old>>,
    uploads: Vec<(&'static str, UploadId, BTreeMap<u16, u64>)>,
}

impl Model {
    fn current(&self, name: &str) -> Option<&Old> {
        self.keys.get(name).and_then(|versions| versions.last())
    }
    fn object(&self, name: &str) -> Option<(u64, ETag)> {
        self.current(name).and_then(|version| version.object)
    }
    fn push(&mut self, name: &'static str, version: Old) {
        let versions = self.keys.entry(name).or_default();
        if version.id == VersionId::Null {
            versions.retain(|version| version.id != VersionId::Null);
        }
        versions.push(version);
    }
    fn remove(&mut self, name: &str, id: VersionId) {
        if let Some(versions) = self.keys.get_mut(name) {
            versions.retain(|version| version.id != id);
        }
    }
    /// What `put` of tag would answer under this condition.
    fn judged(&self, name: &str, condition: u8, tag: u8) -> Option<Refusal> {
        let there = self.object(name).map(|(_, tag)| tag);
        match (condition, there) {
            (1, Some(_)) => Some(Refusal::PreconditionFailed),
            (2, Some(there)) if there == etag(tag) => Some(Refusal::PreconditionFailed),
            (3 | 4, None) => Some(Refusal::NoSuchKey),
            (4, Some(there)) if there != etag(tag) => Some(Refusal::PreconditionFailed),
            _ => None,
        }
    }
}

fn condition(number: u8, tag: u8) -> Condition {
    let tags = EtagMatch::Tags(vec![etag(tag)]);
    let (if_match, if_none_match) = match number {
        1 => (None, Some(EtagMatch::Any)),
        2 => (None, Some(tags)),
        3 => (Some(EtagMatch::Any), None),
        4 => (Some(tags), None),
        _ => (None, None),
    };
    Condition {
        if_match,
        if_none_match,
        unchanged: None,
    }
}

fn is_null(model: &Model) -> bool {
    model.versioning != Versioning::Enabled
}

/// Bytes of `content-type: text/plain`.
const HEADERS: u64 = 22;

fn step(p: &mut Partition, model: &mut Model, op: &Op) {
    match *op {
        Op::Put {
            name,
            size,
            tag,
            condition: number,
        } => put(p, model, NAMES[name], (size, tag, number)),
        Op::Delete { name } => delete(p, model, NAMES[name]),
        Op::DeleteVersion { name, nth } => {
            delete_version(p, model, NAMES[name], nth);
        }
        Op::Versioning(enabled) => {
            model.versioning = if enabled {
                Versioning::Enabled
            } else {
                Versioning::Suspended
            };
            p.versioning(1, model.versioning);
        }
        Op::Tags { name, nth, tags } => tag(p, model, NAMES[name], nth, tags),
        Op::Reattribute { name } => reattribute(p, model, NAMES[name]),
        Op::Create { name } => {
            let upload = p.upload(1, NAMES[name]);
            model.uploads.push((NAMES[name], upload, BTreeMap::new()));
        }
        Op::Part { nth, number, size } => {
            let Some((name, upload, parts)) = nth_upload(model, nth) else {
                return;
            };
            assert!(matches!(
                p.put_part(1, name, *upload, number, size),
                Answer::Part(_)
            ));
            parts.insert(number, size);
        }
        Op::Complete { nth, number } => complete(p, model, nth, number),
        Op::Abort { nth } => {
            let Some((name, upload, _)) = nth_upload(model, nth).cloned() else {
                return;
            };
            let bucket = p.bucket(1);
            assert_eq!(
                p.apply(Change::AbortUpload {
                    bucket,
                    key: key(name),
                    upload
                }),
                Answer::Done
            );
            model.uploads.retain(|(_, open, _)| *open != upload);
        }
        Op::Collect => p.collect(),
        Op::Replay { nth } => {
            replay(p, nth);
        }
        Op::Wait => p.now = p.now.plus_ms(1_000),
    }
}

fn delete_version(p: &mut Partition, model: &mut Model, name: &'static str, nth: usize) {
    let id = nth_version(model, name, nth);
    let there = model
        .keys
        .get(name)
        .and_then(|v| v.iter().find(|v| v.id == id));
    let marker = there.is_some_and(|version| version.object.is_none());
    let answer = p.delete(1, name, Some(id));
    assert_eq!(
        answer,
        Answer::Deleted {
            version: Some(id),
            marker
        }
    );
    model.remove(name, id);
}

fn replay(p: &mut Partition, nth: usize) {
    let Some(entry) = p.log.iter().rev().nth(nth).cloned() else {
        return;
    };
    let mut before = p.rows.clone();
    p.again(entry.command);
    let mut after = p.rows.clone();
    for rows in [&mut before, &mut after] {
        rows.0
            .retain(|key, _| ![Table::Clock as u8, Table::Done as u8].contains(&key[0]));
    }
    assert_eq!(before, after, "a replay changes nothing");
}

fn nth_version(model: &Model, name: &str, nth: usize) -> VersionId {
    let versions = model.keys.get(name).filter(|versions| !versions.is_empty());
    versions.map_or(VersionId::Null, |versions| {
        versions[nth % versions.len()].id
    })
}

fn nth_upload(
    model: &mut Model,
    nth: usize,
) -> Option<&mut (&'static str, UploadId, BTreeMap<u16, u64>)> {
    let count = model.uploads.len();
    if count == 0 {
        None
    } else {
        model.uploads.get_mut(nth % count)
    }
}

fn put(
    p: &mut Partition,
    model: &mut Model,
    name: &'static str,
    (size, tag, number): (u64, u8, u8),
) {
    let mut put = p.put_of(1, name, size, tag);
    put.condition = condition(number, tag);
    let answer = p.apply(Change::PutVersion(Box::new(put)));
    if let Some(refusal) = model.judged(name, number, tag) {
        assert_eq!(answer, Answer::Refused(refusal));
        return;
    }
    let row = version(answer);
    assert_eq!(row.version == VersionId::Null, is_null(model));
    let counted = size + name.len() as u64 + HEADERS;
    model.push(
        name,
        Old {
            id: row.version,
            object: Some((size, etag(tag))),
            counted,
        },
    );
}

fn delete(p: &mut Partition, model: &mut Model, name: &'static str) {
    let answer = p.delete(1, name, None);
    if model.versioning == Versioning::Unversioned {
        assert_eq!(
            answer,
            Answer::Deleted {
                version: None,
                marker: false
            }
        );
        model.remove(name, VersionId::Null);
        return;
    }
    let Answer::Deleted {
        version: Some(id),
        marker: true,
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(id == VersionId::Null, is_null(model));
    model.push(
        name,
        Old {
            id,
            object: None,
            counted: name.len() as u64,
        },
    );
}

fn tag(p: &mut Partition, model: &mut Model, name: &'static str, nth: usize, tags: usize) {
    let id = nth_version(model, name, nth);
    let all: Vec<_> = (0..tags)
        .map(|n| (format!("t{n}"), "v".to_owned()))
        .collect();
    let bucket = p.bucket(1);
    let answer = p.apply(Change::SetTags {
        bucket,
        key: key(name),
        judged: Box::new(p.judged(1, name, id)),
        tags: all,
    });
    let versions = model.keys.entry(name).or_default();
    match versions.iter_mut().find(|version| version.id == id) {
        None | Some(Old { object: None, .. }) => {
            assert_eq!(answer, Answer::Refused(Refusal::Changed));
        }
        Some(Old {
            object: Some((size, _)),
            counted,
            ..
        }) => {
            assert!(matches!(answer, Answer::Version(_)));
            *counted = *size + name.len() as u64 + HEADERS + 3 * tags as u64;
        }
    }
}

fn reattribute(p: &mut Partition, model: &mut Model, name: &'static str) {
    let bucket = p.bucket(1);
    let attributes = Box::new(attributes());
    let condition = Condition::default();
    let change = Change::Reattribute {
        bucket,
        key: key(name),
        condition,
        attributes,
        checksum: None,
    };
    let answer = p.apply(change);
    match model.current(name).cloned() {
        None | Some(Old { object: None, .. }) => {
            assert_eq!(answer, Answer::Refused(Refusal::NoSuchKey));
        }
        Some(Old {
            id: VersionId::Null,
            object: Some((size, tag)),
            ..
        }) if is_null(model) => {
            assert!(matches!(answer, Answer::Version(_)));
            let counted = size + name.len() as u64 + HEADERS;
            model.push(
                name,
                Old {
                    id: VersionId::Null,
                    object: Some((size, tag)),
                    counted,
                },
            );
        }
        Some(_) => assert_eq!(answer, Answer::Refused(Refusal::NeedsCopy)),
    }
}

/// Completes with all parts but one number.
fn complete(p: &mut Partition, model: &mut Model, nth: usize, left_out: u16) {
    let Some((name, upload, parts)) = nth_upload(model, nth).cloned() else {
        return;
    };
    let numbers: Vec<u16> = parts
        .keys()
        .copied()
        .filter(|number| *number != left_out)
        .collect();
    let complete = p.complete_of(1, name, upload, &numbers);
    let tag = complete.etag;
    let answer = p.apply(Change::CompleteUpload(Box::new(complete)));
    if numbers.is_empty() {
        assert_eq!(answer, Answer::Refused(Refusal::Changed));
        return;
    }
    let size = numbers.iter().map(|number| parts[number]).sum();
    let row = version(answer);
    assert_eq!(
        (row.size, row.version == VersionId::Null),
        (size, is_null(model))
    );
    let counted = size + name.len() as u64 + HEADERS;
    model.push(
        name,
        Old {
            id: row.version,
            object: Some((size, tag)),
            counted,
        },
    );
    model.uploads.retain(|(_, open, _)| *open != upload);
}

fn everything() -> ListQuery {
    ListQuery {
        limit: 1_000,
        ..ListQuery::default()
    }
}

fn compare(p: &Partition, model: &Model) {
    compare_list(p, model);
    compare_versions(p, model);
    compare_current(p, model);
    compare_uploads(p, model);
}

fn compare_list(p: &Partition, model: &Model) {
    let bucket = p.bucket(1);
    let Reply::List(page) = p.ask(&Query::List(bucket, everything())) else {
        panic!()
    };
    let listed: Vec<_> = page
        .objects
        .iter()
        .map(|(key, row)| (key.as_str(), row.size, row.etag))
        .collect();
    let want = NAMES
        .into_iter()
        .filter_map(|name| model.object(name).map(|(size, tag)| (name, size, tag)));
    let mut want: Vec<_> = want.collect();
    want.sort_unstable();
    assert_eq!(listed, want);
}

fn compare_versions(p: &Partition, model: &Model) {
    let bucket = p.bucket(1);
    let query = Query::ListVersions {
        bucket,
        page: everything(),
        version_after: None,
    };
    let Reply::Versions(page) = p.ask(&query) else {
        panic!()
    };
    let listed: Vec<_> = page
        .versions
        .iter()
        .map(|version| {
            let row = &version.row;
            let object = (row.kind == VersionKind::Object).then_some((row.size, row.etag));
            (
                version.key.as_str(),
                Old {
                    id: row.version,
                    object,
                    counted: row.counted,
                },
                version.latest,
            )
        })
        .collect();
    let mut want = Vec::new();
    for (name, versions) in &model.keys {
        for (nth, version) in versions.iter().rev().enumerate() {
            want.push((*name, version.clone(), nth == 0));
        }
    }
    assert_eq!(listed, want);
    for (name, old, latest) in want {
        let query = Query::Version {
            bucket,
            key: key(name),
            version: Some(old.id),
            body: true,
        };
        let Reply::Version(found) = p.ask(&query) else {
            panic!("{name} {old:?}")
        };
        assert_eq!((found.row.version, found.latest), (old.id, latest));
        assert_eq!(found.body.is_some(), old.object.is_some());
    }
}

fn compare_current(p: &Partition, model: &Model) {
    let bucket = p.bucket(1);
    for name in NAMES {
        let query = Query::Version {
            bucket,
            key: key(name),
            version: None,
            body: false,
        };
        match (p.ask(&query), model.current(name)) {
            (Reply::Refused(Refusal::NoSuchKey), None) => {}
            (Reply::Marker(id, _), Some(old)) => assert_eq!((id, None), (old.id, old.object)),
            (Reply::Version(found), Some(old)) => assert_eq!(found.row.version, old.id),
            other => panic!("{other:?}"),
        }
    }
}

fn compare_uploads(p: &Partition, model: &Model) {
    let bucket = p.bucket(1);
    let query = Query::ListUploads {
        bucket,
        page: everything(),
        upload_after: None,
    };
    let Reply::Uploads(page) = p.ask(&query) else {
        panic!()
    };
    let listed: Vec<_> = page
        .uploads
        .iter()
        .map(|found| (found.key.as_str(), found.upload))
        .collect();
    let mut want: Vec<_> = model
        .uploads
        .iter()
        .map(|(name, upload, _)| (*name, *upload))
        .collect();
    want.sort_unstable();
    assert_eq!(listed, want);
}

/// The log applied again, in batches of `batch`.
fn replayed(log: &[Entry], batch: usize) -> MemoryRows {
    let mut rows = MemoryRows::default();
    for entries in log.chunks(batch) {
        let mut changes = Changes::default();
        for entry in entries {
            apply(&rows, entry, &mut changes).unwrap();
        }
        rows.write(changes);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::default())]
    #[test]
    fn behaves_as_a_naive_s3(ops in prop::collection::vec(op(), 1..60), batch in 1..20usize) {
        let mut p = Partition::with_buckets(1);
        let mut model = Model::default();
        for op in &ops {
            step(&mut p, &mut model, op);
            check(&p);
        }
        compare(&p, &model);
        prop_assert_eq!(&replayed(&p.log, batch), &p.rows, "the same log gives the same rows");
        p.collect();
        check(&p);
        compare(&p, &model);
        prop_assert_eq!(p.count(Table::Dead), 0);
        answer(&p.rows, &Query::Counters, 0).unwrap();
    }
}
