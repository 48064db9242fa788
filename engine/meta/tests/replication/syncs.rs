//! Single syncs of the log: one test for each that has a promise of its own.

use super::common::{FakeDrive, until};
use super::log::{GROUP, append, entries, entry, open, open_with};
use engine_meta::log::{GroupLog, LogOptions};
use engine_meta::raft::types::{log_id, vote};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn log_files(drive: &FakeDrive) -> Vec<String> {
    let names = drive.names().into_iter();
    names.filter(|name| name.starts_with("log/")).collect()
}

/// Hints that entries up to `index` are committed: written, and not worth a sync.
async fn hint(group: &mut GroupLog, index: u64) {
    group
        .save_committed(Some(log_id(1, index)))
        .await
        .expect("taken");
}

/// A voter that forgot its vote could give it twice in one term.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_outlives_a_power_cut_by_itself() {
    let drive = FakeDrive::new(1);
    let log = open(&drive);
    let mut group = log.group(GROUP);
    group.save_vote(&vote(4, 9, false)).await.expect("saved");
    let mut after = open(&drive.after_cut(0, false)).group(GROUP);
    assert_eq!(
        after.read_vote().await.expect("read"),
        Some(vote(4, 9, false))
    );
}

/// Recovery takes a break in a file that is not the last for damage.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_log_is_synced_whole_before_the_next_begins() {
    let options = LogOptions {
        file_bytes_max: 4 << 10,
        ..LogOptions::default()
    };
    let drive = FakeDrive::new(1);
    let log = open_with(&drive, options);
    let mut group = log.group(GROUP);
    append(&mut group, vec![entry(1, 0, 10)]).await;
    let first = log_files(&drive);
    while log_files(&drive).len() == first.len() {
        hint(&mut group, 0).await;
    }
    let cut = drive.after_cut(0, false);
    let log = open_with(&cut, options);
    assert_eq!(log.damage_of(GROUP), None);
    let mut group = log.group(GROUP);
    assert_eq!(
        group.read_committed().await.expect("read"),
        Some(log_id(1, 0))
    );
    assert_eq!(entries(&mut group).await.len(), 1);
}

/// What a killed process had written but not synced is believed by the next one: it may vote by it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_wrote_is_synced_before_it_is_built_upon() {
    let drive = FakeDrive::new(1);
    // Where there is room, cutting it syncs.
    drive.give_no_room();
    let log = open(&drive);
    let mut group = log.group(GROUP);
    append(&mut group, vec![entry(1, 0, 10), entry(1, 1, 10)]).await;
    let name = log_files(&drive).remove(0);
    let before = drive.bytes(&name).len();
    hint(&mut group, 1).await;
    until("the hint is written", PATIENCE, || {
        drive.bytes(&name).len() > before
    })
    .await;
    drop((group, log));

    let log = open(&drive);
    let believed = log.group(GROUP).read_committed().await.expect("read");
    assert_eq!(believed, Some(log_id(1, 1)));
    let cut = drive.after_cut(0, false);
    let after = open(&cut)
        .group(GROUP)
        .read_committed()
        .await
        .expect("read");
    assert_eq!(after, believed);
}
