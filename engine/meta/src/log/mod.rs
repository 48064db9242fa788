//! The log of one drive: the write-ahead log of every replica on it (**format**: see [`record`]).
//!
//! **Who owns what.** One writer thread owns the file; openraft's calls change a group's index in
//! memory ([`index`]) and queue an operation. The writer takes all that is queued, writes it with one
//! append and one fdatasync, then completes every callback: while it syncs, the next batch gathers,
//! so many commits of many groups share a sync. An fsync error fails the drive: the kernel may have
//! dropped the dirty pages, so trying again could lie.
//!
//! **Files.** `log/<number>.log`, rolled at [`FILE_BYTES_MAX`], deleted oldest first. Only the newest may
//! end in room ([`ROOM_BYTES`] of zeros at most), and only until the log is closed; an opener cuts it
//! like a tear. Before the oldest goes, small groups with entries in it are copied forward whole
//! ([`record::Kind::CopyBegin`] … `CopyEnd`; counts only when its end is there); where only a group's
//! vote or bound lies in it, these are written anew. A file goes when a cut needs nothing in it: what
//! a purge or truncation drops in memory keeps its file until that is durable. So the files that are
//! left hold every group's vote, bound and entries, and beside them what was dropped later than they
//! begin: recovery starts in the middle.
//!
//! **Why not tikv's raft-engine.** It groups writes and rewrites idle groups as this does, but it
//! opens and syncs files itself (below our drive port, so neither the power-cut recorder's fake nor
//! the per-drive failure report sees it), its records carry a checksum but no chain and no durable
//! mark, so its recovery modes either cut at the first broken record (losing acknowledged entries
//! behind it) or refuse the whole log; telling a tear from damage, and which group was hit, is what
//! this log is for. It also keeps votes as key-values whose loss cannot be seen.

mod drive_log;
pub mod index;
pub mod mend;
mod reclaim;
pub mod record;
mod recover;
mod store;
mod writer;
mod written;

pub use drive_log::{DriveLog, LogOptions};
pub use store::GroupLog;

use crate::raft::codec::{COUNT_MAX, CodecError};
use engine_core::ports::{DriveError, DriveFiles, LogFile};

/// Where the files lie on the drive.
pub const DIRECTORY: &str = "log";
/// A file is closed at this length.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Groups whose live entries are at most this are copied forward; larger ones must snapshot.
pub const COPY_BYTES_MAX: u64 = 8 << 20;

/// Zeros ahead of the newest file's end, which records are written into: a sync that has not to wait
/// for the file system's journal takes a fraction of the time ([`LogFile::append_with_room`]).
pub const ROOM_BYTES: u64 = 1 << 20;

/// Why the log cannot do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The drive.
    #[error("log: {0}")]
    Drive(#[from] DriveError),
    /// The log is closed or has failed before.
    #[error("log: out of service: {0}")]
    Failed(String),
    /// Entries that do not follow: a bug above, refused before it is written.
    #[error("log: hole: expected {expected}, found {found}")]
    Hole {
        /// What was due.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Bytes that no build wrote.
    #[error("log: malformed {0}")]
    Malformed(&'static str),
    /// Written by a newer build: refused by name, never cut.
    #[error(
        "log: {file} was written by a newer DataMesh (record version {version}; this build reads up \
         to {known}): run that release"
    )]
    Newer {
        /// The file.
        file: String,
        /// The record's version.
        version: u8,
        /// What this build knows.
        known: u8,
    },
    /// An entry larger than a record may be.
    #[error("log: entry of {0} bytes is too large")]
    TooLarge(usize),
}

impl From<CodecError> for LogError {
    fn from(error: CodecError) -> Self {
        Self::Malformed(error.0)
    }
}

impl From<LogError> for std::io::Error {
    fn from(error: LogError) -> Self {
        Self::other(error)
    }
}

fn file_name(number: u64) -> String {
    format!("{DIRECTORY}/{number:016x}.log")
}

/// The writer and the reader of a file to roll to; none while the process lacks handles: the file at
/// hand grows meanwhile, so an empty one must not stay behind it.
fn new_file(files: &dyn DriveFiles, number: u64) -> Result<Option<NewFile>, DriveError> {
    let opened = files.open_log(&file_name(number));
    match opened.and_then(|file| file.reader().map(|reader| (file, reader))) {
        Ok(new) => Ok(Some(new)),
        Err(DriveError::Starved(reason)) => {
            tracing::warn!(drive = %files.drive(), reason, "the log is not rolled");
            remove_file(files, number).map(|_gone| None)
        }
        Err(error) => Err(error),
    }
}

/// Removes a file; false while the process lacks the handle that makes it durable.
fn remove_file(files: &dyn DriveFiles, number: u64) -> Result<bool, DriveError> {
    match files.remove(&file_name(number)) {
        Ok(()) => Ok(true),
        Err(DriveError::Starved(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

type NewFile = (Box<dyn LogFile>, Box<dyn LogFile>);

fn file_number(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(".log")?, 16).ok();
    number.filter(|number| *number <= COUNT_MAX)
}
