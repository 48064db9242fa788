//! Files that only their owner may read, beside the drives: made once, never replaced, and durable
//! with their names before anybody rests on them.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Makes a file that is there whole or not at all.
pub(super) fn appear(file: &Path, bytes: &[u8]) -> Result<()> {
    let directory = parent(file);
    make_directories(directory)?;
    let aside = aside(file);
    // Removed, never written over: cut off below, it is a second name of a finished file.
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let opened = written(OpenOptions::new().create_new(true), &aside, bytes)?;
    let skip = false;
    #[cfg(sabotage)]
    let skip = skip || engine_types::sabotage("skip-credentials-fsync");
    if !skip {
        sync(&opened, &aside)?;
    }
    // link(2), not rename: it fails where the file has come to stand meanwhile.
    std::fs::hard_link(&aside, file)?;
    #[cfg(test)]
    tests::note("linked", file);
    std::fs::remove_file(&aside)?;
    sync(&File::open(directory)?, directory)
}

/// Makes a file where links may not be had, as on a stick; one that cannot be written whole goes.
pub(crate) fn create(file: &Path, bytes: &[u8]) -> Result<()> {
    let whole = || {
        let opened = written(OpenOptions::new().create_new(true), file, bytes)?;
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-export-fsync") {
            return Ok(());
        }
        sync(&opened, file)?;
        let directory = parent(file);
        sync(&File::open(directory)?, directory)
    };
    whole().inspect_err(|error| {
        if error.kind() != ErrorKind::AlreadyExists {
            // What could not be written may not be removable either; the error says enough.
            drop(std::fs::remove_file(file));
        }
    })
}

fn written(options: &mut OpenOptions, file: &Path, bytes: &[u8]) -> Result<File> {
    let mut opened = options.write(true).mode(mode()).open(file)?;
    opened.write_all(bytes)?;
    Ok(opened)
}

fn mode() -> u32 {
    #[cfg(sabotage)]
    if engine_types::sabotage("open-credentials") {
        return 0o644;
    }
    0o600
}

/// Of its own for each file: `x.key` and `x.json` may lie side by side.
fn aside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Each that is new with its name.
fn make_directories(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = parent(directory);
    make_directories(above)?;
    std::fs::create_dir(directory)?;
    sync(&File::open(above)?, above)
}

fn sync(file: &File, path: &Path) -> Result<()> {
    let named =
        |error: Error| Error::new(error.kind(), format!("sync {}: {error}", path.display()));
    file.sync_all().map_err(named)?;
    #[cfg(test)]
    tests::note("synced", path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt;

    thread_local! {
        /// What this thread's test did, in order.
        static NOTES: RefCell<Vec<(&'static str, PathBuf)>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(what: &'static str, path: &Path) {
        NOTES.with_borrow_mut(|notes| notes.push((what, path.to_owned())));
    }

    fn notes() -> Vec<(&'static str, PathBuf)> {
        NOTES.take()
    }

    #[test]
    fn a_file_is_durable_before_it_has_its_name_and_then_its_name_is() {
        let dir = tempfile::tempdir().expect("tempdir");
        let deep = dir.path().join("deep");
        let file = deep.join("credentials.json");
        appear(&file, b"secret").expect("made");
        assert_eq!(std::fs::read(&file).expect("there"), b"secret");
        let expected = [
            ("synced", dir.path().to_owned()),
            ("synced", deep.join("credentials.json.new")),
            ("linked", file.clone()),
            ("synced", deep),
        ];
        assert_eq!(notes(), expected);
        assert!(appear(&file, b"other").is_err(), "never replaced");
    }

    #[test]
    fn what_a_cut_left_aside_is_neither_written_through_nor_trusted() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (key, json) = (dir.path().join("dm.key"), dir.path().join("dm.json"));
        appear(&key, b"the key").expect("made");
        // Cut between the link and the removal, under either name.
        for left in ["dm.new", "dm.json.new"] {
            std::fs::hard_link(&key, dir.path().join(left)).expect("linked");
        }
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&key, open).expect("set");
        appear(&json, b"the secret").expect("made");
        assert_eq!(std::fs::read(&key).expect("there"), b"the key");
        assert_eq!(std::fs::read(&json).expect("there"), b"the secret");
        let mode = std::fs::metadata(&json)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_export_is_durable_with_its_name() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("export");
        create(&file, b"sealed").expect("made");
        let expected = [("synced", file.clone()), ("synced", dir.path().to_owned())];
        assert_eq!(notes(), expected);
        assert!(create(&file, b"other").is_err(), "never replaced");
        assert_eq!(std::fs::read(&file).expect("there"), b"sealed");
    }
}
