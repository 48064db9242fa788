//! What a look-up in the tables reads.

use super::common::{FakeDrive, row_key, until};
use engine_meta::fjall_rows::{Table, TableOptions, Tables};
use engine_meta::rows::{Changes, Rows};
use engine_types::GroupId;
use std::time::{Duration, Instant};

const ROWS: u32 = 200_000;
/// A filter of all rows is some 250 kB, and the index beside it.
const LOOK_UP_BYTES: u64 = 64 << 10;

fn key(row: u32) -> String {
    format!("{:08x}-{row:060}", row.wrapping_mul(2_654_435_761))
}

fn fill(table: &Table) {
    for first in (0..ROWS).step_by(1000) {
        let mut changes = Changes::default();
        for row in first..first + 1000 {
            changes.put(row_key(&key(row)), row.to_le_bytes().to_vec());
        }
        table.write(&changes, b"applied").expect("written");
    }
    table.seal().expect("sealed");
}

/// Bytes that this thread has asked the system for, cached by it or not.
fn read_bytes() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/io").expect("readable");
    let line = told.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.expect("counted").parse().expect("a number")
}

/// Bytes that a look-up reads, by some looks at rows all over the table.
fn look_up_bytes(table: &Table) -> u64 {
    let view = table.view();
    let (looks, before) = (500, read_bytes());
    for row in (0..ROWS).step_by((ROWS / looks) as usize) {
        let found = view.get(&row_key(&key(row))).expect("readable");
        assert_eq!(found.as_deref(), Some(&row.to_le_bytes()[..]), "{row}");
    }
    (read_bytes() - before) / u64::from(looks)
}

/// Filters and indexes lie in pieces: whole, each look-up that misses the cache would read hundreds of kB.
#[tokio::test]
async fn a_look_up_among_many_rows_reads_little() {
    let drive = FakeDrive::new(1);
    let small = TableOptions {
        cache_bytes: 64 << 10,
        ..TableOptions::default()
    };
    let tables = Tables::open(drive.as_ref(), small).expect("opens");
    let table = tables.generation(GroupId(1), 1).expect("made");
    fill(&table);
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let sealed = || !table.sealing();
        until("it is on the drive", Duration::from_mins(1), sealed).await;
        let each = look_up_bytes(&table);
        if each > 0 && each <= LOOK_UP_BYTES {
            return;
        }
        assert!(Instant::now() < deadline, "{each} bytes a look-up");
        // One file more: those not merged yet have their filters whole, and are when there are some.
        let mut changes = Changes::default();
        changes.put(row_key("one more"), Vec::new());
        table.write(&changes, b"applied").expect("written");
        table.seal().expect("sealed");
    }
}
