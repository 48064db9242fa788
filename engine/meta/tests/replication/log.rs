//! The drive's log: openraft's own suite, and what it must survive.

use super::common::FakeDrive;
use engine_core::ports::DriveFiles;
use engine_meta::fjall_rows::{TableOptions, Tables};
use engine_meta::log::{DriveLog, GroupLog, LogOptions, ROOM_BYTES};
use engine_meta::raft::types::{Entry, Proposal, Types, log_id, vote};
use engine_meta::replica::{
    DriveParts, Identity, Lane, ReplicaCore, ReplicaMachine, SnapshotTurns,
};
use engine_types::GroupId;
use openraft::EntryPayload;
use openraft::StorageError;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;

pub(crate) const GROUP: GroupId = GroupId(3);

struct Builder;

impl StoreBuilder<Types, GroupLog, ReplicaMachine, Arc<FakeDrive>> for Builder {
    async fn build(
        &self,
    ) -> Result<(Arc<FakeDrive>, GroupLog, ReplicaMachine), StorageError<Types>> {
        let drive = FakeDrive::new(1);
        let core = core_on(&drive);
        Ok((drive, core.log.clone(), ReplicaMachine::new(core)))
    }
}

/// A replica of [`GROUP`] over the drive.
pub(super) fn core_on(drive: &Arc<FakeDrive>) -> Arc<ReplicaCore> {
    let files: Arc<dyn DriveFiles> = Arc::clone(drive) as _;
    let log = Arc::new(DriveLog::open(Arc::clone(&files), LogOptions::default()).expect("opens"));
    let tables = Arc::new(Tables::open(files.as_ref(), TableOptions::default()).expect("opens"));
    let identity = Identity {
        id: 0,
        generation: 1,
    };
    identity.write(files.as_ref(), GROUP).expect("written");
    let parts = DriveParts {
        files,
        log,
        tables,
        lane: Lane::start().expect("starts"),
        turns: SnapshotTurns::default(),
        machine: Arc::new(SuiteMachine),
    };
    ReplicaCore::open(parts, GROUP, false).expect("opens")
}

#[derive(Debug)]
struct SuiteMachine;
impl engine_meta::raft::machine::Machine for SuiteMachine {
    fn apply(
        &self,
        _rows: &dyn engine_meta::rows::Rows,
        _changes: &mut engine_meta::rows::Changes,
        _at: engine_meta::raft::machine::At,
        _command: &[u8],
    ) -> Result<Vec<u8>, engine_meta::rows::RowsError> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_own_suite() {
    Suite::test_all(Builder).await.expect("the suite passes");
}

pub(super) fn open(drive: &Arc<FakeDrive>) -> DriveLog {
    open_with(drive, LogOptions::default())
}

pub(crate) fn open_with(drive: &Arc<FakeDrive>, options: LogOptions) -> DriveLog {
    DriveLog::open(Arc::clone(drive) as _, options).expect("opens")
}

pub(crate) fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let command = vec![index.to_le_bytes()[0]; bytes].into();
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Proposal {
            stamp: index,
            command,
        }),
    }
}

pub(crate) async fn append(log: &mut GroupLog, entries: Vec<Entry>) {
    let last = entries.last().expect("some").log_id.index();
    log.append(entries, IOFlushed::noop()).await.expect("taken");
    log.wait_durable(last).await.expect("durable");
}

async fn close(log: DriveLog) {
    tokio::task::spawn_blocking(move || log.close())
        .await
        .expect("closed");
}

pub(crate) async fn entries(log: &mut GroupLog) -> Vec<Entry> {
    log.try_get_log_entries(0..u64::MAX)
        .await
        .expect("readable")
}

fn only_log(drive: &FakeDrive) -> String {
    let names = drive.names();
    names
        .into_iter()
        .find(|name| name.starts_with("log/"))
        .expect("a log")
}

