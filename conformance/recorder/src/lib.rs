//! Records every write and sync of a process below one directory (`LD_PRELOAD`).
//!
//! `RECORD_ROOT` names the directory, `RECORD_LOG` the file events are appended to, in the order they
//! happened. A write is logged after it returned and a sync before it began and after it ended, so
//! "logged before a sync began" implies "on the file before that sync": the model in
//! `conformance/src/powercut` may only be stricter than a disk, never kinder.
//!
//! What it cannot see it refuses: shared writable mappings are logged as [`Kind::Unseen`], which
//! fails the proof; `copy_file_range` answers ENOSYS, upon which std copies by read and write.
//! Calls that bypass libc are invisible: engine/disk uses rustix's libc backend for that reason.

mod calls;
pub mod event;
mod log;

pub use event::{Event, Events, Kind};
