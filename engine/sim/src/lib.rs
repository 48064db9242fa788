//! Fakes and contract suites of the ports; deterministic simulation.

pub mod contracts;
mod drive_files;
mod shard_store;

pub use drive_files::FakeDrive;
pub use shard_store::FakeShardStore;
