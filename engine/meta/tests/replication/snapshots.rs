//! What the purged log rests on.

use engine_core::ports::DriveFiles;
use engine_meta::snapshot::{Applied, newest, write};
use engine_sim::FakeDrive;
use engine_types::{DriveId, DriveUuid, GroupId, Stamp};
use std::sync::Arc;

#[test]
fn a_snapshot_that_was_named_outlives_a_power_cut() {
    let drive = FakeDrive::new(DriveId(1), DriveUuid([1; 16]));
    let files: Arc<dyn DriveFiles> = Arc::new(drive.clone());
    let applied = Applied {
        stamp: Stamp(5),
        ..Applied::default()
    };
    let rows = (0..100_u8).map(|n| Ok((vec![n], vec![n; 1000])));
    write(&files, GroupId(3), &applied, rows).expect("written");
    drive.power_cut();
    let found = newest(&files, GroupId(3)).expect("readable");
    assert_eq!(found.expect("whole").applied, applied);
}
