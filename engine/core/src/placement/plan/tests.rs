//! What holds of every plan, whatever the drives do.

use super::*;
use crate::placement::{DriveState, LayoutDrive};
use engine_types::{BirthId, DataId, DriveUuid, NodeId, Stamp};
use proptest::prelude::*;

fn drive(id: u32, state: DriveState) -> LayoutDrive {
    LayoutDrive {
        id: DriveId(id),
        uuid: DriveUuid(
            u128::from(id)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_be_bytes(),
        ),
        node: NodeId(1),
        zone: "z".into(),
        size_bytes: 1 << 40,
        state,
    }
}

fn key(n: u32) -> PlacementKey {
    let mut entropy = [0; 10];
    entropy[..4].copy_from_slice(&n.to_be_bytes());
    PlacementKey::stripe(DataId::born(Stamp(1_800_000_000_000), entropy), 0)
}

/// Drives 1.. in these states, all that may answering.
fn fleet(states: &[DriveState]) -> Fleet {
    let drives: Vec<LayoutDrive> = (1..).zip(states).map(|(id, s)| drive(id, *s)).collect();
    let readable = drives.iter().filter(|d| d.state != DriveState::Gone);
    let writable = drives.iter().filter(|d| d.state == DriveState::Active);
    let writable: BTreeSet<DriveId> = writable.map(|d| d.id).collect();
    Fleet {
        readable: readable.map(|d| d.id).collect(),
        roomy: writable.clone(),
        writable,
        layout: Layout { version: 1, drives },
    }
}

fn slots(ids: &[u32]) -> Vec<Option<DriveId>> {
    ids.iter()
        .map(|id| (*id > 0).then_some(DriveId(*id)))
        .collect()
}

const ACTIVE: DriveState = DriveState::Active;
const WIDE: Geometry = Geometry { k: 4, m: 2 };
const NARROW: Geometry = Geometry { k: 2, m: 2 };

#[test]
fn a_replaced_drives_shard_goes_to_the_new_one() {
    let mut states = [ACTIVE; 7];
    states[2] = DriveState::Gone;
    let plan = fleet(&states).plan(key(1), WIDE, &slots(&[1, 2, 3, 4, 5, 6]), None);
    assert_eq!(plan.work, Work::Move(vec![(2, DriveId(7))]));
    assert_eq!((plan.tolerated, plan.missing), (1, 1));
    // Being emptied it still answers: nothing is lost yet.
    states[2] = DriveState::Leaving;
    let plan = fleet(&states).plan(key(1), WIDE, &slots(&[1, 2, 3, 4, 5, 6]), None);
    assert_eq!(plan.work, Work::Move(vec![(2, DriveId(7))]));
    assert_eq!(plan.tolerated, 2);
}

#[test]
fn a_drive_that_left_the_layout_counts_as_gone() {
    let mut fleet = fleet(&[ACTIVE; 7]);
    fleet.layout.drives.remove(2);
    fleet.readable.remove(&DriveId(3));
    let plan = fleet.plan(key(1), WIDE, &slots(&[1, 2, 3, 4, 5, 6]), None);
    assert_eq!(plan.work, Work::Move(vec![(2, DriveId(7))]));
}

#[test]
fn narrow_stripes_grow_with_the_drives_and_wide_ones_shrink_with_them() {
    let six = fleet(&[ACTIVE; 6]);
    let plan = six.plan(key(1), NARROW, &slots(&[1, 2, 3, 4]), None);
    assert!(
        matches!(plan.work, Work::Restripe { geometry: WIDE, .. }),
        "{plan:?}"
    );
    let mut one_leaves = fleet(&[ACTIVE; 6]);
    one_leaves.layout.drives[5].state = DriveState::Leaving;
    one_leaves.writable.remove(&DriveId(6));
    let plan = one_leaves.plan(key(1), WIDE, &slots(&[1, 2, 3, 4, 5, 6]), None);
    assert!(
        matches!(
            plan.work,
            Work::Restripe {
                geometry: NARROW,
                ..
            }
        ),
        "{plan:?}"
    );
    // Not in place of a drive that is out: it waits for all six.
    let mut out = fleet(&[ACTIVE; 6]);
    out.readable.remove(&DriveId(6));
    out.writable.remove(&DriveId(6));
    let plan = out.plan(key(1), NARROW, &slots(&[1, 2, 3, 4]), None);
    assert_eq!(plan.work, Work::Blocked);
}

