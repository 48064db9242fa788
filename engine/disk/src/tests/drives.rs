//! Marks: which paths are used, and which are refused.

use super::new_drive;
use crate::drives::{Drive, EmptyPath, NewDrive, Opened, first_boot, open_drives, readmit};
use crate::mark::{DriveState, FEATURE_LEVEL, MARK_FILE, Mark, MarkDecodeError, MarkError};
use crate::{OpenError, Role, Root};
use engine_core::ports::DriveFiles;
use engine_types::{BootId, ClusterId, DriveId, DriveUuid, NodeId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const CLUSTER: ClusterId = ClusterId([5; 16]);

fn new(number: u8) -> NewDrive {
    NewDrive {
        uuid: DriveUuid([number; 16]),
        drive: DriveId(u32::from(number)),
        cluster: CLUSTER,
        node: NodeId(1),
    }
}

pub(super) fn mark() -> Mark {
    Mark {
        uuid: DriveUuid([1; 16]),
        drive: DriveId(1),
        cluster: CLUSTER,
        node: NodeId(1),
        feature_level: FEATURE_LEVEL,
        release: "datamesh 0.1.0".to_owned(),
        state: DriveState::InService,
        stale: false,
        boots: BTreeMap::from([
            (DriveUuid([1; 16]), BootId(3)),
            (DriveUuid([2; 16]), BootId(2)),
        ]),
        log_ends: BTreeMap::from([(DriveUuid([2; 16]), 70)]),
    }
}

/// Where no witness is.
fn nowhere() -> &'static Path {
    Path::new("/nowhere/witness")
}

/// A node of `count` drives, started once.
fn node(count: u8) -> (Vec<TempDir>, Vec<PathBuf>) {
    let dirs: Vec<_> = (0..count).map(|_| new_drive()).collect();
    let paths: Vec<PathBuf> = dirs.iter().map(|dir| dir.path().to_owned()).collect();
    let Opened::FirstStart { resumed, empty, .. } = open_drives(&paths, nowhere(), None) else {
        panic!("a first start")
    };
    assert_eq!(resumed, None);
    let formed = empty
        .into_iter()
        .zip(1..)
        .map(|(path, number)| path.form(new(number)));
    let formed: Vec<Drive> = formed.map(|drive| drive.expect("forms")).collect();
    let (boot, drives) = first_boot(formed);
    assert_eq!(boot, BootId(1));
    for drive in drives {
        let drive = drive.expect("boots");
        drive.set_state(DriveState::InService).expect("writes");
    }
    (dirs, paths)
}

fn started(
    paths: &[PathBuf],
    credentials: Option<ClusterId>,
) -> (BootId, Vec<Result<Drive, MarkError>>) {
    match open_drives(paths, nowhere(), credentials) {
        Opened::Started { boot, drives, .. } => (boot, drives),
        Opened::FirstStart { .. } => panic!("not a first start"),
    }
}

#[test]
fn a_newer_mark_is_told_from_a_damaged_one() {
    let mut newer = mark();
    newer.feature_level = FEATURE_LEVEL + 1;
    newer.release = "datamesh 9.9".to_owned();
    let bytes = newer.encode().expect("encodes");
    let expected = MarkDecodeError::Newer {
        release: "datamesh 9.9".to_owned(),
        level: FEATURE_LEVEL + 1,
    };
    assert_eq!(Mark::decode(&bytes, FEATURE_LEVEL), Err(expected));
    let drive = new_drive();
    std::fs::write(drive.path().join(MARK_FILE), &bytes).expect("writes");
    let (_, outcomes) = started(&[drive.path().to_owned()], None);
    let error = outcomes[0].as_ref().expect_err("refused").to_string();
    assert!(
        error.contains("datamesh 9.9") && error.contains("upgrade"),
        "{error}"
    );
}

#[test]
fn a_second_user_is_refused_until_the_first_lets_go() {
    let drive = new_drive();
    let first = Root::lock(drive.path()).expect("locks");
    let second = Root::lock(drive.path());
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
    let (_, outcomes) = started(&[drive.path().to_owned()], Some(CLUSTER));
    let error = outcomes[0].as_ref().expect_err("refused").to_string();
    assert!(error.contains("another datamesh process"), "{error}");
    drop(first);
    Root::lock(drive.path()).expect("free again");
}

