//! The journals of a drive's tables: bounded while rows come, empty after a clean stop.

use super::common::{FakeDrive, row_key, until};
use super::node::{CONTROL, drives, expect_all, formed, open, options, propose_many};
use engine_meta::fjall_rows::{JOURNALS_BYTES_MAX, Table, TableOptions, Tables};
use engine_meta::rows::{Changes, Rows};
use engine_types::GroupId;
use std::time::Duration;

const APPLIED: &[u8] = b"to here";
const WITHIN: Duration = Duration::from_secs(20);

fn tables(drive: &FakeDrive) -> Tables {
    Tables::open(drive, TableOptions::default()).expect("opens")
}

fn put(table: &Table, key: &str, value: &[u8]) {
    let mut changes = Changes::default();
    changes.put(row_key(key), value.to_vec());
    table.write(&changes, APPLIED).expect("written");
}

fn get(table: &Table, key: &str) -> Option<Vec<u8>> {
    table.view().get(&row_key(key)).expect("readable")
}

/// Lengths of all journals.
fn journals(drive: &FakeDrive) -> Vec<u64> {
    let entries = std::fs::read_dir(drive.table_directory()).expect("readable");
    entries
        .map(|entry| entry.expect("readable"))
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "jnl"))
        .map(|entry| entry.metadata().map_or(0, |of| of.len()))
        .collect()
}

async fn written_out(tables: &Tables) {
    until("written out", WITHIN, || {
        tables.write_out().expect("no error")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journals_stay_bounded_while_a_replica_is_idle() {
    const VALUE_BYTES: usize = 1 << 20;
    let drive = FakeDrive::new(1);
    let tables = tables(&drive);
    let idle = tables.generation(CONTROL, 1).expect("made");
    let busy = tables.generation(GroupId(1), 1).expect("made");
    let value = vec![7; VALUE_BYTES];
    // Six journals' worth; the idle one has a row in the first, and in the last but one.
    for number in 0..6 * JOURNALS_BYTES_MAX / VALUE_BYTES as u64 {
        put(&busy, &format!("{number}"), &value);
        if number % (4 * JOURNALS_BYTES_MAX / VALUE_BYTES as u64) == 0 {
            put(&idle, &format!("{number}"), b"little");
        }
    }
    // One being written to, one being written out, and what was begun in the meantime.
    let bound = 3 * JOURNALS_BYTES_MAX + (16 << 20);
    until("few journals", WITHIN, || {
        journals(&drive).iter().sum::<u64>() <= bound
    })
    .await;
    assert_eq!(get(&idle, "0").as_deref(), Some(&b"little"[..]));
    assert_eq!(get(&busy, "0"), Some(value));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_out_is_not_read_again() {
    let drive = FakeDrive::new(1);
    let large = vec![3; 5000];
    {
        let tables = tables(&drive);
        let (one, two) = (GroupId(1), GroupId(2));
        let table = tables.generation(one, 1).expect("made");
        for number in 0..100 {
            put(&table, &format!("k{number}"), &large);
        }
        put(&tables.generation(two, 1).expect("made"), "of two", b"x");
        written_out(&tables).await;
        tables.flush().expect("flushed");
    }
    assert!(
        journals(&drive).iter().sum::<u64>() > 0,
        "something to throw away"
    );
    {
        let tables = tables(&drive);
        assert!(!tables.rebuilt);
        assert_eq!(journals(&drive), [0], "one, and empty");
        let table = tables.generation(GroupId(1), 1).expect("opens");
        for number in 0..100 {
            assert_eq!(get(&table, &format!("k{number}")).as_ref(), Some(&large));
        }
        assert_eq!(
            table.view().applied().expect("readable").as_deref(),
            Some(APPLIED)
        );
        // Newer than what lies in the files, also after the next start, which has the journal only.
        put(&table, "k0", b"newer");
        assert_eq!(get(&table, "k0").as_deref(), Some(&b"newer"[..]));
        let next = tables.generation(GroupId(3), 1).expect("made");
        put(&next, "of three", b"y");
    }
    let tables = tables(&drive);
    assert!(!tables.rebuilt);
    let of = |group, key: &str| get(&tables.generation(GroupId(group), 1).expect("opens"), key);
    assert_eq!(of(1, "k0").as_deref(), Some(&b"newer"[..]));
    assert_eq!(of(1, "k1"), Some(large));
    assert_eq!(of(2, "of two").as_deref(), Some(&b"x"[..]));
    assert_eq!(of(3, "of three").as_deref(), Some(&b"y"[..]));
}

#[test]
fn a_flush_that_has_rows_left_to_write_out_keeps_the_journals() {
    let drive = FakeDrive::new(1);
    {
        let tables = tables(&drive);
        put(&tables.generation(CONTROL, 1).expect("made"), "k", b"v");
        // It begins to write out, so there was something left.
        tables.flush().expect("flushed");
    }
    let mark = drive.table_directory().join("written-out");
    assert!(!mark.exists());
    let tables = tables(&drive);
    let table = tables.generation(CONTROL, 1).expect("opens");
    assert_eq!(get(&table, "k").as_deref(), Some(&b"v"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_leaves_no_journals_to_read() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    propose_many(&node, CONTROL, 0..60).await;
    node.shutdown().await;
    drop(node);
    let mark = |drive: &FakeDrive| drive.table_directory().join("written-out");
    assert!(drives.iter().all(|drive| mark(drive).exists()));
    let node = open(&drives, options(3)).await;
    assert!(
        !drives.iter().any(|drive| mark(drive).exists()),
        "it is being written to"
    );
    expect_all(&node, CONTROL, 0..60).await;
    node.shutdown().await;
}

#[test]
fn no_table_is_begun_where_the_drive_was_taken_away() {
    let [drive] = &drives(1)[..] else {
        panic!("one drive")
    };
    let tables = tables(drive);
    let here = drive.table_directory();
    let aside = here.with_extension("aside");
    std::fs::rename(&here, &aside).expect("moves");
    assert!(tables.generation(GroupId(1), 1).is_err());
    assert!(!here.exists(), "nothing is made in its place");
    std::fs::rename(&aside, &here).expect("moves back");
    assert!(tables.generation(GroupId(1), 1).is_ok());
}

/// It has no checksum over a batch's number, and as many as that are not to be had.
#[test]
fn a_flipped_number_of_a_batch_costs_the_tables_and_no_start() {
    let [drive] = &drives(1)[..] else {
        panic!("one drive")
    };
    let before = tables(drive);
    let table = before.generation(GroupId(1), 1).expect("made");
    put(&table, "a", b"value");
    drop((table, before));
    let journal = drive.table_directory().join("0.jnl");
    let mut bytes = std::fs::read(&journal).expect("readable");
    // Tag, items u32, number u64, little-endian.
    assert_eq!(bytes[0], 1, "the start of a batch");
    bytes[12] ^= 0x80;
    std::fs::write(&journal, bytes).expect("written");
    let after = tables(drive);
    assert!(after.rebuilt, "begun anew");
    let table = after.generation(GroupId(1), 1).expect("made");
    put(&table, "b", b"value");
    assert_eq!(get(&table, "b"), Some(b"value".to_vec()));
}
