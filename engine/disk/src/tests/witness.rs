//! The witness's directory: told from drives, and judged with them.

use super::new_drive;
use crate::Role;
use crate::drives::{Drive, EmptyPath, NewDrive, Opened, first_boot, open_drives, readmit};
use crate::mark::{DriveState, MarkError};
use engine_types::{BootId, ClusterId, DriveId, DriveUuid, NodeId};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const CLUSTER: ClusterId = ClusterId([5; 16]);

fn new(number: u8) -> NewDrive {
    NewDrive {
        uuid: DriveUuid([number + 100; 16]),
        drive: DriveId(u32::from(number)),
        cluster: CLUSTER,
        node: NodeId(1),
    }
}

/// Two drives and a witness, started once.
struct Node {
    _folder: TempDir,
    drives: Vec<PathBuf>,
    witness: PathBuf,
}

fn node() -> Node {
    let folder = new_drive();
    let at = |name: &str| folder.path().join(name);
    let (drives, witness) = (vec![at("1"), at("2")], at("witness"));
    for path in drives.iter().chain([&witness]) {
        std::fs::create_dir(path).unwrap();
    }
    let Opened::FirstStart { empty, forming, .. } = open_drives(&drives, &witness, None) else {
        panic!("a first start")
    };
    assert!(
        forming.is_empty() && empty.len() == 2,
        "only drives are asked for"
    );
    let mut formed: Vec<Drive> = empty
        .into_iter()
        .zip(1..)
        .map(|(path, number)| path.form(new(number)).unwrap())
        .collect();
    formed.push(EmptyPath::open(&witness).unwrap().form(new(0)).unwrap());
    let (boot, drives_open) = first_boot(formed);
    assert_eq!(boot, BootId(1));
    for drive in drives_open {
        drive.unwrap().set_state(DriveState::InService).unwrap();
    }
    Node {
        _folder: folder,
        drives,
        witness,
    }
}

/// A drive or witness that was tried to open.
type Tried = Result<Drive, MarkError>;

impl Node {
    fn start(&self) -> (Vec<Tried>, Option<Tried>) {
        match open_drives(&self.drives, &self.witness, Some(CLUSTER)) {
            Opened::Started {
                drives, witness, ..
            } => (drives, witness),
            Opened::FirstStart { .. } => panic!("not a first start"),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let _absent = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn drives_tell_an_older_witness_and_the_witness_an_older_drive() {
    let node = node();
    let aside = node.witness.with_file_name("aside");
    for (kept, at) in [(&node.witness, 2), (&node.drives[0], 0)] {
        copy(kept, &aside);
        let (drives, witness) = node.start();
        assert!(
            drives
                .iter()
                .all(|drive| !drive.as_ref().unwrap().mark().stale)
        );
        assert!(!witness.as_ref().unwrap().as_ref().unwrap().mark().stale);
        drop((drives, witness));
        copy(&aside, kept);
        // The second drive is lost: what is left must know.
        let (drives, witness) = open_beside_loss(&node);
        let stale = [drives[0].mark().stale, false, witness.mark().stale];
        assert!(
            stale[at] && stale.iter().filter(|stale| **stale).count() == 1,
            "{stale:?}"
        );
        drives[0].made_anew().unwrap();
        witness.made_anew().unwrap();
    }
}

/// A start without the second drive.
fn open_beside_loss(node: &Node) -> (Vec<Drive>, Drive) {
    match open_drives(&node.drives[..1], &node.witness, Some(CLUSTER)) {
        Opened::Started {
            drives, witness, ..
        } => {
            let drives = drives.into_iter().map(Result::unwrap).collect();
            (drives, witness.unwrap().unwrap())
        }
        Opened::FirstStart { .. } => panic!("not a first start"),
    }
}

#[test]
fn a_witness_made_while_the_node_runs_knows_of_older_drives_at_once() {
    let node = node();
    let aside = node.witness.with_file_name("aside");
    copy(&node.drives[0], &aside);
    let (drives, witness) = node.start();
    drop(witness);
    std::fs::remove_dir_all(&node.witness).unwrap();
    std::fs::create_dir(&node.witness).unwrap();
    let sibling = drives[1].as_ref().unwrap().mark();
    let made = EmptyPath::open(&node.witness)
        .unwrap()
        .join(new(0), &sibling)
        .unwrap();
    assert_eq!(made.mark().boot(), BootId(2));
    drop((made, drives));
    copy(&aside, &node.drives[0]);
    let (drives, witness) = open_beside_loss(&node);
    assert!(drives[0].mark().stale && !witness.mark().stale);
}

#[test]
fn a_witness_is_no_drive_and_a_drive_no_witness() {
    let node = node();
    let swapped = [node.drives[0].clone(), node.witness.clone()];
    let Opened::Started {
        drives, witness, ..
    } = open_drives(&swapped, &node.drives[1], Some(CLUSTER))
    else {
        panic!("not a first start")
    };
    assert!(drives[0].is_ok());
    assert!(
        matches!(drives[1], Err(MarkError::IsWitness(_))),
        "{drives:?}"
    );
    assert!(
        matches!(witness, Some(Err(MarkError::IsDrive(_)))),
        "{witness:?}"
    );
    let sibling = drives[0].as_ref().unwrap().mark();
    let as_drive = readmit(&node.witness, Role::Drive, &sibling);
    assert!(
        matches!(as_drive, Err(MarkError::IsWitness(_))),
        "{as_drive:?}"
    );
    readmit(&node.witness, Role::Witness, &sibling).unwrap();
}

#[test]
fn an_absent_witness_is_nothing_and_what_is_none_holds_up_no_drive() {
    let node = node();
    std::fs::remove_dir_all(&node.witness).unwrap();
    assert!(node.start().1.is_none(), "absent");
    std::fs::create_dir(&node.witness).unwrap();
    assert!(node.start().1.is_none(), "empty");
    std::fs::write(node.witness.join("notes"), b"x").unwrap();
    let (drives, witness) = node.start();
    assert!(drives.iter().all(Result::is_ok));
    assert!(
        matches!(witness, Some(Err(MarkError::NotEmpty(_)))),
        "{witness:?}"
    );
    drop(drives);
    // Files where the witness would be keep no store from being made that needs none.
    let (a, b) = (new_drive(), new_drive());
    let paths = [a.path().to_owned(), b.path().to_owned()];
    let first = open_drives(&paths, &node.witness, None);
    assert!(matches!(first, Opened::FirstStart { .. }));
}

#[test]
fn a_witness_left_over_keeps_empty_drives_from_founding_another_cluster() {
    let node = node();
    for path in &node.drives {
        std::fs::remove_dir_all(path).unwrap();
        std::fs::create_dir(path).unwrap();
    }
    let Opened::Started {
        drives, witness, ..
    } = open_drives(&node.drives, &node.witness, None)
    else {
        panic!("not a first start")
    };
    assert!(
        drives
            .iter()
            .all(|drive| matches!(drive, Err(MarkError::Unmarked(_))))
    );
    assert_eq!(witness.unwrap().unwrap().mark().cluster, CLUSTER);
}
