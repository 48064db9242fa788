//! Control: claims, accounts, access keys, layout, named keys.

use super::refused;
use crate::testing::{Partition, bucket_row};
use engine_core::meta::{
    AccessKeyState, Answer, Bootstrap, BucketNameRow, BucketState, Change, ControlChange,
    ControlQuery, ControlReply, KeyVersionId, Query, Refusal, Reply,
};
use engine_core::placement::Layout;
use engine_types::{AccountId, BucketId, BucketName, ClusterId, KeyId, PartitionId};
use serde_bytes::ByteBuf;

fn bootstrap(cluster: u8) -> ControlChange {
    ControlChange::Bootstrap(Box::new(Bootstrap {
        cluster: ClusterId([cluster; 16]),
        layout: Layout {
            version: 1,
            ..Layout::default()
        },
        partitions: 8,
        root: ("root-id".into(), "root".into(), "root@example.org".into()),
        root_key: ("ROOTKEY".into(), ByteBuf::from(vec![1])),
    }))
}
pub(super) fn control() -> Partition {
    let mut p = Partition::new();
    assert_eq!(p.apply(Change::Control(bootstrap(1))), Answer::Done);
    p
}
pub(super) fn change(p: &mut Partition, change: ControlChange) -> Answer {
    p.apply(Change::Control(change))
}
pub(super) fn ask(p: &Partition, query: ControlQuery) -> ControlReply {
    match p.ask(&Query::Control(query)) {
        Reply::Control(reply) => reply,
        other => panic!("{other:?}"),
    }
}
fn name(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}
fn claim(p: &mut Partition, bucket: &str, owner: u64) -> Answer {
    change(
        p,
        ControlChange::ClaimBucket {
            name: name(bucket),
            owner: AccountId(owner),
        },
    )
}
fn claimed(answer: Answer) -> BucketNameRow {
    match answer {
        Answer::Claimed(row) => row,
        other => panic!("{other:?}"),
    }
}
fn put_account(id: &str, email: &str) -> ControlChange {
    ControlChange::PutAccount {
        canonical_id: id.into(),
        name: "n".into(),
        email: email.into(),
    }
}
fn put_key(account: u64, access_key: &str, secret: u8) -> ControlChange {
    ControlChange::PutAccessKey {
        account: AccountId(account),
        access_key: access_key.into(),
        sealed_secret: ByteBuf::from(vec![secret]),
        description: String::new(),
    }
}

#[test]
fn bootstrap_once() {
    let mut p = Partition::new();
    assert_eq!(
        claim(&mut p, "abc", 1),
        refused(Refusal::WrongPartition),
        "not yet"
    );
    assert_eq!(ask(&p, ControlQuery::Cluster), ControlReply::Cluster(None));
    assert_eq!(change(&mut p, bootstrap(1)), Answer::Done);
    let before = p.rows.0.len();
    assert_eq!(change(&mut p, bootstrap(1)), Answer::Done);
    assert_eq!(p.rows.0.len(), before + 1, "its answer alone");
    assert_eq!(change(&mut p, bootstrap(2)), refused(Refusal::OtherCluster));
    assert_eq!(
        ask(&p, ControlQuery::Cluster),
        ControlReply::Cluster(Some(ClusterId([1; 16])))
    );
    let ControlReply::AccessKey(Some((key, root))) =
        ask(&p, ControlQuery::AccessKey("ROOTKEY".into()))
    else {
        panic!()
    };
    assert_eq!((key.id, root.id, root.root), (KeyId(1), AccountId(1), true));
    let answer = p.apply(Change::CreateBucket(Box::new(bucket_row(1))));
    assert_eq!(
        answer,
        refused(Refusal::WrongPartition),
        "no buckets in control"
    );
    let mut data = Partition::with_buckets(1);
    assert_eq!(
        change(&mut data, bootstrap(1)),
        refused(Refusal::WrongPartition)
    );
}

