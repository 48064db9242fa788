//! The journals of a drive's tables, thrown away where they say nothing that the files do not.
//!
//! fjall reads every journal whole when it opens, row by row, also rows long in its files; it drops
//! one only when it is 64 MB long and written out to the last row. So after a stop that wrote all
//! memtables out, a start would read for seconds what it then skips. Such a stop leaves a mark; the
//! open that finds it takes the mark away and puts one empty journal in the place of all.
//!
//! One is left, as fjall takes its sequence numbers from the files only where it had a journal
//! (without: from 0, below what the files hold). Which keyspaces there are stands in files from the
//! beginning. Turned down: without the mark, after a kill. It would be a legal state (a prefix of
//! each keyspace), but the catalogue of keyspaces may then have higher sequence numbers than fjall
//! goes on from, and what the journal held is read from the log instead, which takes longer.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Stands beside the journals while the files hold all that they do.
const MARK: &str = "written-out";
/// How fjall's journals end; before it a number, the highest being written to.
const EXTENSION: &str = "jnl";

/// Notes that what the journals in `directory` hold is in the files as well. A mark that a power
/// cut takes away costs a slow start and nothing else, so it is not synced.
pub(crate) fn mark(directory: &Path) -> io::Result<()> {
    File::create(directory.join(MARK)).map(drop)
}

/// Empties the journals if they are marked, and takes the mark away, durably: rows come that it does
/// not speak of. Cut short it leaves journals, which do no harm. Nobody may have the Database open.
pub(crate) fn forget_marked(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(MARK)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    File::open(directory)?.sync_all()?;
    let old = journals(directory)?;
    let Some((newest, _)) = old.last() else {
        return Ok(());
    };
    // Before the others go: see above what fjall does where there is none.
    File::create_new(directory.join(format!("{}.{EXTENSION}", newest + 1)))?.sync_all()?;
    File::open(directory)?.sync_all()?;
    for (_, path) in old {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Number and path, ascending.
fn journals(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == EXTENSION) {
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            // fjall refuses a name that is no number, and the tables are made anew.
            found.extend(number.map(|number| (number, path)));
        }
    }
    found.sort();
    Ok(found)
}
