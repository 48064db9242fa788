//! Groups copied forward in the drive's log, so that old files can go.

use super::common::{FakeDrive, until};
use super::log::{GROUP, append, entries, entry, open_with};
use engine_core::ports::DriveFiles;
use engine_meta::log::record::{ALIGN, HEADER_BYTES, Kind, MAGIC, parse, salt_of};
use engine_meta::log::{COPY_BYTES_MAX, DriveLog, GroupLog, LogOptions};
use engine_meta::raft::types::{log_id, vote};
use engine_types::GroupId;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use std::sync::Arc;
use std::time::Duration;

const SMALL: LogOptions = LogOptions {
    boot: 0,
    file_bytes_max: 16 << 10,
    files_max: 2,
    copy_bytes_max: COPY_BYTES_MAX,
};

/// … in which every group is too large to be copied.
const UNCOPIED: LogOptions = LogOptions {
    copy_bytes_max: 0,
    ..SMALL
};

/// An idle group before a busy one that purges what it wrote.
async fn written(drive: &Arc<FakeDrive>, options: LogOptions) -> DriveLog {
    let log = open_with(drive, options);
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
    log
}

/// … and was copied forward behind it.
async fn copied() -> Arc<FakeDrive> {
    let drive = FakeDrive::new(1);
    written(&drive, SMALL).await;
    drive
}

const FIRST: &str = "log/0000000000000001.log";

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
    for options in [SMALL, UNCOPIED] {
        let drive = FakeDrive::new(1);
        let log = written(&drive, options).await;
        let pressed = log.take_pressure().contains(&GROUP);
        let old = drive.logs().contains(&FIRST.to_owned());
        let copies = options.copy_bytes_max > 0;
        assert_eq!((pressed, old), (!copies, !copies), "{:?}", drive.logs());
        assert!(!copies || drive.logs().len() <= 4, "{:?}", drive.logs());
        for cut in [drive.after_cut(0, false), drive.after_cut(10_000, false)] {
            let log = open_with(&cut, options);
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
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_up_to_the_limit_are_copied_and_larger_ones_asked_for_a_snapshot() {
    assert_eq!(LogOptions::default().copy_bytes_max, COPY_BYTES_MAX);
    let live = written(&FakeDrive::new(1), SMALL).await;
    let live = live.group(GROUP).live_bytes();
    for (copy_bytes_max, copies) in [(live, true), (live - 1, false)] {
        let options = LogOptions {
            copy_bytes_max,
            ..SMALL
        };
        let drive = FakeDrive::new(1);
        let log = written(&drive, options).await;
        assert_eq!(log.take_pressure().contains(&GROUP), !copies);
        assert_eq!(drive.logs().contains(&FIRST.to_owned()), !copies);
    }
}

/// Opened after a cut and after a clean end, a group is what it is now.
async fn reopens_as(log: DriveLog, drive: &Arc<FakeDrive>, options: LogOptions) {
    let mut group = log.group(GROUP);
    let due = (
        group.bounds(),
        group.read_vote().await.expect("read"),
        entries(&mut group).await,
    );
    let cut = drive.after_cut(0, false);
    drop(group);
    let closing = tokio::task::spawn_blocking(move || log.close());
    closing.await.expect("closed");
    for drive in [&cut, drive] {
        let log = open_with(drive, options);
        assert!(log.damaged().is_empty(), "{:?}", log.damaged());
        let mut group = log.group(GROUP);
        assert_eq!(group.bounds(), due.0);
        assert_eq!(group.read_vote().await.expect("read"), due.1);
        assert_eq!(entries(&mut group).await, due.2);
    }
}

/// As snapshots let it: one for every `every` entries, and the log purged below the older of two.
async fn append_as_snapshots_let(group: &mut GroupLog, index: u64, every: u64) {
    append(group, vec![entry(1, index, 1000)]).await;
    if index.is_multiple_of(every) && index >= 2 * every {
        let upto = log_id(1, index - 2 * every);
        group.purge(upto).await.expect("purged");
        // Behind it: it is durable.
        group.save_committed(Some(upto)).await.expect("taken");
    }
}

/// The oldest file begins with entries, and holds purges of what went with the files before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_too_large_to_copy_reopens_at_any_time() {
    for every in [11, 13, 16, 23] {
        let drive = FakeDrive::new(1);
        let mut log = open_with(&drive, UNCOPIED);
        log.group(GROUP)
            .save_vote(&vote(6, 2, true))
            .await
            .expect("saved");
        for index in 0..300 {
            append_as_snapshots_let(&mut log.group(GROUP), index, every).await;
            if index % 7 == 0 {
                // Behind the purge, and in no file's way.
                let mut other = log.group(GroupId(5));
                let ballot = vote(index, 1, true);
                other.save_vote(&ballot).await.expect("saved");
                reopens_as(log, &drive, UNCOPIED).await;
                log = open_with(&drive, UNCOPIED);
            }
        }
        assert!(!drive.logs().contains(&FIRST.to_owned()));
    }
}

/// An election is years ago, perhaps; what was written since must not stay for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_keeps_no_old_file() {
    let options = LogOptions {
        files_max: 6,
        ..UNCOPIED
    };
    let drive = FakeDrive::new(1);
    let log = open_with(&drive, options);
    let mut group = log.group(GROUP);
    group.save_vote(&vote(6, 2, true)).await.expect("saved");
    for index in 0..600 {
        append_as_snapshots_let(&mut group, index, 20).await;
        let files = drive.logs().len();
        assert!(files <= options.files_max * 3 / 2, "{files} at {index}");
    }
    assert_eq!(group.bounds().0, Some(log_id(1, 540)));
    drop(group);
    reopens_as(log, &drive, options).await;
}

