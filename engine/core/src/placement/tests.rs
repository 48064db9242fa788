//! Weights, movement, spread, and answers that must not change.

use super::*;
use engine_types::{BirthId, Stamp};
use proptest::prelude::*;

/// (zone, node, size) of each drive, numbered from 1.
fn layout(drives: &[(u32, u32, u64)]) -> Layout {
    let drive = |(i, &(zone, node, size_bytes)): (usize, &(u32, u32, u64))| {
        let id = i as u32 + 1;
        LayoutDrive {
            id: DriveId(id),
            uuid: DriveUuid(
                u128::from(id)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .to_be_bytes(),
            ),
            node: NodeId(node),
            zone: format!("zone-{zone}"),
            size_bytes,
            state: DriveState::Active,
        }
    };
    Layout {
        version: 1,
        drives: drives.iter().enumerate().map(drive).collect(),
    }
}

fn key(n: u32) -> PlacementKey {
    let mut entropy = [0; 10];
    entropy[..4].copy_from_slice(&(n / 3).to_be_bytes());
    PlacementKey::stripe(DataId::born(Stamp(1_800_000_000_000), entropy), n % 3)
}

fn place(layout: &Layout, key: PlacementKey, shards: usize, m: usize) -> Vec<DriveId> {
    layout
        .place(key, shards, m, |d| d.state == DriveState::Active)
        .unwrap()
}

#[test]
fn the_answers_do_not_change() {
    let nine: Vec<_> = (0..9)
        .map(|i| (i / 3, i, 1000 + u64::from(i) * 500))
        .collect();
    let got: Vec<Vec<u32>> = (0..4)
        .map(|n| {
            place(&layout(&nine), key(n), 6, 2)
                .iter()
                .map(|d| d.0)
                .collect()
        })
        .collect();
    let expected = [
        [4, 7, 9, 5, 3, 2],
        [4, 3, 7, 6, 9, 2],
        [8, 7, 6, 5, 3, 1],
        [9, 7, 6, 2, 3, 5],
    ];
    assert_eq!(got, expected);
}

#[test]
fn one_shard_a_drive_or_none() {
    let six = layout(&[(0, 0, 10); 6]);
    let mut all = place(&six, key(1), 6, 2);
    all.sort();
    assert_eq!(all, (1..=6).map(DriveId).collect::<Vec<_>>());
    let short = six.place(key(1), 6, 2, |d| d.id != DriveId(3));
    assert_eq!(
        short,
        Err(TooFewDrives {
            eligible: 5,
            needed: 6
        })
    );
    assert_eq!(Layout::default().place(key(1), 0, 2, |_| true), Ok(vec![]));
}

#[test]
fn weights_are_respected() {
    let sizes = [1, 1, 2, 4, 8, 3, 5];
    let drives: Vec<_> = sizes.iter().map(|s| (0, 0, s * 1_000_000_007)).collect();
    let layout = layout(&drives);
    let total: u64 = sizes.iter().sum();
    let count = 60_000;
    let mut won = [0_u64; 7];
    for n in 0..count {
        won[place(&layout, key(n), 1, 0)[0].0 as usize - 1] += 1;
    }
    for (size, won) in sizes.iter().zip(won) {
        let share = won as f64 / f64::from(count) / (*size as f64 / total as f64);
        assert!((0.95..1.05).contains(&share), "{size}: {share}");
    }
}

/// Equal drives, six shards each: every drive within 5 % of its share.
#[test]
fn equal_drives_fill_alike() {
    let drives: Vec<_> = (0..24).map(|i| (i / 8, i / 4, 1000)).collect();
    let layout = layout(&drives);
    let mut won = [0_u32; 24];
    let count = 20_000;
    for n in 0..count {
        for drive in place(&layout, key(n), 6, 2) {
            won[drive.0 as usize - 1] += 1;
        }
    }
    for (i, won) in won.iter().enumerate() {
        let share = f64::from(*won) / f64::from(count) / (6.0 / 24.0);
        assert!((0.95..1.05).contains(&share), "drive {i}: {share}");
    }
}

