//! Packing: compare-and-set member by member, live bytes, when a pack dies.

mod bounds;
mod model;

use super::{Thing, all, refused};
use crate::keys::{self, Table};
use crate::testing::Partition;
use engine_core::meta::{
    Answer, Change, DeadThing, NewPack, PACKS, PackMember, PackQuery, PackReply, PackRow, PartRow,
    Place, Query, Refusal, Reply, Stripe, UnpackedRow, Versioning, pack_data, pack_key,
};
use engine_types::{BucketId, DataId, PackId, PartitionId, Stamp, StorageClass};
use std::collections::{BTreeMap, BTreeSet};

/// Every pack counts what points into it; sparse ones are listed, dead ones are empty. The packs
/// that are not dead.
pub(super) fn check(partition: &Partition, dead: &BTreeSet<Thing>) -> Vec<Thing> {
    let mut lengths: BTreeMap<PackId, u64> = BTreeMap::new();
    for (row, part) in parts(partition) {
        if let Place::Packed { pack, length, .. } = part.place {
            assert_eq!(u64::from(length), part.size + 16, "{row:?}");
            *lengths.entry(pack).or_default() += u64::from(length);
        }
    }
    let mut live = Vec::new();
    for (row, pack) in all::<PackRow>(partition, Table::Packs) {
        let id = PackId(keys::split_bare_id(Table::Packs, &row).unwrap());
        let thing = (PACKS, pack_key(id), id.0);
        assert_eq!(
            pack.live,
            lengths.remove(&id).unwrap_or_default(),
            "live bytes = rows"
        );
        let dies = dead.contains(&thing);
        assert_eq!(
            dies,
            pack.live == 0 && pack.owners.is_empty(),
            "dead once nothing needs it"
        );
        let sparse = partition.rows.0.contains_key(&keys::sparse_pack(id));
        assert_eq!(sparse, pack.is_sparse() && !dies);
        if !dies {
            live.push(thing);
        }
    }
    assert!(
        lengths.is_empty(),
        "parts in packs that are not: {lengths:?}"
    );
    live
}

fn parts(p: &Partition) -> Vec<(Vec<u8>, PartRow)> {
    let rows = p
        .rows
        .0
        .iter()
        .filter(|(key, _)| key[0] == Table::Parts as u8);
    let rows = rows.filter(|(key, _)| keys::split_id(Table::Parts, key).unwrap().0.rest == [0]);
    rows.map(|(key, value)| (key.clone(), crate::state::parse(value).unwrap()))
        .collect()
}

fn ask(p: &Partition, query: PackQuery) -> PackReply {
    match p.ask(&Query::Packs(query)) {
        Reply::Packs(reply) => reply,
        other => panic!("{other:?}"),
    }
}
fn unpacked(p: &Partition) -> Vec<(DataId, UnpackedRow)> {
    let before = Stamp(u64::MAX);
    match ask(
        p,
        PackQuery::Unpacked {
            after: None,
            before,
            limit: 100,
        },
    ) {
        PackReply::Unpacked(rows) => rows,
        other => panic!("{other:?}"),
    }
}
fn packs(p: &Partition, sparse: bool) -> Vec<(PackId, PackRow)> {
    match ask(
        p,
        PackQuery::Packs {
            after: None,
            sparse,
            limit: 100,
        },
    ) {
        PackReply::Packs(packs) => packs,
        other => panic!("{other:?}"),
    }
}

/// A pack of what waits, as a worker would propose it. Members have size + 16 bytes, as sealed.
fn pack_of(p: &mut Partition, waiting: &[(DataId, UnpackedRow)], from: Option<PackId>) -> NewPack {
    let mut offset = 0;
    let members = waiting.iter().map(|(data, row)| {
        let place = keys::part(row.bucket, &row.key, *data);
        let size = crate::state::read::<PartRow>(&p.rows, &place)
            .unwrap()
            .map_or(10, |part| part.size);
        let length = u32::try_from(size).unwrap() + 16;
        let (bucket, key, data) = (row.bucket, row.key.clone(), *data);
        offset += length;
        (
            PackMember {
                bucket,
                key,
                data,
                offset: offset - length,
                length,
            },
            from,
        )
    });
    let members: Vec<_> = members.collect();
    let stripe = Stripe {
        length: offset.max(1) + 10,
        ..p.stripe(6)
    };
    NewPack {
        pack: p.id(),
        maker: PartitionId(1),
        class: StorageClass::standard(),
        stripe,
        members,
    }
}
fn propose(p: &mut Partition, pack: &NewPack) -> Answer {
    p.apply(Change::Pack(Box::new(pack.clone())))
}
fn packed(packed: u32, left_out: u32) -> Answer {
    Answer::Packed { packed, left_out }
}