#[test]
fn first_start_wants_every_path_empty_and_no_credentials() {
    let (a, b) = (new_drive(), new_drive());
    let paths = [a.path().to_owned(), b.path().to_owned()];
    std::fs::create_dir(a.path().join("lost+found")).expect("creates");
    assert!(matches!(
        open_drives(&paths, nowhere(), None),
        Opened::FirstStart { .. }
    ));
    let (_, outcomes) = started(&paths, Some(CLUSTER));
    for (outcome, path) in outcomes.iter().zip(&paths) {
        let error = outcome.as_ref().expect_err("refused").to_string();
        let command = format!("datamesh drive add {}", path.display());
        assert!(error.contains(&command), "{error}");
    }
    std::fs::write(b.path().join("holiday.jpg"), b"x").expect("writes");
    let (_, outcomes) = started(&paths, None);
    assert!(matches!(outcomes[0], Err(MarkError::Unmarked(_))));
    assert!(matches!(outcomes[1], Err(MarkError::NotEmpty(_))));
    for path in &paths {
        assert!(!path.join(MARK_FILE).exists(), "nothing was written");
    }
}

#[test]
fn a_first_start_that_was_cut_off_resumes() {
    let (a, b) = (new_drive(), new_drive());
    let paths = [a.path().to_owned(), b.path().to_owned()];
    EmptyPath::open(&paths[0])
        .expect("empty")
        .form(new(1))
        .expect("forms");
    // As a cut in the middle of writing a mark leaves it.
    std::fs::write(b.path().join("drive.json.aside"), b"{").expect("writes");
    let Opened::FirstStart {
        resumed,
        empty,
        forming,
    } = open_drives(&paths, nowhere(), None)
    else {
        panic!("resumes")
    };
    assert_eq!(resumed, Some(CLUSTER));
    assert_eq!((empty.len(), forming.len()), (1, 1));
}

#[test]
fn an_unmounted_path_is_refused_and_the_others_start() {
    let (_dirs, mut paths) = node(2);
    let unmounted = new_drive();
    paths.push(unmounted.path().to_owned());
    for credentials in [None, Some(CLUSTER)] {
        let (_, outcomes) = started(&paths, credentials);
        assert!(outcomes[0].is_ok() && outcomes[1].is_ok());
        assert!(matches!(outcomes[2], Err(MarkError::Unmarked(_))));
    }
}

#[test]
fn drives_of_other_clusters_and_nodes_are_refused() {
    let (_dirs, mut paths) = node(1);
    let (foreign, elsewhere) = (new_drive(), new_drive());
    let form = |path: &Path, new| {
        EmptyPath::open(path)
            .expect("empty")
            .form(new)
            .expect("forms")
    };
    let other = ClusterId([6; 16]);
    form(
        foreign.path(),
        NewDrive {
            cluster: other,
            ..new(8)
        },
    );
    form(
        elsewhere.path(),
        NewDrive {
            node: NodeId(2),
            ..new(9)
        },
    );
    paths.extend([foreign.path().to_owned(), elsewhere.path().to_owned()]);
    let (_, outcomes) = started(&paths, None);
    assert!(outcomes[0].is_ok());
    assert!(matches!(outcomes[1], Err(MarkError::ForeignCluster { .. })));
    assert!(matches!(outcomes[2], Err(MarkError::ForeignNode { .. })));
    // The credentials file says who we are, whatever comes first.
    drop(outcomes);
    let (_, outcomes) = started(&paths, Some(other));
    assert!(matches!(outcomes[0], Err(MarkError::ForeignCluster { .. })));
    assert!(outcomes[1].is_ok());
}