/// The hint is ahead of the entries that wait behind the copy: a cut between them must not find it so.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_says_nothing_committed_that_it_does_not_hold() {
    let drive = FakeDrive::new(1);
    let log = open_with(&drive, SMALL);
    let mut group = log.group(GROUP);
    group.save_vote(&vote(9, 1, true)).await.expect("saved");
    for index in 0..9 {
        append(&mut group, vec![entry(1, index, 4 << 10)]).await;
    }
    drive.cuts_at_removals();
    drive.hold_syncs(true);
    let filling = vec![entry(1, 9, 32 << 10)];
    group
        .append(filling, IOFlushed::noop())
        .await
        .expect("taken");
    until("a sync", Duration::from_secs(20), || drive.sync_stands()).await;
    let queued = vec![entry(1, 10, 8)];
    group
        .append(queued, IOFlushed::noop())
        .await
        .expect("taken");
    let committed = Some(log_id(1, 10));
    group.save_committed(committed).await.expect("taken");
    drive.hold_syncs(false);
    group.wait_durable(10).await.expect("durable");
    let mut copies = 0;
    for cut in drive.cuts_at_removals() {
        for name in cut.logs() {
            let bytes = cut.bytes(&name);
            for at in records(&bytes, GROUP, Kind::CopyBegin) {
                let record = parse(&bytes[at..], salt_of(cut.uuid())).expect("whole");
                let hint = record.payload.last_chunk().expect("a log id");
                assert_eq!(u64::from_le_bytes(*hint), 9, "the last that was written");
                copies += 1;
            }
        }
        let mut group = open_with(&cut, SMALL).group(GROUP);
        let committed = group.read_committed().await.expect("read");
        assert!(committed <= group.bounds().1, "{committed:?}");
    }
    assert!(copies > 0);
}

/// An entry missing from the middle of a copy is missing from the group, whole as the copy's end is.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_a_damaged_entry_is_damage() {
    let drive = copied().await;
    let mut hits = 0;
    for name in drive.logs() {
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
