//! What a pack's command may be, who owns a pack, and what the packer's pages hold.

use super::super::refused;
use super::{ask, pack_of, packed, packs, propose, unpacked};
use crate::state::tests::check;
use crate::testing::{Partition, key};
use engine_core::meta::{
    Answer, Change, PACK_BYTES_MAX, PACK_MEMBERS_MAX, PACK_PAGE_MAX, PACKS, PackQuery, PackReply,
    Query, Refusal, Reply, Slot, pack_data, pack_key,
};
use engine_types::{BirthId, BucketId, DriveId, PartitionId, Stamp};

#[test]
fn a_pack_born_before_the_watermark_is_refused() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "a", 10, 1);
    let waiting = unpacked(&p);
    let new = pack_of(&mut p, &waiting, None);
    p.now = p.now.plus_ms(120_000);
    p.apply(Change::AdvanceWatermark);
    assert_eq!(propose(&mut p, &new), refused(Refusal::TooOld));
    let mut fresh = pack_of(&mut p, &waiting, None);
    fresh.stripe = new.stripe.clone();
    assert_eq!(
        propose(&mut p, &fresh),
        refused(Refusal::TooOld),
        "its copies are too old"
    );
    check(&p);
}

#[test]
fn a_command_past_its_bounds_is_refused() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "a", 10, 1);
    let waiting = unpacked(&p);
    let good = pack_of(&mut p, &waiting, None);
    let member = good.members[0].clone();
    let mut many = good.clone();
    many.members = vec![member; PACK_MEMBERS_MAX + 1];
    assert_eq!(propose(&mut p, &many), refused(Refusal::Changed));
    let mut long = good.clone();
    long.stripe.length = u32::try_from(PACK_BYTES_MAX).unwrap() + 1;
    assert_eq!(propose(&mut p, &long), refused(Refusal::Changed));
    let mut outside = good.clone();
    outside.members[0].0.offset = outside.stripe.length - outside.members[0].0.length + 1;
    assert_eq!(propose(&mut p, &outside), refused(Refusal::Changed));
    many.members.pop();
    assert_eq!(
        propose(&mut p, &many),
        packed(1, u32::try_from(PACK_MEMBERS_MAX).unwrap() - 1)
    );
    check(&p);
}

#[test]
fn the_packer_pages_by_birth_and_sees_no_young_ones() {
    let mut p = Partition::with_buckets(1);
    // Key order is not birth order.
    for name in ["c", "a", "b"] {
        p.put(1, name, 10, 1);
        p.now = p.now.plus_ms(10);
    }
    let all = unpacked(&p);
    let names: Vec<_> = all.iter().map(|(_, row)| row.key.as_str()).collect();
    assert_eq!(names, ["c", "a", "b"]);
    let page = |after, before, limit| match ask(
        &p,
        PackQuery::Unpacked {
            after,
            before,
            limit,
        },
    ) {
        PackReply::Unpacked(rows) => rows,
        other => panic!("{other:?}"),
    };
    assert_eq!(page(Some(all[0].0), Stamp(u64::MAX), 1), all[1..2]);
    assert_eq!(page(None, all[2].0.birth(), 9), all[..2], "strictly before");
    let inline = all
        .iter()
        .map(|(data, row)| (row.bucket, row.key.clone(), *data));
    let gone = (BucketId(1), key("c"), all[1].0);
    let asked = PackQuery::Inline(inline.chain([gone]).collect());
    let PackReply::Inline(bytes) = ask(&p, asked) else {
        panic!()
    };
    assert_eq!(
        bytes.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, true, true, false]
    );
    for n in 0..PACK_PAGE_MAX {
        p.put(1, &format!("more{n}"), 1, 1);
    }
    assert_eq!(page_of(&p, u32::MAX), PACK_PAGE_MAX as usize);
    assert_eq!(page_of(&p, PACK_PAGE_MAX), PACK_PAGE_MAX as usize);
    assert_eq!(page_of(&p, PACK_PAGE_MAX - 1), PACK_PAGE_MAX as usize - 1);
}

#[test]
fn a_packs_stripe_moves_and_is_repaired_like_any_other() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "a", 10, 1);
    let waiting = unpacked(&p);
    let mut new = pack_of(&mut p, &waiting, None);
    new.stripe.slots[5] = None;
    propose(&mut p, &new);
    let Reply::Repairs(queued) = p.ask(&Query::Repairs {
        after: None,
        limit: 9,
    }) else {
        panic!()
    };
    let (key, data) = (pack_key(new.pack), pack_data(new.pack));
    assert_eq!(queued, [(PACKS, key.clone(), data, 0)]);
    let mut to = new.stripe.clone();
    to.slots[5] = Some(Slot {
        drive: DriveId(5),
        token: p.id(),
    });
    let moved = Change::MoveStripe {
        bucket: PACKS,
        key,
        data,
        index: 0,
        from: Box::new(new.stripe.clone()),
        to: Box::new(to.clone()),
    };
    assert_eq!(p.apply(moved), Answer::Done);
    let Reply::Part(Some(found)) = p.ask(&Query::Part {
        bucket: BucketId(1),
        key: waiting[0].1.key.clone(),
        data: waiting[0].0,
        first: 0,
    }) else {
        panic!()
    };
    assert_eq!(found.stripes, [to], "its members are read where it is now");
    check(&p);
}

#[test]
fn a_pack_lives_while_another_partition_has_rows_in_it() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "a", 10, 1);
    let waiting = unpacked(&p);
    let new = pack_of(&mut p, &waiting, None);
    propose(&mut p, &new);
    let own = |holds| Change::PackOwner {
        pack: new.pack,
        owner: PartitionId(7),
        holds,
    };
    for _ in 0..2 {
        assert_eq!(p.apply(own(true)), Answer::Done);
    }
    assert_eq!(packs(&p, false)[0].1.owners, [PartitionId(7)]);
    p.delete(1, "a", None);
    check(&p);
    assert!(p.dead().is_empty());
    for _ in 0..2 {
        assert_eq!(p.apply(own(false)), Answer::Done);
        check(&p);
        assert_eq!(p.dead().len(), 1);
    }
    assert_eq!(p.apply(own(true)), refused(Refusal::Changed), "too late");
    p.now = p.now.plus_ms(1);
    p.collect();
    assert_eq!(p.apply(own(false)), Answer::Done);
    assert_eq!(p.apply(own(true)), refused(Refusal::Changed));
}

fn page_of(p: &Partition, limit: u32) -> usize {
    match ask(
        p,
        PackQuery::Unpacked {
            after: None,
            before: Stamp(u64::MAX),
            limit,
        },
    ) {
        PackReply::Unpacked(rows) => rows.len(),
        other => panic!("{other:?}"),
    }
}
