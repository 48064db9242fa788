//! Reads see every write that was acknowledged before them.

use super::node::{CONTROL, drives, expect_all, formed, open, options, propose_many};

/// Its log holds all that was acknowledged; that it was, a new leader learns with its first entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_answers_no_read_before_it_knows_what_was_acknowledged() {
    let before = drives(3);
    let node = formed(&before, options(3)).await;
    propose_many(&node, CONTROL, 0..50).await;
    let after: Vec<_> = before
        .iter()
        .map(|drive| drive.after_cut(0, false))
        .collect();
    node.shutdown().await;
    // So long its first entry is under way.
    for drive in &after {
        drive.slow_syncs(200);
    }
    let again = open(&after, options(3)).await;
    expect_all(&again, CONTROL, 0..50).await;
    again.shutdown().await;
}
