//! Emptying a directory of what is ours: a drive that has left, a witness that is not needed any more.

use engine_core::ports::{ASIDE, DriveFiles};
use engine_disk::Drive;
use engine_node::keyring::{KEYRING_FILE, OLD_FILE};

/// What is ours on a drive, beside its mark.
const OURS: [&str; 6] = [
    "shards",
    "log",
    "tables",
    "replicas",
    "snapshots",
    "keyring",
];

/// Takes what is ours off a drive: the mark last, so that a cut leaves a path that says what it is.
/// What somebody else put there stays.
pub(crate) fn erase(drive: &Drive) {
    let files = drive.files();
    // Its sealed keys must not outlive it: a key may be destroyed later, and this copy not be asked for.
    for name in [KEYRING_FILE, OLD_FILE] {
        if let Err(error) = files.erase(name) {
            tracing::warn!(name, %error, "not erased on a drive that was to be empty");
        }
    }
    let names = files.list("").unwrap_or_default();
    let ours = names.iter().map(String::as_str);
    // A small file that was never renamed into place ends so.
    let aside = |name: &str| name.ends_with(ASIDE);
    let ours = ours.filter(|name| OURS.contains(name) || aside(name));
    for name in ours.chain([engine_disk::mark::MARK_FILE]) {
        if let Err(error) = files.remove(name) {
            tracing::warn!(name, %error, "left on a drive that was to be empty");
            return;
        }
    }
}
