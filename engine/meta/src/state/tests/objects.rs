//! PUT, DELETE, conditions, tags, ACL, copy onto itself.

use super::{check, refused};
use crate::keys::Table;
use crate::testing::{Partition, attributes, etag, key, version};
use engine_core::meta::{
    Answer, Change, Condition, DeadThing, EtagMatch, Query, Refusal, Reply, Versioning,
};
use engine_types::{Order, VersionId};

/// Version ids of a key, newest first, with size (none: marker) and whether latest.
fn listing(partition: &Partition) -> Vec<(VersionId, Option<u64>, bool)> {
    let query = Query::ListVersions {
        bucket: partition.bucket(1),
        page: engine_core::meta::ListQuery {
            limit: 1_000,
            ..Default::default()
        },
        version_after: None,
    };
    let Reply::Versions(page) = partition.ask(&query) else {
        panic!()
    };
    let size = |row: &engine_core::meta::VersionRow| {
        (row.kind == engine_core::meta::VersionKind::Object).then_some(row.size)
    };
    page.versions
        .iter()
        .map(|v| (v.row.version, size(&v.row), v.latest))
        .collect()
}

#[test]
fn unversioned_put_replaces_and_its_parts_die() {
    let mut p = Partition::with_buckets(1);
    let first = p.put(1, "k", 500, 1);
    let Reply::Version(found) = p.ask(&Query::Version {
        bucket: p.bucket(1),
        key: key("k"),
        version: None,
        body: true,
    }) else {
        panic!()
    };
    let engine_core::meta::Body::Part(data) = found.row.body else {
        panic!()
    };
    p.put(1, "k", 10, 2);
    check(&p);
    assert_eq!(first.version, VersionId::Null);
    assert_eq!(listing(&p), [(VersionId::Null, Some(10), true)]);
    let dead = p.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].2.thing, DeadThing::Part(data));
    assert_eq!(
        p.count(Table::Parts),
        3,
        "the replaced part's row and stripes stay until freed"
    );
    p.put(1, "k", 10, 3);
    assert_eq!(p.count(Table::Inline), 1, "inline bytes go at once");
    assert_eq!(p.dead().len(), 1);
    p.collect();
    assert_eq!((p.count(Table::Parts), p.count(Table::Dead)), (1, 0));
    assert_eq!(
        p.delete(1, "k", None),
        Answer::Deleted {
            version: None,
            marker: false
        }
    );
    assert_eq!(
        p.delete(1, "k", None),
        Answer::Deleted {
            version: None,
            marker: false
        }
    );
    for table in [
        Table::Objects,
        Table::Versions,
        Table::Nulls,
        Table::Parts,
        Table::Inline,
    ] {
        assert_eq!(p.count(table), 0, "{table:?}");
    }
    check(&p);
}

#[test]
fn versions_pile_up_and_the_next_is_promoted() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "k", 1, 1);
    p.versioning(1, Versioning::Enabled);
    let second = p.put(1, "k", 2, 2).version;
    let third = p.put(1, "k", 3, 3).version;
    assert_ne!(second, third);
    let null = (VersionId::Null, Some(1), false);
    assert_eq!(
        listing(&p),
        [(third, Some(3), true), (second, Some(2), false), null]
    );
    let Answer::Deleted {
        version: Some(marker),
        marker: true,
    } = p.delete(1, "k", None)
    else {
        panic!()
    };
    check(&p);
    assert_eq!(p.count(Table::Objects), 0, "a marker is current");
    assert_eq!(listing(&p)[0], (marker, None, true));
    assert_eq!(
        p.delete(1, "k", Some(marker)),
        Answer::Deleted {
            version: Some(marker),
            marker: true
        }
    );
    assert_eq!(listing(&p)[0], (third, Some(3), true));
    assert_eq!(
        p.delete(1, "k", Some(third)),
        Answer::Deleted {
            version: Some(third),
            marker: false
        }
    );
    p.delete(1, "k", Some(second));
    check(&p);
    assert_eq!(listing(&p), [(VersionId::Null, Some(1), true)]);
    assert_eq!((p.count(Table::Nulls), p.count(Table::Versions)), (0, 0));
    p.delete(1, "k", Some(VersionId::Null));
    assert!(listing(&p).is_empty());
    check(&p);
}

#[test]
fn deleting_below_the_current_version_changes_nothing_above() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    let first = p.put(1, "k", 1, 1).version;
    let second = p.put(1, "k", 2, 2).version;
    p.delete(1, "k", Some(first));
    assert_eq!(listing(&p), [(second, Some(2), true)]);
    let gone = Answer::Deleted {
        version: Some(first),
        marker: false,
    };
    assert_eq!(
        p.delete(1, "k", Some(first)),
        gone,
        "what is not there is deleted already"
    );
    check(&p);
}

