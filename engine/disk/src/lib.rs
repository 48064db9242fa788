//! Shards in segments, drive marks and the one file layer.
//!
//! In reading order: [`mod@file`] (every system call that touches a drive), [`mark`] and [`drives`]
//! (what a path must say of itself before it is used), then the shard store: [`SegmentStore`] over
//! segments, index, log of frees, recovery and reclaiming.
//!
//! Threads of one open store: one appender (all writes and frees, in order), one reclaimer (holes,
//! dead segments, the view of free room), now and then one that shortens the log of frees; reads run on tokio's blocking threads, a few at a time.
//! Of a crash it loses at most records that nobody was told of.
#![deny(unsafe_code)]

mod aligned;
mod append;
mod asked;
mod bad_places;
mod directories;
mod drive_dir;
mod drive_file;
pub mod drives;
mod empty_path;
mod erase;
pub mod file;
mod free_log;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod index;
mod log_file;
pub mod mark;
mod mark_error;
pub mod options;
mod read;
mod reclaim;
mod recover;
mod room;
mod scan;
mod scrub;
mod segment;
mod shorten;
mod space;
mod staging;
mod standing;
mod store;
#[cfg(test)]
mod tests;
mod witness;

pub use drive_dir::DriveDir;
pub use drives::{Drive, EmptyPath, Opened, open_drives};
pub use file::{OpenError, Root};
pub use mark::{DriveState, Mark, MarkError};
pub use options::Options;
pub use recover::Recovery;
pub use store::SegmentStore;
pub use witness::Role;
