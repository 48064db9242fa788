//! Groups copied forward in the drive's log, so that old files can go.

use super::common::FakeDrive;
use super::log::{GROUP, append, entries, entry, open_with};
use engine_meta::log::LogOptions;
use engine_meta::log::record::{ALIGN, HEADER_BYTES, Kind, MAGIC};
use engine_meta::raft::types::{log_id, vote};
use engine_types::GroupId;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use std::sync::Arc;

const SMALL: LogOptions = LogOptions {
    boot: 0,
    file_bytes_max: 16 << 10,
    files_max: 2,
};

/// An idle group whose entries were copied forward behind a busy one's.
async fn copied() -> Arc<FakeDrive> {
    let drive = FakeDrive::new(1);
    let log = open_with(&drive, SMALL);
    let (mut idle, mut busy) = (log.group(GROUP), log.group(GroupId(5)));
    idle.save_vote(&vote(6, 2, true)).await.expect("saved");
    append(&mut idle, (0..5).map(|index| entry(1, index, 32)).collect()).await;
    idle.purge(log_id(1, 1)).await.expect("purged");
    for index in 0..200 {
        append(&mut busy, vec![entry(1, index, 1000)]).await;
        if index > 20 {
            busy.purge(log_id(1, index - 20)).await.expect("purged");
        }
    }
    drive
}

fn logs(drive: &FakeDrive) -> Vec<String> {
    let names = drive.names();
    names
        .into_iter()
        .filter(|name| name.starts_with("log/"))
        .collect()
}

/// Where the records of `kind` of a group begin.
pub(super) fn records(bytes: &[u8], group: GroupId, kind: Kind) -> Vec<usize> {
    let is = |at: &usize| {
        let head = &bytes[*at..*at + HEADER_BYTES];
        head.starts_with(&MAGIC.to_le_bytes())
            && head[40..44] == group.0.to_le_bytes()
            && head[44] == kind as u8
    };
    (0..bytes.len() - HEADER_BYTES)
        .step_by(ALIGN)
        .filter(is)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_groups_are_copied_forward_and_old_files_go() {
    let drive = copied().await;
    assert!(logs(&drive).len() <= 4, "{:?}", logs(&drive));
    assert!(!logs(&drive).contains(&"log/0000000000000001.log".to_owned()));
    for cut in [drive.after_cut(0, false), drive.after_cut(10_000, false)] {
        let log = open_with(&cut, SMALL);
        assert!(log.damaged().is_empty(), "{:?}", log.damaged());
        let mut idle = log.group(GROUP);
        assert_eq!(
            idle.read_vote().await.expect("read"),
            Some(vote(6, 2, true))
        );
        assert_eq!(idle.bounds(), (Some(log_id(1, 1)), Some(log_id(1, 4))));
        assert_eq!(entries(&mut idle).await.len(), 3);
        assert_eq!(log.group(GroupId(5)).bounds().1, Some(log_id(1, 199)));
    }
}

/// An entry missing from the middle of a copy is missing from the group, whole as the copy's end is.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_a_damaged_entry_is_damage() {
    let drive = copied().await;
    let mut hits = 0;
    for name in logs(&drive) {
        for at in records(&drive.bytes(&name), GROUP, Kind::CopyEntry) {
            let cut = drive.after_cut(0, false);
            cut.edit(&name, |bytes| bytes[at + HEADER_BYTES + 20] ^= 1);
            let damaged = open_with(&cut, SMALL).damaged();
            assert!(damaged.contains_key(&GROUP), "{name} {at}: {damaged:?}");
            hits += 1;
        }
    }
    assert!(hits >= 3, "{hits} copied entries found");
}

/// A snapshot writes all that its group holds: one for every file would be many times the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_too_large_to_copy_is_asked_for_a_snapshot_every_few_files() {
    // The setting's own: docs/OPERATIONS.md names it.
    const FILES_MAX: u64 = 6;
    const FILES: u64 = 30;
    let drive = FakeDrive::new(1);
    let options = LogOptions {
        file_bytes_max: 1 << 20,
        ..LogOptions::default()
    };
    let log = open_with(&drive, options);
    let mut asked = Vec::new();
    for index in 0..FILES {
        append(&mut log.group(GROUP), vec![entry(1, index, 2 << 20)]).await;
        if log.take_pressure().contains(&GROUP) {
            asked.push(index);
        }
    }
    assert_eq!(asked.first(), Some(&FILES_MAX), "{asked:?}");
    let steps = asked.windows(2).map(|two| two[1] - two[0]);
    assert!(
        steps.clone().all(|files| files == FILES_MAX / 2),
        "{asked:?}"
    );
    assert!(steps.count() > 5);
}