#[test]
fn a_name_is_claimed_once_and_rolled_forward() {
    let mut p = control();
    change(&mut p, put_account("other", ""));
    let row = claimed(claim(&mut p, "abc", 1));
    assert_eq!(
        (row.id, row.home, row.state),
        (BucketId(1), PartitionId(2), BucketState::Creating)
    );
    assert_eq!(
        claimed(claim(&mut p, "abc", 1)),
        row,
        "after a crash the same claim"
    );
    assert_eq!(
        claim(&mut p, "abc", 2),
        refused(Refusal::BucketExists { owned: false })
    );
    assert_eq!(claim(&mut p, "new", 9), refused(Refusal::NoSuchAccount));
    let live = |id| ControlChange::BucketLive {
        name: name("abc"),
        id: BucketId(id),
    };
    let deleting = |deleting| ControlChange::BucketDeleting {
        name: name("abc"),
        id: BucketId(1),
        deleting,
    };
    let release = |id| ControlChange::ReleaseBucket {
        name: name("abc"),
        id: BucketId(id),
    };
    assert_eq!(change(&mut p, deleting(true)), refused(Refusal::BucketBusy));
    assert_eq!(
        change(&mut p, live(7)),
        refused(Refusal::NoSuchBucket),
        "another life"
    );
    for _ in 0..2 {
        assert_eq!(claimed(change(&mut p, live(1))).state, BucketState::Live);
    }
    assert_eq!(
        claim(&mut p, "abc", 1),
        refused(Refusal::BucketExists { owned: true })
    );
    change(&mut p, deleting(true));
    assert_eq!(claim(&mut p, "abc", 1), refused(Refusal::BucketBusy));
    assert_eq!(change(&mut p, live(1)), refused(Refusal::BucketBusy));
    assert_eq!(
        claimed(change(&mut p, deleting(false))).state,
        BucketState::Live,
        "not empty"
    );
    change(&mut p, deleting(true));
    for _ in 0..2 {
        assert_eq!(change(&mut p, release(1)), Answer::Done);
    }
    released(&mut p);
}

#[test]
fn a_name_is_released_in_any_state_for_its_home_decides() {
    for live in [false, true] {
        let mut p = control();
        change(&mut p, put_account("other", ""));
        let (name, id) = (name("abc"), claimed(claim(&mut p, "abc", 1)).id);
        if live {
            let (name, id) = (name.clone(), id);
            change(&mut p, ControlChange::BucketLive { name, id });
        }
        assert_eq!(
            change(&mut p, ControlChange::ReleaseBucket { name, id }),
            Answer::Done
        );
        assert_eq!(
            ask(
                &p,
                ControlQuery::Buckets {
                    owner: AccountId(1),
                    prefix: String::new(),
                    after: None,
                    limit: 9
                }
            ),
            ControlReply::Buckets(Vec::new(), false),
            "nor is it listed"
        );
        released(&mut p);
    }
}

/// The name `abc` is free again, after its first life.
fn released(p: &mut Partition) {
    let release = |id| ControlChange::ReleaseBucket {
        name: name("abc"),
        id: BucketId(id),
    };
    let next = claimed(claim(p, "abc", 2));
    assert_eq!(
        (next.id, next.home),
        (BucketId(2), PartitionId(3)),
        "numbers are never reused"
    );
    assert_eq!(
        change(p, release(1)),
        Answer::Done,
        "of its former life: nothing"
    );
    assert_eq!(
        ask(p, ControlQuery::Bucket("abc".into())),
        ControlReply::Bucket(Some(next))
    );
}

#[test]
fn homes_go_round_the_partitions() {
    let mut p = control();
    let homes: Vec<u32> = (0..9)
        .map(|n| claimed(claim(&mut p, &format!("bucket{n}"), 1)).home.0)
        .collect();
    assert_eq!(homes, [2, 3, 4, 5, 6, 7, 8, 1, 2]);
}

#[test]
fn live_names_are_listed_by_owner_and_the_rest_as_unsettled() {
    let mut p = control();
    change(&mut p, put_account("other", ""));
    for (bucket, owner) in [
        ("aa1", 1),
        ("aa2", 1),
        ("ab1", 1),
        ("zz1", 1),
        ("aa3", 2),
        ("half", 1),
    ] {
        let row = claimed(claim(&mut p, bucket, owner));
        if bucket != "half" {
            change(
                &mut p,
                ControlChange::BucketLive {
                    name: name(bucket),
                    id: row.id,
                },
            );
        }
    }
    let list = |prefix: &str, after: Option<&str>, limit| {
        let query = ControlQuery::Buckets {
            owner: AccountId(1),
            prefix: prefix.into(),
            after: after.map(Into::into),
            limit,
        };
        match ask(&p, query) {
            ControlReply::Buckets(found, more) => (
                found
                    .into_iter()
                    .map(|(name, _)| name.to_string())
                    .collect::<Vec<_>>(),
                more,
            ),
            other => panic!("{other:?}"),
        }
    };
    let names = |names: &[&str], more| (names.iter().map(ToString::to_string).collect(), more);
    assert_eq!(
        list("", None, 10),
        names(&["aa1", "aa2", "ab1", "zz1"], false)
    );
    assert_eq!(
        list("", None, 4),
        names(&["aa1", "aa2", "ab1", "zz1"], false)
    );
    assert_eq!(list("", None, 3), names(&["aa1", "aa2", "ab1"], true));
    assert_eq!(list("a", Some("aa1"), 10), names(&["aa2", "ab1"], false));
    assert_eq!(list("b", Some("aa1"), 10), names(&[], false));
    assert_eq!(list("aa", Some("b"), 10), names(&[], false));
    let ControlReply::Buckets(unsettled, _) = ask(&p, ControlQuery::UnsettledBuckets) else {
        panic!()
    };
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].0, name("half"));
}

