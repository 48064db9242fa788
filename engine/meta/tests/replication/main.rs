//! The replication half, from the drive's log up to whole nodes, over doubles of drive and clock.
#![expect(
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;
mod digests;
mod fjall_promises;
mod log;
mod newer;
mod node;
mod openraft_promises;
mod returns;
mod snapshots;
#[cfg(slow)]
mod throughput;
