//! Fakes and contract suites of the ports; deterministic simulation.

pub mod contracts;
mod drive_files;
#[cfg(feature = "metadata")]
mod metadata;
mod shard_store;

pub use drive_files::FakeDrive;
#[cfg(feature = "metadata")]
pub use metadata::{FakeMetadata, Fault};
pub use shard_store::FakeShardStore;