#[test]
fn each_start_has_a_higher_number_in_every_mark() {
    let (_dirs, paths) = node(3);
    for expected in 2..5 {
        let (boot, drives) = started(&paths, Some(CLUSTER));
        assert_eq!(boot, BootId(expected));
        for drive in drives {
            let mark = drive.expect("starts").mark();
            assert_eq!(mark.boots.len(), 3);
            assert!(mark.boots.values().all(|seen| *seen == boot), "{mark:?}");
            assert!(!mark.stale);
        }
    }
}

#[test]
fn a_drive_that_was_away_is_no_old_copy_but_a_restored_one_is() {
    let (dirs, paths) = node(2);
    let backup = std::fs::read(dirs[1].path().join(MARK_FILE)).expect("reads");
    // Away for two starts.
    started(&paths[..1], Some(CLUSTER));
    started(&paths[..1], Some(CLUSTER));
    let (_, drives) = started(&paths, Some(CLUSTER));
    let back = drives[1].as_ref().expect("starts").mark();
    assert!(!back.stale, "it was merely away");
    drop(drives);
    // Restored from before the last start.
    std::fs::write(dirs[1].path().join(MARK_FILE), backup).expect("writes");
    let (_, drives) = started(&paths, Some(CLUSTER));
    assert!(!drives[0].as_ref().expect("starts").mark().stale);
    assert!(drives[1].as_ref().expect("starts").mark().stale);
    drop(drives);
    // It stays one until its replicas have been made anew.
    let (_, drives) = started(&paths, Some(CLUSTER));
    let old = drives[1].as_ref().expect("starts");
    assert!(old.mark().stale);
    old.made_anew().expect("writes");
    drop(drives);
    let (_, drives) = started(&paths, Some(CLUSTER));
    assert!(!drives[1].as_ref().expect("starts").mark().stale);
}

#[test]
fn the_newest_state_of_a_drive_is_not_old_beside_a_copy_that_was_started() {
    let (dirs, paths) = node(2);
    let backup = std::fs::read(dirs[1].path().join(MARK_FILE)).expect("reads");
    started(&paths, Some(CLUSTER));
    let newest = std::fs::read(dirs[1].path().join(MARK_FILE)).expect("reads");
    std::fs::write(dirs[1].path().join(MARK_FILE), backup).expect("writes");
    let (_, drives) = started(&paths, Some(CLUSTER));
    assert!(drives[1].as_ref().expect("starts").mark().stale);
    drop(drives);
    std::fs::write(dirs[1].path().join(MARK_FILE), newest).expect("writes");
    let (_, drives) = started(&paths, Some(CLUSTER));
    assert!(!drives[1].as_ref().expect("starts").mark().stale);
}

#[test]
fn siblings_keep_how_far_a_log_was_durable() {
    let (_dirs, paths) = node(3);
    let uuid = |number: u8| DriveUuid([number; 16]);
    let (_, drives) = started(&paths, Some(CLUSTER));
    let drive = |at: usize| drives[at].as_ref().expect("starts");
    drive(0)
        .learn_log_ends(&[(uuid(3), 70)].into())
        .expect("writes");
    drive(1)
        .learn_log_ends(&[(uuid(3), 90), (uuid(1), 5)].into())
        .expect("writes");
    drop(drives);
    // Away for a start: the others still tell it when it comes back while they run.
    let (_, drives) = started(&paths[..2], Some(CLUSTER));
    let sibling = drives[0].as_ref().expect("starts").mark();
    assert_eq!(
        sibling.log_ends,
        BTreeMap::from([(uuid(1), 5), (uuid(3), 90)])
    );
    let back = readmit(&paths[2], Role::Drive, &sibling).expect("readmitted");
    assert_eq!(back.mark().log_ends.get(&uuid(3)), Some(&90));
    // It was found, and has gone on from less: that is what counts from now on.
    drives[0]
        .as_ref()
        .expect("starts")
        .learn_log_ends(&[(uuid(3), 12)].into())
        .expect("writes");
    let again = drives[0].as_ref().expect("starts").mark();
    assert_eq!(again.log_ends.get(&uuid(3)), Some(&12));
}