#[test]
fn what_is_packed_leaves_the_inline_table_and_is_found_in_its_pack() {
    let mut p = Partition::with_buckets(1);
    for name in ["a", "b", "c"] {
        p.put(1, name, 10, 1);
    }
    p.put(1, "large", 300, 1);
    let before = Counters::of(&p);
    let waiting = unpacked(&p);
    assert_eq!(waiting.len(), 3);
    let new = pack_of(&mut p, &waiting, None);
    assert_eq!(propose(&mut p, &new), packed(3, 0));
    super::check(&p);
    assert_eq!((p.count(Table::Inline), p.count(Table::Unpacked)), (0, 0));
    assert_eq!(Counters::of(&p), before, "packing counts nothing");
    for (member, _) in &new.members {
        let query = Query::Part {
            bucket: BucketId(1),
            key: member.key.clone(),
            data: member.data,
            first: 0,
        };
        let Reply::Part(Some(found)) = p.ask(&query) else {
            panic!()
        };
        let (offset, length) = (member.offset, member.length);
        let place = Place::Packed {
            maker: PartitionId(1),
            pack: new.pack,
            offset,
            length,
        };
        assert_eq!(
            (found.row.place, found.stripes),
            (place, vec![new.stripe.clone()])
        );
    }
    let within = PackQuery::Within {
        pack: new.pack,
        members: new.members.iter().map(|m| m.0.clone()).collect(),
    };
    assert_eq!(ask(&p, within), PackReply::Within(vec![true; 3]));
    // To whoever looks after stripes the pack is a part like any other.
    let Reply::ScannedParts(all) = p.ask(&Query::ScanParts {
        after: None,
        limit: 9,
    }) else {
        panic!()
    };
    let maps: Vec<_> = all
        .iter()
        .filter(|(_, _, part)| !part.stripes.is_empty())
        .collect();
    assert_eq!(
        (maps[0].0, &maps[0].1, maps[0].2.data),
        (PACKS, &pack_key(new.pack), pack_data(new.pack))
    );
    assert_eq!(maps.len(), 2, "its own, the large one's, none twice");
}

/// Counters' rows.
#[derive(Debug, PartialEq)]
struct Counters(Vec<(Vec<u8>, u64, u64)>);
impl Counters {
    fn of(p: &Partition) -> Self {
        let rows = all::<engine_tenancy::Counter>(p, Table::Counters).into_iter();
        Self(
            rows.map(|(key, counter)| (key, counter.bytes, counter.objects))
                .collect(),
        )
    }
}

#[test]
fn members_that_changed_since_they_were_read_are_left_out() {
    let mut p = Partition::with_buckets(1);
    for name in ["deleted", "kept", "replaced"] {
        p.put(1, name, 10, 1);
    }
    let waiting = unpacked(&p);
    let mut new = pack_of(&mut p, &waiting, None);
    p.put(1, "replaced", 12, 2);
    p.delete(1, "deleted", None);
    new.members[1].0.length += 1;
    assert_eq!(
        propose(&mut p, &new),
        refused(Refusal::Changed),
        "nothing is as it was read"
    );
    assert_eq!(p.count(Table::Packs), 0);
    new.members[1].0.length -= 1;
    new.pack = p.id();
    assert_eq!(propose(&mut p, &new), packed(1, 2));
    super::check(&p);
    assert_eq!(
        packs(&p, true),
        packs(&p, false),
        "what was left out is dead from the start"
    );
    assert_eq!(unpacked(&p).len(), 1, "the new one waits");
    // The same pack again, under another command: its id is in use.
    assert_eq!(propose(&mut p, &new), refused(Refusal::TooOld));
    p.delete(1, "kept", None);
    super::check(&p);
    assert_eq!(
        propose(&mut p, &new),
        refused(Refusal::TooOld),
        "dead, not freed"
    );
    p.now = p.now.plus_ms(1);
    p.collect();
    super::check(&p);
    assert_eq!((p.count(Table::Packs), p.count(Table::Dead)), (0, 0));
}