#[test]
fn suspended_writes_and_markers_replace_null_alone() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    let kept = p.put(1, "k", 1, 1).version;
    p.versioning(1, Versioning::Suspended);
    p.put(1, "k", 2, 2);
    p.put(1, "k", 3, 3);
    check(&p);
    assert_eq!(
        listing(&p),
        [(VersionId::Null, Some(3), true), (kept, Some(1), false)]
    );
    let marked = Answer::Deleted {
        version: Some(VersionId::Null),
        marker: true,
    };
    assert_eq!(p.delete(1, "k", None), marked);
    assert_eq!(
        listing(&p),
        [(VersionId::Null, None, true), (kept, Some(1), false)]
    );
    assert_eq!(
        p.delete(1, "k", None),
        marked,
        "a null marker replaces a null marker"
    );
    assert_eq!((p.count(Table::Versions), p.count(Table::Nulls)), (2, 1));
    p.versioning(1, Versioning::Enabled);
    let newest = p.put(1, "k", 4, 4).version;
    p.versioning(1, Versioning::Suspended);
    p.put(1, "k", 5, 5);
    check(&p);
    let want = [
        (VersionId::Null, Some(5), true),
        (newest, Some(4), false),
        (kept, Some(1), false),
    ];
    assert_eq!(
        listing(&p),
        want,
        "a null below is replaced wherever it stands"
    );
    p.delete(1, "k", Some(VersionId::Null));
    assert_eq!(listing(&p)[0], (newest, Some(4), true));
    check(&p);
}

#[test]
fn a_version_id_with_other_entropy_is_not_found() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    for name in ["k", "k"] {
        let VersionId::Id { order, entropy } = p.put(1, name, 1, 1).version else {
            panic!()
        };
        let guessed = VersionId::Id {
            order,
            entropy: entropy.map(|b| !b),
        };
        let query = Query::Version {
            bucket: p.bucket(1),
            key: key("k"),
            version: Some(guessed),
            body: false,
        };
        assert_eq!(p.ask(&query), Reply::Refused(Refusal::NoSuchVersion));
        p.delete(1, "k", Some(guessed));
    }
    assert_eq!(listing(&p).len(), 2);
}

/// Puts `k` with a condition and says what came of it.
fn put_if(p: &mut Partition, condition: Condition) -> Answer {
    let mut put = p.put_of(1, "k", 1, 9);
    put.condition = condition;
    p.apply(Change::PutVersion(Box::new(put)))
}

fn if_match(tags: EtagMatch) -> Condition {
    Condition {
        if_match: Some(tags),
        ..Condition::default()
    }
}
fn if_none_match(tags: EtagMatch) -> Condition {
    Condition {
        if_none_match: Some(tags),
        ..Condition::default()
    }
}

#[test]
fn conditions_of_writes() {
    let tags = |tag| EtagMatch::Tags(vec![etag(0), etag(tag)]);
    // Each over: nothing, an object with tag 1, a marker.
    let (ok, no_key, failed) = (
        None,
        Some(Refusal::NoSuchKey),
        Some(Refusal::PreconditionFailed),
    );
    let table = [
        (if_match(EtagMatch::Any), [no_key, ok, no_key]),
        (if_match(tags(1)), [no_key, ok, no_key]),
        (if_match(tags(2)), [no_key, failed, no_key]),
        (
            if_match(EtagMatch::Tags(Vec::new())),
            [no_key, failed, no_key],
        ),
        (if_none_match(EtagMatch::Any), [ok, failed, ok]),
        (if_none_match(tags(1)), [ok, failed, ok]),
        (if_none_match(tags(2)), [ok, ok, ok]),
    ];
    for (condition, wants) in table {
        for (setup, want) in wants.into_iter().enumerate() {
            let mut p = Partition::with_buckets(1);
            p.versioning(1, Versioning::Enabled);
            if setup > 0 {
                p.put(1, "k", 1, 1);
            }
            if setup > 1 {
                p.delete(1, "k", None);
            }
            let before = p.rows.clone();
            let answer = put_if(&mut p, condition.clone());
            match want {
                None => assert_eq!(version(answer).etag, etag(9), "{condition:?} {setup}"),
                Some(refusal) => {
                    assert_eq!(answer, refused(refusal), "{condition:?} {setup}");
                    unchanged_but_done(&before, &p);
                }
            }
            check(&p);
        }
    }
}

/// Only the clock and the answer's row differ.
fn unchanged_but_done(before: &crate::testing::MemoryRows, p: &Partition) {
    let apart = |rows: &crate::testing::MemoryRows| {
        let mut rows = rows.0.clone();
        rows.retain(|key, _| ![Table::Done as u8, Table::Clock as u8].contains(&key[0]));
        rows
    };
    assert_eq!(apart(before), apart(&p.rows));
}