/// The power goes after each single write of the marks during a start: whatever had been written,
/// the next start sees no old copy.
#[test]
fn a_start_cut_between_two_marks_makes_no_old_copy() {
    let (dirs, paths) = node(3);
    let read = || {
        dirs.iter()
            .map(|dir| std::fs::read(dir.path().join(MARK_FILE)).expect("reads"))
    };
    let before: Vec<_> = read().collect();
    started(&paths, Some(CLUSTER));
    let after: Vec<_> = read().collect();
    // The marks between the rounds: own count raised, the others' not.
    let own: Vec<Vec<u8>> = before
        .iter()
        .map(|bytes| {
            let mut mark = Mark::decode(bytes, FEATURE_LEVEL).expect("decodes");
            let uuid = mark.uuid;
            mark.boots.insert(uuid, BootId(2));
            mark.encode().expect("encodes")
        })
        .collect();
    for step in 0..=6 {
        for (number, dir) in dirs.iter().enumerate() {
            let bytes = match (step > number, step > number + 3) {
                (_, true) => &after[number],
                (true, false) => &own[number],
                (false, false) => &before[number],
            };
            std::fs::write(dir.path().join(MARK_FILE), bytes).expect("writes");
        }
        let (_, drives) = started(&paths, Some(CLUSTER));
        for drive in drives {
            assert!(!drive.expect("starts").mark().stale, "step {step}");
        }
    }
}

#[test]
fn the_same_drive_twice_is_refused() {
    let (dirs, mut paths) = node(1);
    let copy = new_drive();
    std::fs::copy(dirs[0].path().join(MARK_FILE), copy.path().join(MARK_FILE)).expect("copies");
    paths.push(copy.path().to_owned());
    let (_, outcomes) = started(&paths, Some(CLUSTER));
    for outcome in outcomes {
        assert!(matches!(outcome, Err(MarkError::Twice { .. })));
    }
}

#[test]
fn a_damaged_mark_is_not_an_empty_path() {
    let (dirs, paths) = node(1);
    let path = dirs[0].path().join(MARK_FILE);
    let mut bytes = std::fs::read(&path).expect("reads");
    bytes[30] ^= 1;
    std::fs::write(&path, bytes).expect("writes");
    let (_, outcomes) = started(&paths, None);
    assert!(matches!(outcomes[0], Err(MarkError::Damaged { .. })));
    drop(outcomes);
    assert!(matches!(
        EmptyPath::open(&paths[0]),
        Err(MarkError::Damaged { .. })
    ));
}

#[test]
fn a_drive_that_is_emptied_or_replaced_is_noticed() {
    let (dirs, paths) = node(3);
    let (_, drives) = started(&paths, Some(CLUSTER));
    let drives: Vec<_> = drives
        .into_iter()
        .map(|drive| drive.expect("starts"))
        .collect();
    assert!(drives.iter().all(Drive::check_still_here));
    std::fs::remove_file(dirs[0].path().join(MARK_FILE)).expect("removes");
    let aside = new_drive();
    std::fs::rename(&paths[1], aside.path().join("moved")).expect("moves");
    std::fs::create_dir(&paths[1]).expect("another takes its place");
    assert!(!drives[0].check_still_here());
    assert!(!drives[1].check_still_here());
    assert!(drives[2].check_still_here());
    assert!(drives[0].files().failure().is_some());
    assert!(drives[1].files().write("x", b"x").is_err());
    assert!(drives[2].files().write("x", b"x").is_ok());
}

/// A library makes what its path lacks: where another disk is mounted now, say.
#[test]
fn no_directory_is_given_out_where_the_drive_was_taken_away() {
    let (_dirs, paths) = node(1);
    let (_, drives) = started(&paths, Some(CLUSTER));
    let drive = drives.into_iter().next().expect("one").expect("starts");
    assert_eq!(
        drive.files().directory("lib/x").expect("made"),
        paths[0].join("lib/x")
    );
    let aside = new_drive();
    std::fs::rename(&paths[0], aside.path().join("moved")).expect("moves");
    assert!(drive.files().directory("lib/y").is_err());
    assert!(drive.files().failure().is_some(), "out of service");
    assert!(!paths[0].exists());
}
