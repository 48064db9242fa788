//! Which files of the log stay, go, and come.

use super::common::{FakeDrive, until};
use super::log::{GROUP, append, entries, entry, open_with};
use super::log_copies::records;
use engine_core::ports::DriveFiles;
use engine_meta::log::record::{HEADER_BYTES, Kind};
use engine_meta::log::{COPY_BYTES_MAX, DriveLog, LogOptions};
use engine_meta::raft::types::{log_id, vote};
use engine_types::GroupId;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const BUSY: GroupId = GroupId(5);
const FIRST: &str = "log/0000000000000001.log";
const SECOND: &str = "log/0000000000000002.log";

const SMALL: LogOptions = LogOptions {
    boot: 0,
    file_bytes_max: 16 << 10,
    files_max: 2,
    copy_bytes_max: COPY_BYTES_MAX,
};

fn has(drive: &FakeDrive, name: &str) -> bool {
    drive.logs().contains(&name.to_owned())
}

async fn close(log: DriveLog) {
    let closing = tokio::task::spawn_blocking(move || log.close());
    closing.await.expect("closed");
}

/// Writes and purges in [`BUSY`] until so many more files were begun.
async fn roll(log: &DriveLog, drive: &FakeDrive, more: u64) {
    let newest = || drive.logs().pop().expect("a log");
    let mut busy = log.group(BUSY);
    let mut index = busy.bounds().1.map_or(0, |id| id.index() + 1);
    for _ in 0..more {
        let before = newest();
        while newest() == before {
            append(&mut busy, vec![entry(1, index, 4 << 10)]).await;
            busy.purge(log_id(1, index)).await.expect("purged");
            index += 1;
        }
    }
}

/// A cut brings back what a purge or a truncation dropped, until its record is synced.
#[tokio::test(flavor = "multi_thread")]
async fn files_stay_until_what_was_dropped_is_durably_gone() {
    for truncates in [false, true] {
        let drive = FakeDrive::new(1);
        let log = open_with(&drive, SMALL);
        let mut group = log.group(GROUP);
        for index in 0..20 {
            append(&mut group, vec![entry(1, index, 4 << 10)]).await;
            if index == 11 {
                group.purge(log_id(1, 1)).await.expect("purged");
                group.save_vote(&vote(9, 1, true)).await.expect("saved");
            }
        }
        drive.cuts_at_removals();
        drive.hold_syncs(true);
        let filling = vec![entry(1, 20, 32 << 10)];
        group
            .append(filling, IOFlushed::noop())
            .await
            .expect("taken");
        until("a sync", PATIENCE, || drive.sync_stands()).await;
        if truncates {
            let last = Some(log_id(1, 1));
            group.truncate_after(last).await.expect("taken");
        } else {
            group.purge(log_id(1, 15)).await.expect("taken");
        }
        drive.hold_syncs(false);
        let next = if truncates { 2 } else { 21 };
        append(&mut group, vec![entry(2, next, 8)]).await;
        roll(&log, &drive, 4).await;
        assert!(!has(&drive, FIRST), "it goes once that is durable");
        for cut in drive.cuts_at_removals() {
            let log = open_with(&cut, SMALL);
            assert!(log.damaged().is_empty(), "{:?}", log.damaged());
            let (purged, last) = log.group(GROUP).bounds();
            let purged = purged.map_or(0, |purged| purged.index());
            let last = last.map_or(0, |last| last.index());
            assert!(purged == 1 || purged == 15, "{purged}");
            assert!([1, 2, 20, 21].contains(&last), "{last}");
        }
    }
}

/// A file that the process lacked a handle for.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_could_not_be_begun_leaves_no_damage() {
    let options = LogOptions {
        files_max: 6,
        ..SMALL
    };
    let drive = FakeDrive::new(1);
    let log = open_with(&drive, options);
    let mut group = log.group(GROUP);
    drive.starve(true);
    for index in 0..10 {
        append(&mut group, vec![entry(1, index, 4 << 10)]).await;
    }
    assert_eq!(drive.logs(), [FIRST], "it does not stay behind");
    assert!(drive.length(FIRST) > 2 * (16 << 10), "the log went on");
    let cut = || {
        let cut = drive.after_cut(0, false);
        // Its removal was not durable.
        drop(cut.open_log(SECOND).expect("made"));
        assert!(has(&cut, SECOND) && cut.length(SECOND) == 0);
        cut
    };

    let killed = cut();
    assert!(killed.room(FIRST) > 0, "as a kill leaves it");
    let log = open_with(&killed, options);
    assert!(log.damaged().is_empty(), "{:?}", log.damaged());
    assert_eq!(killed.logs(), [FIRST]);
    assert_eq!(killed.room(FIRST), 0);
    roll(&log, &killed, 2).await;
    drop(log);
    let log = open_with(&killed, options);
    assert!(log.damaged().is_empty(), "{:?}", log.damaged());
    assert_eq!(entries(&mut log.group(GROUP)).await.len(), 10);

    let rotten = cut();
    rotten.edit(FIRST, |bytes| {
        let last = bytes.len() - 100;
        bytes[last] ^= 1;
    });
    let damaged = open_with(&rotten, options).damaged();
    assert!(damaged.contains_key(&GROUP), "more than room is damage");

    drive.starve(false);
    append(&mut group, vec![entry(1, 10, 8)]).await;
    assert!(has(&drive, SECOND), "rolled with the next batch");
}

