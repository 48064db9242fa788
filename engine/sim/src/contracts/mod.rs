//! One suite a port, run on the real implementation and on the fake: what holds for one holds for
//! the other. Suites panic where the contract is broken.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "suites are tests: a broken contract is a panic with its reason"
)]

pub mod drive_files;
pub mod shard_store;
