//! A log that lost a vote, and is whole beside.

use super::common::until;
use super::log_copies::records;
use super::node::{CONTROL, drives, expect_all, expect_equal, formed, open, options, propose_many};
use super::returns::ids;
use engine_meta::log::record::{HEADER_BYTES, Kind};
use engine_types::DriveId;
use std::time::Duration;

/// It may have voted as it no longer knows: as what it was it must not come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_log_lost_a_vote_is_made_anew() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    for batch in 0..10 {
        propose_many(&node, CONTROL, batch * 5..batch * 5 + 5).await;
    }
    expect_equal(&node, CONTROL, 3).await;
    let old = ids(&node, CONTROL);
    node.shutdown().await;
    drop(node);
    let mut names = drives[0].names().into_iter();
    let name = names.find(|name| name.starts_with("log/"));
    drives[0].edit(&name.expect("a log"), |bytes| {
        let first = records(bytes, CONTROL, Kind::Vote).into_iter().next();
        bytes[first.expect("it voted") + HEADER_BYTES] ^= 0x55;
    });
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
