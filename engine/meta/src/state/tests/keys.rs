//! What the state machine knows of keys: how a part's is wrapped, and which are destroyed.

use super::refused;
use crate::testing::{Partition, key};
use engine_core::meta::{
    Answer, Body, Bootstrap, Change, ControlChange, ControlQuery, ControlReply, KeyVersionId,
    PartKey, Query, Refusal, Reply,
};
use engine_core::placement::Layout;
use engine_types::{BucketId, ClusterId, DataId};
use serde_bytes::ByteBuf;

fn wrapping(p: &Partition, data: DataId) -> PartKey {
    match p.ask(&Query::Part {
        bucket: BucketId(1),
        key: key("k"),
        data,
        first: 0,
    }) {
        Reply::Part(Some(found)) => found.row.key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_data_key_is_wrapped_anew_by_compare_and_set() {
    let mut p = Partition::with_buckets(1);
    let Body::Part(data) = p.put(1, "k", 10, 1).body else {
        panic!()
    };
    let old = wrapping(&p, data);
    let new = PartKey {
        version: Some(KeyVersionId(7)),
        wrapped: ByteBuf::from(vec![2]),
        context: Some([3; 32]),
    };
    let mut rewrap = |from: &PartKey, to: &PartKey, data| {
        let answer = p.apply(Change::Rewrap {
            bucket: BucketId(1),
            key: key("k"),
            data,
            from: Box::new(from.clone()),
            to: Box::new(to.clone()),
        });
        (answer, wrapping(&p, DataId(data.0)))
    };
    assert_eq!(
        rewrap(&new, &old, data),
        (refused(Refusal::Changed), old.clone()),
        "not as read"
    );
    assert_eq!(rewrap(&old, &new, data), (Answer::Done, new.clone()));
    assert_eq!(
        rewrap(&old, &new, data),
        (refused(Refusal::Changed), new.clone()),
        "moved already"
    );
    let gone = p.apply(Change::Rewrap {
        bucket: BucketId(1),
        key: key("k"),
        data: DataId([9; 16]),
        from: Box::new(old.clone()),
        to: Box::new(old),
    });
    assert_eq!(gone, refused(Refusal::Changed), "no such part");
}

#[test]
fn destroyed_key_versions_are_noted_for_good() {
    let mut p = Partition::new();
    let destroy = |ids: &[u64]| {
        let versions = ids.iter().copied().map(KeyVersionId).collect();
        Change::Control(ControlChange::DestroyKeys(versions))
    };
    assert_eq!(p.apply(destroy(&[1])), refused(Refusal::WrongPartition));
    p.apply(Change::Control(ControlChange::Bootstrap(Box::new(
        Bootstrap {
            cluster: ClusterId([1; 16]),
            layout: Layout::default(),
            partitions: 8,
            root: ("root-id".into(), "root".into(), String::new()),
            root_key: ("ROOTKEY".into(), ByteBuf::from(vec![1])),
        },
    ))));
    assert_eq!(p.apply(destroy(&[5, 2])), Answer::Done);
    assert_eq!(p.apply(destroy(&[5, u64::MAX])), Answer::Done, "again");
    let asked = p.ask(&Query::Control(ControlQuery::DestroyedKeys));
    let all = [2, 5, u64::MAX].map(KeyVersionId).to_vec();
    assert_eq!(asked, Reply::Control(ControlReply::DestroyedKeys(all)));
}