#[test]
fn a_new_drive_takes_its_share_and_no_more() {
    let before = layout(&vec![(0, 0, 1000); 20]);
    let after = layout(&vec![(0, 0, 1000); 21]);
    let count = 10_000;
    let (mut changed, mut taken) = (0, 0);
    for n in 0..count {
        let old = place(&before, key(n), 6, 6);
        let new = place(&after, key(n), 6, 6);
        taken += usize::from(new.contains(&DriveId(21)));
        let current: Vec<_> = old.into_iter().map(Some).collect();
        let moves = moves(&current, &new).unwrap();
        assert!(moves.iter().all(|(_, drive)| *drive == DriveId(21)));
        changed += moves.len();
    }
    let least = f64::from(count) * 6.0 / 21.0;
    assert_eq!(changed, taken, "nothing moves but to the new drive");
    assert!(
        (changed as f64) < least * 1.1,
        "{changed} of at least {least}"
    );
    assert!(
        (changed as f64) > least * 0.9,
        "it takes its share: {changed} of {least}"
    );
}

#[test]
fn each_domain_holds_what_may_be_lost() {
    // (drives, shards, m) → most in a zone, most in a node
    let spread = |zones: u32, nodes: u32, drives: u32| -> Vec<(u32, u32, u64)> {
        (0..zones * nodes * drives)
            .map(|i| (i / (nodes * drives), i / drives, 1000))
            .collect()
    };
    for (drives, shards, m, zone, node) in [
        (spread(1, 1, 6), 6, 2, 6, 6),
        (spread(1, 3, 2), 6, 2, 6, 2),
        (spread(1, 2, 6), 6, 2, 6, 3),
        (spread(1, 6, 4), 6, 2, 6, 2),
        (spread(3, 2, 4), 6, 2, 2, 2),
        (spread(2, 3, 2), 6, 2, 3, 2),
        (spread(3, 1, 1), 3, 1, 1, 1),
        (spread(2, 1, 3), 5, 2, 3, 3),
    ] {
        let layout = layout(&drives);
        let limits = Limits::of(layout.drives.iter(), shards, m);
        assert_eq!((limits.zone, limits.node), (zone, node), "{drives:?}");
    }
}

#[test]
fn moves_are_the_fewest() {
    let at = |drives: [u32; 3]| drives.map(|n| (n > 0).then_some(DriveId(n)));
    for (current, desired, expected, why) in [
        ([1, 2, 3], [3, 1, 2], vec![], "order is not moved for"),
        ([1, 2, 3], [4, 1, 2], vec![(2, 4)], "one differs"),
        ([1, 0, 3], [1, 2, 3], vec![(1, 2)], "a missing shard"),
        ([1, 1, 3], [1, 4, 3], vec![(1, 4)], "two on one drive"),
        ([1, 2, 3], [4, 5, 1], vec![(1, 4), (2, 5)], "two differ"),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(i, d)| (i, DriveId(d))).collect();
        assert_eq!(
            moves(&at(current), &desired.map(DriveId)),
            Ok(expected),
            "{why}"
        );
    }
    assert_eq!(
        moves(&at([1, 2, 3]), &[DriveId(1)]),
        Err(ErasureError::Index)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn limits_hold_and_one_drive_changes_one_place(
        shape in prop::collection::vec((0_u32..4, 0_u32..4, 1_u64..50), 3..24),
        shards in 1_usize..8, m in 0_usize..4, n: u32, gone: prop::sample::Index,
    ) {
        let drives: Vec<_> = shape.iter().map(|&(z, node, s)| (z, z * 4 + node, s)).collect();
        let layout = layout(&drives);
        prop_assume!(drives.len() > shards);
        let chosen = place(&layout, key(n), shards, m);
        let limits = Limits::of(layout.drives.iter(), shards, m);
        prop_assert_eq!(chosen.len(), shards);
        let held = |f: &dyn Fn(&LayoutDrive) -> String| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for id in &chosen {
                *counts.entry(f(layout.drive(*id).unwrap())).or_default() += 1;
            }
            counts.into_values().max().unwrap_or(0)
        };
        prop_assert_eq!(held(&|d| d.id.to_string()), 1);
        prop_assert!(held(&|d| d.node.to_string()) <= limits.node);
        prop_assert!(held(&|d| d.zone.clone()) <= limits.zone);

        let gone = layout.drives[gone.index(layout.drives.len())].id;
        let left = layout.place(key(n), shards, m, |d| d.id != gone).unwrap();
        let rest = layout.drives.iter().filter(|d| d.id != gone);
        if Limits::of(rest, shards, m) == limits {
            let kept = chosen.iter().filter(|d| left.contains(d)).count();
            prop_assert_eq!(kept, shards - usize::from(chosen.contains(&gone)));
        }
    }
}
