//! Random packing against a map of who is there.

use super::{pack_of, packs, parts, propose, unpacked};
use crate::keys::{self, Table};
use crate::rows::Changes;
use crate::state::apply;
use crate::state::tests::check;
use crate::testing::{MemoryRows, Partition, key};
use engine_core::meta::{Change, NewPack, PartRow, Place, Query, Reply, UnpackedRow};
use engine_types::{DataId, PartitionId, StorageClass};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    Put(u8),
    Delete(u8),
    /// Begins a pack of what waits now; committed by a later `Commit`.
    Read,
    /// Begins to pack the sparse ones anew.
    ReadSparse,
    Commit(usize),
    Owner(bool),
    Collect,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..6u8).prop_map(Op::Put),
        4 => (0..6u8).prop_map(Op::Delete),
        3 => Just(Op::Read),
        2 => Just(Op::ReadSparse),
        4 => (0..4usize).prop_map(Op::Commit),
        1 => any::<bool>().prop_map(Op::Owner),
        1 => Just(Op::Collect),
    ]
}

/// Which of `names` are there, and whose bytes: the model.
type Model = BTreeMap<String, DataId>;

fn current(p: &Partition, name: &str) -> Option<(DataId, Place)> {
    let query = Query::Version {
        bucket: p.bucket(1),
        key: key(name),
        version: None,
        body: true,
    };
    match p.ask(&query) {
        Reply::Version(found) => match found.body {
            Some(engine_core::meta::BodyStart::Part(part)) => {
                assert_eq!(part.inline.is_some(), part.row.place == Place::Inline);
                assert_eq!(part.stripes.is_empty(), part.row.place == Place::Inline);
                Some((part.data, part.row.place))
            }
            other => panic!("{other:?}"),
        },
        _ => None,
    }
}

fn step(p: &mut Partition, model: &mut Model, open: &mut Vec<NewPack>, op: &Op) {
    match op {
        Op::Put(n) => {
            let put = p.put_of(1, &format!("k{n}"), u64::from(*n), 1);
            model.insert(format!("k{n}"), put.part.data);
            p.apply(Change::PutVersion(Box::new(put)));
        }
        Op::Delete(n) => {
            p.delete(1, &format!("k{n}"), None);
            model.remove(&format!("k{n}"));
        }
        Op::Read => {
            let waiting = unpacked(p);
            let pack = pack_of(p, &waiting, None);
            open.push(pack);
        }
        Op::ReadSparse => {
            for (id, _) in packs(p, true) {
                let at = |(row, part): (Vec<u8>, PartRow)| {
                    let Place::Packed { pack, length, .. } = part.place else {
                        return None;
                    };
                    let (at, data) = keys::split_id(Table::Parts, &row).unwrap();
                    let class = StorageClass::standard();
                    let row = UnpackedRow {
                        bucket: at.bucket,
                        key: at.key,
                        class,
                        length,
                    };
                    (pack == id).then_some((DataId(data), row))
                };
                let members: Vec<_> = parts(p).into_iter().filter_map(at).collect();
                let pack = pack_of(p, &members, Some(id));
                open.push(pack);
            }
        }
        Op::Commit(nth) => {
            if !open.is_empty() {
                let pack = open.swap_remove(nth % open.len());
                propose(p, &pack);
            }
        }
        Op::Owner(holds) => {
            if let Some((pack, _)) = packs(p, false).first() {
                p.apply(Change::PackOwner {
                    pack: *pack,
                    owner: PartitionId(7),
                    holds: *holds,
                });
            }
        }
        Op::Collect => {
            p.now = p.now.plus_ms(1);
            p.collect();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::default())]
    #[test]
    fn packing_changes_where_bytes_are_and_nothing_else(ops in prop::collection::vec(op(), 1..60)) {
        let mut p = Partition::with_buckets(1);
        let (mut model, mut open) = (Model::new(), Vec::new());
        for op in &ops {
            step(&mut p, &mut model, &mut open, op);
            check(&p);
            for n in 0..6 {
                let name = format!("k{n}");
                let there = current(&p, &name).map(|(data, _)| data);
                prop_assert_eq!(there, model.get(&name).copied(), "{}", name);
            }
        }
        let mut rows = MemoryRows::default();
        for entry in &p.log {
            let mut changes = Changes::default();
            apply(&rows, entry, &mut changes).unwrap();
            rows.write(changes);
        }
        prop_assert_eq!(&rows, &p.rows);
        // Nothing is left once all is deleted and let go.
        for n in 0..6 {
            p.delete(1, &format!("k{n}"), None);
        }
        for (pack, _) in packs(&p, false) {
            p.apply(Change::PackOwner { pack, owner: PartitionId(7), holds: false });
        }
        p.now = p.now.plus_ms(1);
        p.collect();
        check(&p);
        for table in [Table::Packs, Table::SparsePacks, Table::Unpacked, Table::Inline, Table::Parts, Table::Dead] {
            prop_assert_eq!(p.count(table), 0, "{:?}", table);
        }
    }
}
