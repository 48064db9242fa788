//! Tables are a cache of the log: never ahead of it, and thrown away where they are.

use super::common::FakeDrive;
use super::log::{GROUP, append, core_on, entries, entry, open};
use engine_meta::raft::types::Entry;
use engine_meta::replica::ReplicaMachine;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use std::sync::Arc;

async fn apply(machine: &mut ReplicaMachine, entry: Entry) {
    let one = futures::stream::iter([Ok((entry, None))]);
    machine.apply(one).await.expect("applied");
}

/// An entry may commit on the other voters while this drive's log has yet to sync it.
#[tokio::test(flavor = "multi_thread")]
async fn apply_waits_for_its_own_drives_log() {
    let drive = FakeDrive::new(1);
    let core = core_on(&drive);
    let (mut log, mut machine) = (core.log.clone(), ReplicaMachine::new(Arc::clone(&core)));
    drive.slow_syncs(100);
    log.append(vec![entry(1, 0, 10)], IOFlushed::noop())
        .await
        .expect("taken");
    apply(&mut machine, entry(1, 0, 10)).await;
    let mut after = open(&drive.after_cut(0, false)).group(GROUP);
    assert_eq!(entries(&mut after).await.len(), 1, "applied, hence durable");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_hold_what_the_log_does_not_are_rebuilt() {
    let drive = FakeDrive::new(1);
    let core = core_on(&drive);
    let (mut log, mut machine) = (core.log.clone(), ReplicaMachine::new(Arc::clone(&core)));
    append(&mut log, vec![entry(1, 0, 10)]).await;
    let name = drive
        .names()
        .into_iter()
        .find(|name| name.starts_with("log/"));
    let name = name.expect("a log");
    let kept = drive.bytes(&name).len();
    append(&mut log, vec![entry(1, 1, 10)]).await;
    for index in 0..2 {
        apply(&mut machine, entry(1, index, 10)).await;
    }
    assert_eq!(core.applied_index(), 1);
    core.settle().await.expect("written out");
    drop((core, log, machine));
    drive.edit(&name, |bytes| bytes.truncate(kept));
    let core = core_on(&drive);
    assert_eq!(
        core.applied_index(),
        0,
        "what it had applied is not in its log"
    );
}