/// The place is known, the file is copied forward and goes, and only then the entry is read.
#[test]
fn an_entry_is_read_though_its_file_goes_meanwhile() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let drive = FakeDrive::new(1);
        let log = open_with(&drive, SMALL);
        let mut group = log.group(GROUP);
        for index in 0..12 {
            append(&mut group, vec![entry(1, index, 128 << 10)]).await;
        }
        let (go, waits) = std::sync::mpsc::sync_channel::<()>(1);
        let standing = tokio::task::spawn_blocking(move || waits.recv());
        let mut reader = group.clone();
        let mut reading = Box::pin(reader.try_get_log_entries(0..1));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(reading.as_mut().poll(context).is_pending())
        });
        assert!(polled.await, "it is not in the cache");
        roll(&log, &drive, 3).await;
        assert!(!has(&drive, FIRST));
        go.send(()).expect("heard");
        let read = reading.await.expect("read");
        assert_eq!(read, vec![entry(1, 0, 128 << 10)]);
        standing.await.expect("ended").expect("heard");
    });
}

/// It may have been stopped in vain, and another may have begun under the same group since.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_destroyed_writes_nothing_any_more() {
    let drive = FakeDrive::new(1);
    let log = open_with(&drive, SMALL);
    let mut old = log.group(GROUP);
    append(&mut old, (0..3).map(|index| entry(1, index, 8)).collect()).await;
    log.destroy(GROUP).await.expect("destroyed");
    let mut new = log.group(GROUP);
    assert_eq!(new.bounds(), (None, None));
    new.save_vote(&vote(4, 7, false)).await.expect("saved");
    new.purge(log_id(1, 2)).await.expect("purged");

    assert!(old.save_vote(&vote(9, 1, true)).await.is_err());
    let late = old.append(vec![entry(1, 3, 8)], IOFlushed::noop());
    late.await.expect("taken");
    assert!(old.wait_durable(3).await.is_err());
    old.purge(log_id(1, 3)).await.expect("taken");
    append(&mut new, vec![entry(2, 3, 8)]).await;

    log.destroy(GroupId(77))
        .await
        .expect("of which nothing is known");
    for drive in [drive.after_cut(0, false), Arc::clone(&drive)] {
        let log = open_with(&drive, SMALL);
        assert!(log.damaged().is_empty(), "{:?}", log.damaged());
        let mut group = log.group(GROUP);
        let found = group.read_vote().await.expect("read");
        assert_eq!(found, Some(vote(4, 7, false)));
        assert_eq!(group.bounds(), (Some(log_id(1, 2)), Some(log_id(2, 3))));
        assert_eq!(entries(&mut group).await, vec![entry(2, 3, 8)]);
    }
}

/// What tells that a group lost something must not be copied over, and not go with old files.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_group_stays_so_until_it_is_destroyed() {
    const QUIET: GroupId = GroupId(8);
    let drive = FakeDrive::new(1);
    let log = open_with(&drive, SMALL);
    let mut hit = log.group(GROUP);
    append(&mut hit, vec![entry(1, 0, 8)]).await;
    hit.save_vote(&vote(3, 1, false)).await.expect("saved");
    append(&mut hit, vec![entry(1, 1, 8)]).await;
    // All that is known of it lies in one record.
    let mut quiet = log.group(QUIET);
    quiet.save_vote(&vote(3, 1, false)).await.expect("saved");
    append(&mut log.group(BUSY), vec![entry(1, 0, 8)]).await;
    close(log).await;
    drive.edit(FIRST, |bytes| {
        for group in [GROUP, QUIET] {
            let at = records(bytes, group, Kind::Vote)[0];
            bytes[at + HEADER_BYTES] ^= 1;
        }
    });

    for start in 1..=2 {
        let log = open_with(&drive, SMALL);
        assert!(log.damage_of(GROUP).is_some(), "start {start}");
        assert!(log.damage_of(QUIET).is_some(), "start {start}");
        assert_eq!(log.damage_of(BUSY), None);
        roll(&log, &drive, 8).await;
        close(log).await;
    }
    let log = open_with(&drive, SMALL);
    for group in [GROUP, QUIET] {
        assert!(log.damage_of(group).is_some());
        log.destroy(group).await.expect("destroyed");
        assert_eq!(log.damage_of(group), None);
        let mut anew = log.group(group);
        anew.save_vote(&vote(5, 2, false)).await.expect("saved");
    }
    roll(&log, &drive, 8).await;
    assert!(!has(&drive, FIRST), "nothing needs it any more");
    close(log).await;
    let log = open_with(&drive, SMALL);
    for group in [GROUP, QUIET] {
        assert_eq!(log.damage_of(group), None);
        let found = log.group(group).read_vote().await.expect("read");
        assert_eq!(found, Some(vote(5, 2, false)));
    }
}
