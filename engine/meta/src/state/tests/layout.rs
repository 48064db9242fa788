//! The layout: numbers of drives, and how they come and go.

use super::control::{ask, change, control};
use super::refused;
use crate::state::control::OPEN_DRIVE_NUMBERS_MAX;
use crate::testing::Partition;
use engine_core::meta::{Answer, ControlChange, ControlQuery, ControlReply, Refusal};
use engine_core::placement::{DriveState, LayoutChange, LayoutDrive, LayoutRefusal};
use engine_types::{DriveId, DriveUuid, NodeId};

fn drive(id: DriveId) -> LayoutDrive {
    LayoutDrive {
        id,
        uuid: DriveUuid(u128::from(id.0).to_be_bytes()),
        node: NodeId(1),
        zone: "z".into(),
        size_bytes: 1,
        state: DriveState::Active,
    }
}

#[test]
fn the_layout_changes_by_compare_and_set() {
    let mut p = control();
    let Answer::Drive(number) = change(&mut p, ControlChange::AllotDrive) else {
        panic!()
    };
    let add = |version| ControlChange::ChangeLayout {
        version,
        change: Box::new(LayoutChange::Add(drive(number))),
    };
    for version in [0, 2, 3] {
        assert_eq!(
            change(&mut p, add(version)),
            refused(Refusal::Changed),
            "{version}"
        );
    }
    assert_eq!(change(&mut p, add(1)), Answer::Done);
    let ControlReply::Layout(Some(now)) = ask(&p, ControlQuery::Layout) else {
        panic!()
    };
    assert_eq!(now.version, 2);
}

#[test]
fn a_drives_number_is_used_once_and_a_drive_leaves_in_two_steps() {
    let mut p = control();
    let mut version = 1;
    let allot = |p: &mut Partition| match change(p, ControlChange::AllotDrive) {
        Answer::Drive(number) => number,
        other => panic!("{other:?}"),
    };
    let (one, two) = (allot(&mut p), allot(&mut p));
    assert_ne!(one, two);
    let mut step = |p: &mut Partition, to: LayoutChange| {
        let answer = change(
            p,
            ControlChange::ChangeLayout {
                version,
                change: Box::new(to),
            },
        );
        version += u64::from(answer == Answer::Done);
        answer
    };
    let refused = |why| refused(Refusal::Layout(why));
    let unknown = step(&mut p, LayoutChange::Add(drive(DriveId(9))));
    assert_eq!(unknown, refused(LayoutRefusal::Taken), "not given out");
    assert_eq!(step(&mut p, LayoutChange::Add(drive(one))), Answer::Done);
    let drop_it = step(&mut p, LayoutChange::Drop(one));
    assert_eq!(drop_it, refused(LayoutRefusal::State), "it serves");
    let replace = LayoutChange::Replace {
        old: one,
        gone: true,
        new: drive(two),
    };
    assert_eq!(step(&mut p, replace), Answer::Done);
    let back = LayoutChange::SetState {
        drive: one,
        state: DriveState::Active,
    };
    assert_eq!(step(&mut p, back), refused(LayoutRefusal::State), "gone");
    assert_eq!(step(&mut p, LayoutChange::Drop(one)), Answer::Done);
    let again = step(&mut p, LayoutChange::Add(drive(one)));
    assert_eq!(again, refused(LayoutRefusal::Taken), "never reused");
    let ControlReply::Layout(Some(now)) = ask(&p, ControlQuery::Layout) else {
        panic!()
    };
    let named: Vec<DriveId> = now.drives.iter().map(|row| row.id).collect();
    assert_eq!(named, [two]);
}

#[test]
fn drive_numbers_not_used_are_kept_up_to_the_limit() {
    let mut p = control();
    let mut given = Vec::new();
    for _ in 0..=OPEN_DRIVE_NUMBERS_MAX {
        let Answer::Drive(number) = change(&mut p, ControlChange::AllotDrive) else {
            panic!()
        };
        given.push(number);
    }
    let add = |id| ControlChange::ChangeLayout {
        version: 1,
        change: Box::new(LayoutChange::Add(drive(id))),
    };
    let void = change(&mut p, add(given[0]));
    assert_eq!(void, refused(Refusal::Layout(LayoutRefusal::Taken)));
    assert_eq!(change(&mut p, add(given[1])), Answer::Done);
}
