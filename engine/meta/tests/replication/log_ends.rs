//! A log that lost records at its end, and nothing behind them: only marks tell.

use super::common::{FakeDrive, until};
use super::node::{CONTROL, drives, expect_all, expect_equal, formed, open, options, propose_many};
use super::returns::ids;
use engine_types::DriveId;
use std::time::Duration;

/// Turns bits of the last record that holds `key`.
fn damage_last(drive: &FakeDrive, key: &str) {
    let mut names = drive.names().into_iter();
    let name = names.find(|name| name.starts_with("log/"));
    drive.edit(&name.expect("a log"), |bytes| {
        let mut places = bytes.windows(key.len());
        let at = places.rposition(|found| found == key.as_bytes());
        bytes[at.expect("logged")] ^= 0x55;
    });
}

/// It may have promised what it forgot: as what it was it must not come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_log_forgot_its_end_is_made_anew() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    for batch in 0..10 {
        propose_many(&node, CONTROL, batch * 5..batch * 5 + 5).await;
    }
    expect_equal(&node, CONTROL, 3).await;
    let old = ids(&node, CONTROL);
    node.shutdown().await;
    drop(node);
    damage_last(&drives[0], "k49");
    let again = open(&drives, options(3)).await;
    until("made anew", Duration::from_secs(20), || {
        let new = ids(&again, CONTROL);
        let anew = old.keys().filter(|drive| new.get(drive) != old.get(drive));
        new.len() == 3 && anew.eq([&DriveId(1)])
    })
    .await;
    expect_all(&again, CONTROL, 0..50).await;
    expect_equal(&again, CONTROL, 3).await;
    again.shutdown().await;
}
