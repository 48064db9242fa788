//! What is deleted gives its room back although nothing else is written.

use super::common::{FakeDrive, put, row_key, until};
use super::node::{drives, formed, options};
use engine_meta::service::{MetaNode, MetaOptions};
use engine_types::GroupId;
use std::path::Path;
use std::time::Duration;

const GROUP: GroupId = GroupId(1);
const ROWS: u32 = 1500;
const VALUE_BYTES: usize = 16 << 10;

async fn write(node: &MetaNode, value: &[u8]) {
    for first in (0..ROWS).step_by(100) {
        let proposals = (first..first + 100).map(|key| {
            let (node, command) = (node.clone(), put(&format!("k{key}"), value));
            tokio::spawn(async move { node.propose(GROUP, command).await })
        });
        for proposal in proposals.collect::<Vec<_>>() {
            proposal.await.expect("ran").expect("committed");
        }
    }
}

/// Bytes of the tables' files but journals, which are bounded by themselves.
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| {
        let path = entry.path();
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&path),
            Ok(found) if path.extension().is_none_or(|end| end != "jnl") => found.len(),
            _ => 0,
        }
    });
    sizes.sum()
}

fn snapshot_bytes(drive: &FakeDrive) -> usize {
    let names = drive.names().into_iter();
    let snapshots = names.filter(|name| name.starts_with("snapshots/g1/"));
    snapshots.map(|name| drive.length(&name)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_snapshots_and_tables_shrink_once_a_replica_rests() {
    let drives = drives(1);
    let options = MetaOptions {
        rest_after: Duration::from_millis(500),
        tick_after: Duration::from_millis(200),
        ..options(1)
    };
    let node = formed(&drives, options).await;
    let drive = &drives[0];
    write(&node, &[7; VALUE_BYTES]).await;
    node.snapshot(GROUP).await;
    until("a snapshot of all", Duration::from_secs(30), || {
        snapshot_bytes(drive) > ROWS as usize * VALUE_BYTES
    })
    .await;
    write(&node, b"little").await;
    let log = || node.status().replicas(GROUP)[0].1.log_bytes;
    until("all comes back", Duration::from_mins(1), || {
        let tables = bytes_below(&drive.table_directory());
        log() < 1 << 20 && snapshot_bytes(drive) < 1 << 20 && tables < 4 << 20
    })
    .await;
    let rows = node.read(GROUP, |rows, _| {
        let little = |key: &u32| {
            let row = rows.get(&row_key(&format!("k{key}"))).expect("readable");
            row.as_deref() == Some(b"little")
        };
        (0..ROWS).filter(little).count()
    });
    assert_eq!(rows.await.expect("answered"), ROWS as usize);
    node.shutdown().await;
}
