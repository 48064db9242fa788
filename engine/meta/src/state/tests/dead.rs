//! Moving stripes, freeing, what the collector may ask.

use super::{check, refused};
use crate::keys::Table;
use crate::testing::{Partition, key};
use engine_core::meta::{
    Answer, Body, Change, DeadThing, PartFound, Query, Refusal, Reply, Slot, Stripe, VersionRow,
};
use engine_types::{BirthId, BucketId, CopyToken, DataId, DriveId};

fn data(row: &VersionRow) -> DataId {
    match row.body {
        Body::Part(data) => data,
        ref other => panic!("{other:?}"),
    }
}
fn part(p: &Partition, data: DataId, first: u32) -> Option<PartFound> {
    match p.ask(&Query::Part {
        bucket: BucketId(1),
        key: key("k"),
        data,
        first,
    }) {
        Reply::Part(found) => found.map(|found| *found),
        other => panic!("{other:?}"),
    }
}
fn known(p: &Partition, data: DataId) -> bool {
    p.ask(&Query::DataKnown {
        bucket: BucketId(1),
        key: key("k"),
        data,
    }) == Reply::Known(true)
}
fn shift(p: &mut Partition, data: DataId, index: u32, from: &Stripe, to: &Stripe) -> Answer {
    let (from, to) = (Box::new(from.clone()), Box::new(to.clone()));
    p.apply(Change::MoveStripe {
        bucket: BucketId(1),
        key: key("k"),
        data,
        index,
        from,
        to,
    })
}
fn repairs(p: &Partition) -> Vec<u32> {
    match p.ask(&Query::Repairs {
        after: None,
        limit: 100,
    }) {
        Reply::Repairs(found) => found.into_iter().map(|found| found.3).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn stripes_are_read_chunk_by_chunk_and_moved_by_compare_and_set() {
    let mut p = Partition::with_buckets(1);
    let id = data(&p.put(1, "k", 100 * 65, 1));
    assert_eq!(part(&p, id, 0).unwrap().stripes.len(), 64);
    assert_eq!(part(&p, id, 63).unwrap().stripes.len(), 1);
    assert_eq!(part(&p, id, 64).unwrap().stripes.len(), 1);
    assert_eq!(part(&p, id, 128).unwrap().stripes.len(), 0);
    let from = part(&p, id, 64).unwrap().stripes[0].clone();
    let mut to = from.clone();
    let moved = from.slots[2].unwrap();
    to.slots[2] = Some(Slot {
        drive: DriveId(9),
        token: p.id(),
    });
    assert_eq!(
        shift(&mut p, id, 64, &to, &from),
        refused(Refusal::Changed),
        "not as read"
    );
    assert_eq!(
        shift(&mut p, id, 65, &from, &to),
        refused(Refusal::Changed),
        "no such stripe"
    );
    assert_eq!(shift(&mut p, id, 64, &from, &to), Answer::Done);
    assert_eq!(part(&p, id, 64).unwrap().stripes, [to.clone()]);
    assert_eq!(
        p.dead()[0].2.thing,
        DeadThing::Copy(moved),
        "the old place, in the same apply"
    );
    let mut ragged = to.clone();
    ragged.slots.pop();
    assert_eq!(
        shift(&mut p, id, 64, &to, &ragged),
        refused(Refusal::Changed)
    );
    let mut old = to.clone();
    p.apply(Change::AdvanceWatermark);
    let token = CopyToken::born(p.now.minus_ms(60_001), [1; 10]);
    old.slots[0] = Some(Slot {
        drive: DriveId(8),
        token,
    });
    assert_eq!(shift(&mut p, id, 64, &to, &old), refused(Refusal::TooOld));
    check(&p);
    p.collect();
    assert_eq!(p.count(Table::Dead), 0);
    assert!(part(&p, id, 0).is_some(), "freeing a copy leaves the part");
}

#[test]
fn a_missing_slot_is_queued_until_it_is_filled() {
    let mut p = Partition::with_buckets(1);
    let mut put = p.put_of(1, "k", 200, 1);
    let short = p.stripe(5);
    put.part.place = engine_core::meta::NewPlace::Stripes(vec![p.stripe(6), short.clone()]);
    let id = put.part.data;
    p.apply(Change::PutVersion(Box::new(put)));
    assert_eq!(repairs(&p), [1]);
    let mut whole = short.clone();
    whole.slots[5] = Some(Slot {
        drive: DriveId(5),
        token: p.id(),
    });
    assert_eq!(shift(&mut p, id, 1, &short, &whole), Answer::Done);
    assert!(repairs(&p).is_empty());
    assert_eq!(p.count(Table::Dead), 0, "nothing was replaced");
    assert_eq!(shift(&mut p, id, 1, &whole, &short), Answer::Done);
    assert_eq!(repairs(&p), [1]);
    p.delete(1, "k", None);
    p.collect();
    assert!(repairs(&p).is_empty());
}

#[test]
fn a_dead_part_is_known_until_freed_and_moves_no_more() {
    let mut p = Partition::with_buckets(1);
    let id = data(&p.put(1, "k", 200, 1));
    let stripe = part(&p, id, 0).unwrap().stripes[0].clone();
    let freed = Change::Freed {
        bucket: BucketId(1),
        key: key("k"),
        dead: id.0,
    };
    assert_eq!(p.apply(freed.clone()), Answer::Done);
    assert!(
        part(&p, id, 0).is_some(),
        "a referenced part is never freed"
    );
    p.delete(1, "k", None);
    assert!(known(&p, id) && part(&p, id, 0).is_some());
    assert_eq!(
        shift(&mut p, id, 0, &stripe, &stripe),
        refused(Refusal::Changed)
    );
    let Reply::ScannedParts(live) = p.ask(&Query::ScanParts {
        after: None,
        limit: 9,
    }) else {
        panic!()
    };
    assert!(live.is_empty());
    assert_eq!(p.apply(freed.clone()), Answer::Done);
    assert!(!known(&p, id) && part(&p, id, 0).is_none());
    assert_eq!(p.apply(freed), Answer::Done, "freed already");
    assert!(!known(&p, DataId::born(p.now, [5; 10])));
}

#[test]
fn the_collector_pages_by_age_and_cursor() {
    let mut p = Partition::with_buckets(1);
    for name in ["a", "b", "c"] {
        p.put(1, name, 200, 1);
        p.now = p.now.plus_ms(10);
        p.delete(1, name, None);
    }
    let ask = |after, before, limit| match p.ask(&Query::Dead {
        after,
        before,
        limit,
    }) {
        Reply::Dead(found) => found,
        other => panic!("{other:?}"),
    };
    let all = ask(None, p.now.plus_ms(1), 9);
    assert_eq!(all.len(), 3);
    assert_eq!(ask(None, p.now, 9).len(), 2, "strictly before");
    let (bucket, name, row) = all[0].clone();
    assert_eq!(
        ask(Some((bucket, name, row.thing.id())), p.now.plus_ms(1), 1),
        all[1..2]
    );
}

#[test]
fn parts_are_scanned_one_after_another() {
    let mut p = Partition::with_buckets(2);
    let mut want = Vec::new();
    for (bucket, name, size) in [
        (1, "a", 10),
        (1, "b", 100 * 130),
        (1, "c", 200),
        (2, "a", 300),
    ] {
        want.push((
            BucketId(bucket),
            key(name),
            data(&p.put(bucket, name, size, 1)),
        ));
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let Reply::ScannedParts(page) = p.ask(&Query::ScanParts { after, limit: 1 }) else {
            panic!()
        };
        let Some((bucket, name, found)) = page.into_iter().next() else {
            break;
        };
        seen.push((bucket, name.clone(), found.data));
        after = Some((bucket, name, found.data));
    }
    assert_eq!(seen, want);
}
