//! The replication half, from the drive's log up to whole nodes, over doubles of drive and clock.
#![expect(
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;
mod fjall_promises;
mod log;
mod node;
mod openraft_promises;
mod snapshots;
#[cfg(slow)]
mod throughput;
