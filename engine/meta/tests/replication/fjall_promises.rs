//! What the tables rest on, asked of fjall itself: a batch within one keyspace is whole or absent
//! after a cut, what is lost is a suffix, or the Database refuses to open.

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::{Path, PathBuf};

const ROWS: u32 = 8;

fn open(path: &Path) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(path)
        .manual_journal_persist(true)
        .worker_threads(1)
        .open()?;
    let keyspace = database.keyspace("g0-1", || {
        KeyspaceCreateOptions::default().manual_journal_persist(true)
    })?;
    Ok((database, keyspace))
}

fn write_batches(path: &Path, batches: u32) {
    let (database, keyspace) = open(path).expect("opens");
    for number in 0..batches {
        let mut batch = database.batch();
        for row in 0..ROWS {
            batch.insert(&keyspace, format!("{number:05}-{row}"), vec![7; 100]);
        }
        batch.insert(&keyspace, "applied", number.to_le_bytes());
        batch.commit().expect("committed");
    }
    database
        .persist(fjall::PersistMode::Buffer)
        .expect("handed to the kernel");
}

fn journal(path: &Path) -> PathBuf {
    let names = std::fs::read_dir(path)
        .expect("readable")
        .map(|entry| entry.expect("readable").path());
    let mut journals: Vec<PathBuf> = names
        .filter(|name| name.extension().is_some_and(|end| end == "jnl"))
        .collect();
    journals.sort();
    journals.pop().expect("a journal")
}

/// What is there after a reopen, checked to be a prefix; none if fjall refuses.
fn prefix(path: &Path) -> Option<u32> {
    let (_database, keyspace) = open(path).ok()?;
    let applied = keyspace.get("applied").expect("readable");
    let batches = applied.map_or(0, |bytes| {
        u32::from_le_bytes((*bytes).try_into().expect("4 bytes")) + 1
    });
    for number in 0..batches {
        for row in 0..ROWS {
            let key = format!("{number:05}-{row}");
            assert!(
                keyspace.contains_key(&key).expect("readable"),
                "{key} of {batches} is missing"
            );
        }
    }
    let rows = keyspace.len().expect("readable");
    assert_eq!(
        rows,
        usize::try_from(batches * ROWS + u32::from(batches > 0)).expect("fits"),
        "no half batch"
    );
    Some(batches)
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("typed").is_dir() {
            std::fs::create_dir_all(&target).expect("made");
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

#[test]
fn a_cut_journal_loses_whole_batches_from_the_end() {
    let made = tempfile::tempdir().expect("a directory");
    write_batches(made.path(), 20);
    let written: u64 = {
        let bytes = std::fs::read(journal(made.path())).expect("readable");
        bytes.iter().rposition(|byte| *byte != 0).expect("written") as u64 + 1
    };
    let (mut seen, mut refused) = (std::collections::BTreeSet::new(), 0);
    for step in 0..40 {
        let cut = tempfile::tempdir().expect("a directory");
        copy(made.path(), cut.path());
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(journal(cut.path()))
            .expect("opens");
        file.set_len(written * step / 40).expect("cut");
        drop(file);
        match prefix(cut.path()) {
            Some(batches) => drop(seen.insert(batches)),
            None => refused += 1,
        }
    }
    assert!(seen.len() > 5, "prefixes {seen:?}, refused {refused}");
    assert_eq!(prefix(made.path()), Some(20));
}

#[test]
fn a_torn_page_is_a_prefix_or_a_refusal_never_a_hole() {
    let made = tempfile::tempdir().expect("a directory");
    write_batches(made.path(), 20);
    for step in 1..20 {
        let torn = tempfile::tempdir().expect("a directory");
        copy(made.path(), torn.path());
        let path = journal(torn.path());
        let mut bytes = std::fs::read(&path).expect("readable");
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("written");
        let from = end * step / 20;
        let to = (from + 512).min(end);
        bytes[from..to].fill(0);
        std::fs::write(&path, bytes).expect("written");
        // `prefix` asserts that nothing behind a lost batch is there.
        prefix(torn.path());
    }
}

/// Two compactions by hand give back the bytes of deleted values, of whole files and of parts of
/// them, and lose no other.
#[test]
fn compaction_gives_back_what_deleted_values_took() {
    use fjall::KvSeparationOptions;
    const ROWS: u64 = 1000;
    const VALUE_BYTES: u64 = 16 << 10;
    let made = tempfile::tempdir().expect("a directory");
    let database = Database::builder(made.path())
        .manual_journal_persist(true)
        .worker_threads(1)
        .open()
        .expect("opens");
    let separated = KvSeparationOptions::default()
        .separation_threshold(1024)
        .age_cutoff(1.0);
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(4 << 20)
            .with_kv_separation(Some(separated))
    };
    let keyspace = database.keyspace("g0-1", options).expect("made");
    let value = |n: u64| {
        let mut value = vec![0; usize::try_from(VALUE_BYTES).expect("fits")];
        let mut state = n + 1;
        for byte in &mut value {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
        value
    };
    for n in 0..ROWS {
        keyspace.insert(n.to_be_bytes(), value(n)).expect("written");
    }
    keyspace.rotate_memtable_and_wait().expect("flushed");
    assert!(keyspace.disk_space() > ROWS * VALUE_BYTES);
    // The first half all but whole, of the second every tenth is left.
    let left: Vec<u64> = (ROWS / 2..ROWS).filter(|n| n % 10 == 0).collect();
    for n in (0..ROWS).filter(|n| !left.contains(n)) {
        keyspace.remove(n.to_be_bytes()).expect("removed");
    }
    keyspace.rotate_memtable_and_wait().expect("flushed");
    drop(database.snapshot());
    for _ in 0..2 {
        keyspace.major_compact().expect("compacted");
    }
    let live = left.len() as u64 * VALUE_BYTES;
    let held = keyspace.disk_space();
    assert!(held < live * 2, "{held} bytes for {live}");
    for n in left {
        let found = keyspace.get(n.to_be_bytes()).expect("readable");
        assert_eq!(found.as_deref(), Some(&value(n)[..]), "{n}");
    }
}