#[test]
fn accounts_by_every_name() {
    let mut p = control();
    let Answer::Account(made) = change(&mut p, put_account("acc", "a@x")) else {
        panic!()
    };
    assert_eq!((made.id, made.root), (AccountId(2), false));
    let by = |p: &Partition, query| match ask(p, query) {
        ControlReply::Account(found) => found.map(|row| row.id),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        by(&p, ControlQuery::AccountByCanonicalId("acc".into())),
        Some(AccountId(2))
    );
    assert_eq!(
        by(&p, ControlQuery::AccountByEmail("a@x".into())),
        Some(AccountId(2))
    );
    assert_eq!(
        change(&mut p, put_account("new", "a@x")),
        refused(Refusal::EmailTaken)
    );
    change(&mut p, put_account("acc", "b@x"));
    assert_eq!(by(&p, ControlQuery::AccountByEmail("a@x".into())), None);
    assert_eq!(
        by(&p, ControlQuery::AccountByEmail("b@x".into())),
        Some(AccountId(2))
    );
    assert_eq!(
        by(&p, ControlQuery::Account(AccountId(2))),
        Some(AccountId(2))
    );
    change(&mut p, put_account("acc", ""));
    assert_eq!(
        by(&p, ControlQuery::AccountByEmail(String::new())),
        None,
        "no address is not one"
    );
    let ControlReply::Accounts(all) = ask(&p, ControlQuery::Accounts) else {
        panic!()
    };
    assert_eq!(all.len(), 2);
}

#[test]
fn access_keys() {
    let mut p = control();
    change(&mut p, put_account("acc", ""));
    assert_eq!(
        change(&mut p, put_key(9, "AK", 1)),
        refused(Refusal::NoSuchAccount)
    );
    let Answer::AccessKey(made) = change(&mut p, put_key(2, "AK", 1)) else {
        panic!()
    };
    let Answer::AccessKey(again) = change(&mut p, put_key(2, "AK", 2)) else {
        panic!()
    };
    assert_eq!(
        (made.id, again.id, again.sealed_secret[0]),
        (KeyId(2), KeyId(2), 2)
    );
    assert_eq!(
        change(&mut p, put_key(1, "AK", 3)),
        refused(Refusal::AccessKeyExists)
    );
    let disable = ControlChange::SetAccessKey {
        access_key: "AK".into(),
        state: AccessKeyState::Disabled,
    };
    assert!(
        matches!(change(&mut p, disable), Answer::AccessKey(row) if row.state == AccessKeyState::Disabled)
    );
    let delete = || ControlChange::DeleteAccessKey {
        access_key: "AK".into(),
    };
    assert!(matches!(change(&mut p, delete()), Answer::AccessKey(_)));
    assert_eq!(change(&mut p, delete()), refused(Refusal::NoSuchAccessKey));
    let Answer::AccessKey(next) = change(&mut p, put_key(2, "AK", 1)) else {
        panic!()
    };
    assert_eq!(next.id, KeyId(3), "its number stays used");
}

#[test]
fn named_keys() {
    let mut p = control();
    let put = |version| ControlChange::PutKmsKey {
        name: "k".into(),
        current: KeyVersionId(version),
    };
    change(&mut p, put(1));
    change(&mut p, put(2));
    let ControlReply::KmsKey(Some(row)) = ask(&p, ControlQuery::KmsKey("k".into())) else {
        panic!()
    };
    assert_eq!(row.current, KeyVersionId(2));
    let ControlReply::KmsKeys(all) = ask(&p, ControlQuery::KmsKeys) else {
        panic!()
    };
    assert_eq!(all.len(), 1);
}