#[test]
fn parity_never_shrinks() {
    let mut states = [ACTIVE; 4];
    states[3] = DriveState::Gone;
    let plan = fleet(&states).plan(key(1), NARROW, &slots(&[1, 2, 3, 4]), None);
    assert_eq!(plan.work, Work::Blocked, "three drives allow 2+1 only");
}

#[test]
fn an_unsound_shard_may_go_where_it_was() {
    let plan = fleet(&[ACTIVE; 6]).plan(key(1), WIDE, &slots(&[1, 2, 3, 4, 5, 6]), Some(4));
    assert_eq!(plan.work, Work::Move(vec![(4, DriveId(5))]));
    assert_eq!(plan.tolerated, 1);
}

#[test]
fn what_cannot_be_read_waits() {
    let mut three_out = fleet(&[ACTIVE; 7]);
    for id in [1, 2] {
        three_out.readable.remove(&DriveId(id));
        three_out.writable.remove(&DriveId(id));
    }
    three_out.layout.drives[2].state = DriveState::Gone;
    three_out.readable.remove(&DriveId(3));
    three_out.writable.remove(&DriveId(3));
    let plan = three_out.plan(key(1), WIDE, &slots(&[1, 2, 3, 4, 5, 6]), None);
    assert_eq!((plan.tolerated, plan.work), (-1, Work::Blocked));
}

/// Where placement wants a stripe of this form.
fn ideal(fleet: &Fleet, n: u32, geometry: Geometry) -> Vec<Option<DriveId>> {
    let m = usize::from(geometry.m);
    let drives = fleet.layout.place(key(n), geometry.shards(), m, |_| true);
    drives.unwrap().into_iter().map(Some).collect()
}

#[test]
fn a_drive_that_joins_takes_its_share_and_nothing_else_moves() {
    let six = fleet(&[ACTIVE; 6]);
    let seven = fleet(&[ACTIVE; 7]);
    let stripes = 2_000;
    let mut taken = 0_u32;
    for n in 0..stripes {
        let placed = ideal(&six, n, WIDE);
        assert_eq!(six.plan(key(n), WIDE, &placed, None).work, Work::None);
        let plan = seven.plan(key(n), WIDE, &placed, None);
        match &plan.work {
            Work::None => {}
            Work::Balance(moves) => {
                assert!(matches!(moves[..], [(_, DriveId(7))]), "{moves:?}");
                taken += 1;
            }
            other => panic!("{other:?}"),
        }
        let (form, next) = done(&plan, WIDE, &placed);
        assert_eq!(seven.plan(key(n), form, &next, None).work, Work::None);
    }
    // Of six shards in seven drives each drive has six sevenths of a shard a stripe.
    let due = stripes * 6 / 7;
    assert!(taken.abs_diff(due) < due / 20, "{taken} of {due}");
}

#[test]
fn what_lacks_nothing_waits_for_room_for_every_drive_and_for_what_is_urgent() {
    let six = fleet(&[ACTIVE; 6]);
    let mut seven = fleet(&[ACTIVE; 7]);
    let moving = |n: &u32| {
        let placed = ideal(&six, *n, WIDE);
        matches!(
            seven.plan(key(*n), WIDE, &placed, None).work,
            Work::Balance(_)
        )
    };
    let n = (0..10_000).find(moving).unwrap();
    let placed = ideal(&six, n, WIDE);
    let plan = seven.plan(key(n), WIDE, &placed, None);
    assert_eq!((plan.urgency(), plan.missing), (Some(i32::MAX), 0));
    seven.roomy.remove(&DriveId(7));
    assert_eq!(seven.plan(key(n), WIDE, &placed, None).work, Work::None);
    seven.roomy.insert(DriveId(7));
    seven.readable.remove(&DriveId(1));
    assert_eq!(seven.plan(key(n), WIDE, &placed, None).urgency(), None);
}

fn state() -> impl Strategy<Value = DriveState> {
    prop_oneof![
        6 => Just(DriveState::Active),
        1 => Just(DriveState::ReadOnly),
        1 => Just(DriveState::Leaving),
        1 => Just(DriveState::Gone),
        1 => Just(DriveState::Full),
    ]
}

