//! What is applied is read at once, whether or not the tables hold it already.

use super::common::{row_key, until};
use super::openraft_promises::{SOON, alone, write};
use engine_meta::fjall_rows::TableView;
use engine_meta::replica::{AHEAD_ENTRIES_MAX, Replica};
use engine_meta::rows::Rows;
use engine_meta::snapshot;

fn tables(replica: &Replica) -> TableView {
    replica.core.table().view()
}

fn value(rows: &dyn Rows, key: &str) -> Option<Vec<u8>> {
    rows.get(&row_key(key)).expect("readable")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_read_before_the_tables_have_it() {
    let replica = alone().await;
    write(&replica, "a").await;
    let view = replica.core.view();
    assert!(value(&view, "a").is_some());
    assert!(view.index() > 0 && view.index() == replica.core.applied_index());
    assert_eq!(value(&tables(&replica), "a"), None, "gathered first");
    let scanned: Vec<_> = view
        .scan(std::ops::Bound::Included(&row_key("a")), &row_key("b"))
        .collect();
    assert_eq!(scanned.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_its_moment_while_others_write() {
    let replica = alone().await;
    write(&replica, "a").await;
    let before = replica.core.view();
    write(&replica, "b").await;
    write(&replica, "c").await;
    assert!(value(&before, "a").is_some() && value(&before, "b").is_none());
    let after = replica.core.view();
    assert!(
        ["a", "b", "c"]
            .iter()
            .all(|key| value(&after, key).is_some())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_follow_within_the_limit() {
    let replica = alone().await;
    for number in 0..AHEAD_ENTRIES_MAX {
        write(&replica, &format!("{number:03}")).await;
    }
    until("the tables to follow", SOON, || {
        value(&tables(&replica), "000").is_some()
    })
    .await;
    let view = replica.core.view();
    for number in 0..AHEAD_ENTRIES_MAX {
        assert!(value(&view, &format!("{number:03}")).is_some(), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_leaves_all_in_the_tables() {
    let replica = alone().await;
    write(&replica, "a").await;
    replica.core.settle().await.expect("written");
    let tables = tables(&replica);
    assert!(value(&tables, "a").is_some());
    let applied = tables
        .applied()
        .expect("readable")
        .expect("written with the rows");
    assert_eq!(applied, replica.core.applied().encode());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_what_is_ahead_and_puts_the_tables_level() {
    let replica = alone().await;
    write(&replica, "a").await;
    replica.node.trigger().snapshot().await.expect("asked for");
    until("a snapshot", SOON, || {
        let files = &replica.core.parts.files;
        snapshot::newest(files, replica.core.group).is_ok_and(|found| found.is_some())
    })
    .await;
    assert!(
        value(&tables(&replica), "a").is_some(),
        "the log may go up to the snapshot"
    );
}