#[test]
fn of_two_packers_one_has_each_member() {
    let mut p = Partition::with_buckets(1);
    for name in ["a", "b", "c"] {
        p.put(1, name, 10, 1);
    }
    let waiting = unpacked(&p);
    let (one, two) = (
        pack_of(&mut p, &waiting[..2], None),
        pack_of(&mut p, &waiting, None),
    );
    assert_eq!(propose(&mut p, &one), packed(2, 0));
    assert_eq!(propose(&mut p, &two), packed(1, 2));
    super::check(&p);
    let three = pack_of(&mut p, &waiting, None);
    assert_eq!(propose(&mut p, &three), refused(Refusal::Changed));
    super::check(&p);
}

#[test]
fn the_same_command_twice_is_applied_once() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "a", 10, 1);
    let waiting = unpacked(&p);
    let new = pack_of(&mut p, &waiting, None);
    assert_eq!(propose(&mut p, &new), packed(1, 0));
    let entry = p.log.last().unwrap().clone();
    let before = packs(&p, false);
    assert_eq!(p.again(entry.command), packed(1, 0));
    assert_eq!(packs(&p, false), before);
    super::check(&p);
}

#[test]
fn a_pack_dies_with_the_last_of_it_and_not_before() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    let first = p.put(1, "a", 10, 1);
    p.put(1, "a", 10, 2);
    let upload = p.upload(1, "m");
    p.put_part(1, "m", upload, 1, 10);
    let waiting = unpacked(&p);
    let new = pack_of(&mut p, &waiting, None);
    assert_eq!(propose(&mut p, &new), packed(3, 0));
    p.delete(1, "a", None);
    assert!(
        packs(&p, true).is_empty(),
        "a marker hides, nothing is dead"
    );
    p.delete(1, "a", Some(first.version));
    super::check(&p);
    p.put_part(1, "m", upload, 1, 16);
    super::check(&p);
    assert_eq!(packs(&p, true).len(), 1, "a third of it lives");
    assert!(p.dead().is_empty());
    p.put(1, "b", 10, 2);
    let at = p.ask(&Query::ListVersions {
        bucket: p.bucket(1),
        page: everything(),
        version_after: None,
    });
    let Reply::Versions(page) = at else { panic!() };
    for version in page.versions {
        p.delete(1, version.key.as_str(), Some(version.row.version));
    }
    super::check(&p);
    let dead = p.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].2.thing, DeadThing::Part(pack_data(new.pack)));
    assert!(packs(&p, true).is_empty(), "nobody packs a dead one anew");
    let known = |p: &Partition| {
        p.ask(&Query::DataKnown {
            bucket: PACKS,
            key: pack_key(new.pack),
            data: pack_data(new.pack),
        })
    };
    assert_eq!(known(&p), Reply::Known(true), "its shards are no orphans");
    p.now = p.now.plus_ms(1);
    p.collect();
    super::check(&p);
    assert_eq!(known(&p), Reply::Known(false));
    assert_eq!(p.count(Table::Packs), 0);
}

fn everything() -> engine_core::meta::ListQuery {
    engine_core::meta::ListQuery {
        limit: 1_000,
        ..Default::default()
    }
}

#[test]
fn a_sparse_pack_is_packed_anew_and_then_dies() {
    let mut p = Partition::with_buckets(1);
    for name in ["a", "b", "c"] {
        p.put(1, name, 16, 1);
    }
    let waiting = unpacked(&p);
    let old = pack_of(&mut p, &waiting, None);
    assert_eq!(propose(&mut p, &old), packed(3, 0));
    p.delete(1, "b", None);
    p.delete(1, "c", None);
    assert_eq!(packs(&p, true)[0].0, old.pack);
    let wrong: PackId = p.id();
    let mistaken = pack_of(&mut p, &waiting, Some(wrong));
    assert_eq!(propose(&mut p, &mistaken), refused(Refusal::Changed));
    let new = pack_of(&mut p, &waiting, Some(old.pack));
    assert_eq!(propose(&mut p, &new), packed(1, 2));
    super::check(&p);
    assert_eq!(p.dead()[0].2.thing, DeadThing::Part(pack_data(old.pack)));
}