/// Drives' states, which of them are out, a geometry, where its shards are (0: nowhere).
fn case() -> impl Strategy<Value = (Fleet, Geometry, Vec<Option<DriveId>>, u32)> {
    let states = prop::collection::vec(state(), 1..12);
    let forms = prop::sample::select(vec![(1, 0), (1, 1), (2, 1), (2, 2), (4, 2)]);
    (
        states,
        prop::collection::vec(prop::bool::weighted(0.15), 12),
        forms,
        any::<u32>(),
    )
        .prop_flat_map(|(states, out, (k, m), n)| {
            let ids = prop::collection::vec(0..=u32::try_from(states.len()).unwrap() + 1, k + m);
            (Just((states, out, k, m, n)), ids)
        })
        .prop_map(|((states, out, k, m, n), ids)| {
            let mut fleet = fleet(&states);
            for (id, out) in (1..).zip(out) {
                if out {
                    fleet.readable.remove(&DriveId(id));
                    fleet.writable.remove(&DriveId(id));
                    fleet.roomy.remove(&DriveId(id));
                }
            }
            let geometry = Geometry {
                k: u8::try_from(k).unwrap(),
                m: u8::try_from(m).unwrap(),
            };
            (fleet, geometry, slots(&ids), n)
        })
}

/// The stripe after its plan.
fn done(
    plan: &Plan,
    geometry: Geometry,
    slots: &[Option<DriveId>],
) -> (Geometry, Vec<Option<DriveId>>) {
    match &plan.work {
        Work::None | Work::Blocked => (geometry, slots.to_vec()),
        Work::Move(moves) | Work::Balance(moves) => {
            let mut next = slots.to_vec();
            for (index, drive) in moves {
                next[usize::from(*index)] = Some(*drive);
            }
            (geometry, next)
        }
        Work::Restripe { geometry, drives } => {
            (*geometry, drives.iter().copied().map(Some).collect())
        }
    }
}

proptest! {
    #[test]
    fn every_plan_is_safe_and_ends((fleet, geometry, slots, n) in case()) {
        let plan = fleet.plan(key(n), geometry, &slots, None);
        let (form, next) = done(&plan, geometry, &slots);
        prop_assert!(form.m >= geometry.m);
        prop_assert_eq!(next.len(), form.shards());
        match &plan.work {
            Work::Move(moves) => for (index, drive) in moves {
                prop_assert!(fleet.writable.contains(drive));
                let others = next.iter().enumerate().filter(|(i, _)| *i != usize::from(*index));
                let doubled = others.filter(|(_, d)| **d == Some(*drive)).count();
                // A shard that waits for a place of its own may still lie where it was.
                prop_assert!(doubled == 0 || plan.missing as usize > moves.len());
            },
            Work::Restripe { drives, .. } => {
                let different: BTreeSet<_> = drives.iter().collect();
                prop_assert_eq!(different.len(), drives.len());
                prop_assert!(drives.iter().all(|d| fleet.writable.contains(d)));
                prop_assert_eq!(Some(form), fleet.target());
            }
            Work::None => {
                let drives: BTreeSet<_> = slots.iter().flatten().collect();
                prop_assert_eq!(drives.len(), slots.len());
                prop_assert!(slots.iter().flatten().all(|d| fleet.keeps(*d)));
            }
            Work::Balance(moves) => {
                prop_assert!(moves.iter().all(|(_, drive)| fleet.roomy.contains(drive)));
                let drives: BTreeSet<_> = next.iter().flatten().collect();
                prop_assert_eq!(drives.len(), next.len());
                prop_assert_eq!(plan.tolerated, i32::from(geometry.m));
            }
            Work::Blocked => {}
        }
        // One step more never makes it weaker, and soon nothing is left that can be done.
        let mut at = (form, next, plan);
        for _ in 0..3 {
            let again = fleet.plan(key(n), at.0, &at.1, None);
            if !matches!(at.2.work, Work::Blocked | Work::None) {
                prop_assert!(again.tolerated >= at.2.tolerated.min(i32::from(at.0.m)), "{:?} {:?}", at.2, again);
            }
            let (form, next) = done(&again, at.0, &at.1);
            at = (form, next, again);
        }
        prop_assert!(matches!(at.2.work, Work::None | Work::Blocked), "{:?}", at.2);
    }

    #[test]
    fn sound_shards_stay_where_they_are((fleet, geometry, slots, n) in case()) {
        let plan = fleet.plan(key(n), geometry, &slots, None);
        if let Work::Move(moves) = plan.work {
            for (index, _) in moves {
                let index = usize::from(index);
                let first = |d: DriveId| slots.iter().position(|s| *s == Some(d)) == Some(index);
                prop_assert!(!slots[index].is_some_and(|d| fleet.keeps(d) && first(d)));
            }
        }
    }
}