#[test]
fn conditions_of_deletes() {
    let mut p = Partition::with_buckets(1);
    let delete_if = |p: &mut Partition, version, condition| {
        let delete = engine_core::meta::Delete {
            bucket: p.bucket(1),
            key: key("k"),
            version,
            condition,
            owner: engine_types::AccountId(1),
            charged_to: attributes().charged_to,
        };
        p.apply(Change::Delete(Box::new(delete)))
    };
    let one = || EtagMatch::Tags(vec![etag(1)]);
    assert_eq!(
        delete_if(&mut p, None, if_match(one())),
        refused(Refusal::NoSuchKey)
    );
    p.versioning(1, Versioning::Enabled);
    let first = p.put(1, "k", 1, 1).version;
    p.put(1, "k", 1, 2);
    assert_eq!(
        delete_if(&mut p, None, if_match(one())),
        refused(Refusal::PreconditionFailed)
    );
    let gone = Answer::Deleted {
        version: Some(first),
        marker: false,
    };
    assert_eq!(
        delete_if(&mut p, Some(first), if_match(one())),
        gone,
        "judged by the version named"
    );
    assert_eq!(
        delete_if(&mut p, Some(first), if_match(one())),
        refused(Refusal::NoSuchVersion)
    );
    let two = EtagMatch::Tags(vec![etag(2)]);
    let marked = delete_if(&mut p, None, if_match(two));
    assert!(matches!(marked, Answer::Deleted { marker: true, .. }));
    assert_eq!(
        delete_if(&mut p, None, if_match(EtagMatch::Any)),
        refused(Refusal::PreconditionFailed)
    );
    check(&p);
}

#[test]
fn one_of_many_if_none_match_wins() {
    let mut p = Partition::with_buckets(1);
    let won = (0..50).filter(|_| {
        matches!(
            put_if(&mut p, if_none_match(EtagMatch::Any)),
            Answer::Version(_)
        )
    });
    assert_eq!(won.count(), 1);
    check(&p);
}

#[test]
fn unchanged_sees_through_a_null_version_replaced_by_another() {
    let mut p = Partition::with_buckets(1);
    let read = p.put(1, "k", 1, 1).order;
    p.put(1, "k", 1, 1);
    let condition = |order: Order| Condition {
        unchanged: Some(order),
        ..Condition::default()
    };
    assert_eq!(put_if(&mut p, condition(read)), refused(Refusal::Changed));
    let now = p.put(1, "k", 1, 1).order;
    assert!(matches!(put_if(&mut p, condition(now)), Answer::Version(_)));
}

#[test]
fn a_stale_epoch_and_a_gone_bucket_are_refused() {
    let mut p = Partition::with_buckets(1);
    let old = p.put_of(1, "k", 1, 1);
    p.versioning(1, Versioning::Enabled);
    assert_eq!(
        p.apply(Change::PutVersion(Box::new(old))),
        refused(Refusal::StaleBucket)
    );
    let mut gone = p.put_of(1, "k", 1, 1);
    gone.bucket.id = engine_types::BucketId(99);
    assert_eq!(
        p.apply(Change::PutVersion(Box::new(gone))),
        refused(Refusal::StaleBucket)
    );
    assert_eq!(p.count(Table::Parts), 0);
}

#[test]
fn reattribute_keeps_the_bytes_of_a_null_version_only() {
    let mut p = Partition::with_buckets(1);
    let before = p.put(1, "k", 500, 1);
    let again = |p: &mut Partition, order| {
        let mut attributes = attributes();
        attributes.user = vec![("a".into(), "b".into())];
        let condition = Condition {
            unchanged: Some(order),
            ..Condition::default()
        };
        let bucket = p.bucket(1);
        p.apply(Change::Reattribute {
            bucket,
            key: key("k"),
            condition,
            attributes: Box::new(attributes),
            checksum: None,
        })
    };
    p.now = p.now.plus_ms(5);
    let after = version(again(&mut p, before.order));
    assert_eq!(
        (after.body.clone(), after.etag),
        (before.body.clone(), before.etag)
    );
    assert!(after.order > before.order);
    assert_eq!(after.counted, before.counted + 2);
    assert_eq!((p.count(Table::Dead), p.count(Table::Objects)), (0, 1));
    assert_eq!(again(&mut p, before.order), refused(Refusal::Changed));
    check(&p);
    p.versioning(1, Versioning::Enabled);
    assert_eq!(again(&mut p, after.order), refused(Refusal::NeedsCopy));
    let newest = p.put(1, "k", 500, 2);
    p.versioning(1, Versioning::Suspended);
    assert_eq!(again(&mut p, newest.order), refused(Refusal::NeedsCopy));
    check(&p);
}

#[test]
fn the_bucket_owner_pays_whatever_the_proposer_says() {
    let mut p = Partition::with_buckets(1);
    let mut put = p.put_of(1, "k", 1, 1);
    put.attributes.charged_to.account = engine_types::AccountId(77);
    let row = version(p.apply(Change::PutVersion(Box::new(put))));
    assert_eq!(
        row.attributes.charged_to.account,
        engine_types::AccountId(1)
    );
    check(&p);
}