/// Zeros ahead of the end are neither content nor damage, and do not stay.
#[tokio::test(flavor = "multi_thread")]
async fn room_is_cut_at_an_open_and_at_a_close() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    append(
        &mut log.group(GROUP),
        (0..20).map(|index| entry(4, index, 100)).collect(),
    )
    .await;
    let name = only_log(&drive);
    let room = drive.room(&name);
    assert!(room > 0 && room as u64 <= ROOM_BYTES, "{room}");
    append(&mut log.group(GROUP), vec![entry(4, 20, 100)]).await;
    assert!(drive.room(&name) < room, "written in place");
    let cut = drive.after_cut(0, false);
    drop(log);
    assert_eq!(cut.room(&name), drive.room(&name), "as a cut finds it");
    let log = open(&cut);
    assert!(log.damaged().is_empty());
    assert_eq!(entries(&mut log.group(GROUP)).await.len(), 21);
    assert_eq!(cut.room(&name), 0);
    append(&mut log.group(GROUP), vec![entry(4, 21, 100)]).await;
    assert!(cut.room(&name) > 0);
    close(log).await;
    assert_eq!(cut.room(&name), 0);
    let log = open(&cut);
    assert_eq!(entries(&mut log.group(GROUP)).await.len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_durable_is_there_after_a_cut_and_a_torn_end_is_not() {
    let torn = [0, 1, 55, 56, 57, 200, 5000];
    // Torn in room, too.
    for (torn, room) in torn.into_iter().flat_map(|torn| [(torn, 0), (torn, 9000)]) {
        let drive = FakeDrive::new(1);
        let log = open(&drive);
        let mut group = log.group(GROUP);
        group.save_vote(&vote(4, 9, true)).await.expect("saved");
        append(
            &mut group,
            (0..20).map(|index| entry(4, index, 100)).collect(),
        )
        .await;
        // A half-written batch, as a cut leaves it.
        let name = only_log(&drive);
        let whole = drive.bytes(&name);
        let tail = whole[whole.len() - 300..].to_vec();
        let cut = drive.after_cut(0, false);
        cut.edit(&name, |bytes| {
            bytes.extend_from_slice(&tail[..torn.min(250)]);
            bytes.resize(bytes.len() + room, 0);
        });
        drop(log);

        let log = open(&cut);
        assert!(log.damaged().is_empty(), "torn {torn}: {:?}", log.damaged());
        let mut group = log.group(GROUP);
        assert_eq!(
            group.read_vote().await.expect("read"),
            Some(vote(4, 9, true))
        );
        assert_eq!(entries(&mut group).await.len(), 20, "torn {torn}");
        append(&mut group, vec![entry(5, 20, 10)]).await;
        close(log).await;
        let log = open(&cut);
        assert_eq!(entries(&mut log.group(GROUP)).await.len(), 21);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_and_purged_entries_stay_so() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let mut group = log.group(GROUP);
    append(
        &mut group,
        (0..10).map(|index| entry(1, index, 10)).collect(),
    )
    .await;
    group
        .truncate_after(Some(log_id(1, 6)))
        .await
        .expect("truncated");
    append(&mut group, vec![entry(2, 7, 10)]).await;
    group.purge(log_id(1, 3)).await.expect("purged");
    append(&mut group, vec![entry(2, 8, 10)]).await;
    let before = entries(&mut group).await;
    let cut = drive.after_cut(0, false);
    let mut group = open(&cut).group(GROUP);
    assert_eq!(entries(&mut group).await, before);
    assert_eq!(group.bounds(), (Some(log_id(1, 3)), Some(log_id(2, 8))));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_below_a_durable_mark_is_told_and_nothing_behind_it_is_lost() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let (mut hit, mut spared) = (log.group(GROUP), log.group(GroupId(5)));
    append(
        &mut spared,
        (0..3).map(|index| entry(1, index, 64)).collect(),
    )
    .await;
    append(&mut hit, vec![entry(1, 0, 64)]).await;
    let name = only_log(&drive);
    let before = drive.bytes(&name).len();
    append(&mut hit, vec![entry(1, 1, 64)]).await;
    append(&mut hit, vec![entry(1, 2, 64)]).await;
    append(&mut spared, vec![entry(1, 3, 64)]).await;
    let cut = drive.after_cut(0, false);
    cut.edit(&name, |bytes| bytes[before + 70] ^= 1);

    let log = open(&cut);
    assert_eq!(
        log.damaged().keys().copied().collect::<Vec<_>>(),
        vec![GROUP]
    );
    assert_eq!(entries(&mut log.group(GroupId(5))).await.len(), 4);
    // Made anew, the group is clean again, also after the next start.
    log.destroy(GROUP).await.expect("destroyed");
    let mut anew = log.group(GROUP);
    assert!(entries(&mut anew).await.is_empty());
    append(&mut anew, vec![entry(9, 0, 8)]).await;
    close(log).await;
    let log = open(&cut);
    assert!(log.damaged().is_empty(), "{:?}", log.damaged());
    assert_eq!(entries(&mut log.group(GROUP)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_nothing_behind_the_damage_counts_as_hit() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let (mut quiet, mut busy) = (log.group(GROUP), log.group(GroupId(5)));
    append(&mut quiet, vec![entry(1, 0, 64)]).await;
    let name = only_log(&drive);
    let before = drive.bytes(&name).len();
    quiet.save_vote(&vote(7, 1, false)).await.expect("saved");
    append(&mut busy, vec![entry(1, 0, 64)]).await;
    append(&mut busy, vec![entry(1, 1, 64)]).await;
    let cut = drive.after_cut(0, false);
    cut.edit(&name, |bytes| bytes[before + 60] ^= 1);
    let damaged = open(&cut).damaged();
    assert!(
        damaged.contains_key(&GROUP),
        "its vote is gone: {damaged:?}"
    );
    assert!(!damaged.contains_key(&GroupId(5)), "{damaged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_in_the_last_batch_is_seen_after_a_clean_close() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let mut group = log.group(GROUP);
    append(&mut group, vec![entry(1, 0, 64)]).await;
    let name = only_log(&drive);
    let at = drive.bytes(&name).len() - 20;
    close(log).await;
    drive.edit(&name, |bytes| bytes[at] ^= 1);
    assert!(
        open(&drive).damage_of(GROUP).is_some(),
        "though the log no longer knows the group"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_fails_the_drive_and_acknowledges_nothing() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let mut group = log.group(GROUP);
    append(&mut group, vec![entry(1, 0, 64)]).await;
    drive.fail_syncs();
    assert!(group.save_vote(&vote(2, 1, false)).await.is_err());
    assert!(drive.failure().is_some());
    assert!(log.failure().is_some());
    drive.mend();
    assert!(
        group.save_vote(&vote(3, 1, false)).await.is_err(),
        "no second try after a failed sync"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_share_a_sync() {
    let drive = FakeDrive::new(1);
    drive.slow_syncs(20);
    let log = open(&drive);
    let mut groups: Vec<GroupLog> = (0..8).map(|id| log.group(GroupId(id))).collect();
    let before = drive.syncs();
    for index in 0..32 {
        for group in &mut groups {
            group
                .append(vec![entry(1, index, 64)], IOFlushed::noop())
                .await
                .expect("taken");
        }
    }
    for group in &groups {
        group.wait_durable(31).await.expect("durable");
    }
    assert!(
        drive.syncs() - before < 32,
        "256 appends took {} syncs",
        drive.syncs() - before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_hints_cost_no_sync_and_come_with_the_next_batch() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let mut group = log.group(GROUP);
    append(&mut group, (0..4).map(|index| entry(1, index, 8)).collect()).await;
    let before = drive.syncs();
    for index in 0..4 {
        group
            .save_committed(Some(log_id(1, index)))
            .await
            .expect("taken");
    }
    append(&mut group, vec![entry(1, 4, 8)]).await;
    assert_eq!(drive.syncs() - before, 1);
    let mut after = open(&drive.after_cut(0, false)).group(GROUP);
    assert_eq!(
        after.read_committed().await.expect("read"),
        Some(log_id(1, 3))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_beyond_the_cache_are_read_back() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let mut group = log.group(GROUP);
    for index in 0..24 {
        append(&mut group, vec![entry(1, index, 1 << 20)]).await;
    }
    let read = entries(&mut group).await;
    assert_eq!(read.len(), 24);
    for (index, found) in read.iter().enumerate() {
        assert_eq!(*found, entry(1, index as u64, 1 << 20));
    }
    let limited = group.limited_get_log_entries(0, 24).await.expect("read");
    assert!(
        (1..24).contains(&limited.len()),
        "{} entries in one message",
        limited.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_refused_before_it_is_written() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let mut group = log.group(GROUP);
    append(&mut group, vec![entry(1, 0, 1)]).await;
    assert!(
        group
            .append(vec![entry(1, 1, 1), entry(1, 3, 1)], IOFlushed::noop())
            .await
            .is_err()
    );
    assert_eq!(
        group.bounds().1,
        Some(log_id(1, 0)),
        "nothing of the refused call stays"
    );
    append(&mut group, vec![entry(1, 1, 1)]).await;
}
