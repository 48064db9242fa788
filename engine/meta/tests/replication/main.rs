//! The replication half, from the drive's log up to whole nodes, over doubles of drive and clock.
#![expect(
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod ahead;
mod common;
mod digests;
mod fjall_promises;
mod journals;
mod log;
mod log_copies;
mod majority;
mod newer;
mod node;
mod openraft_promises;
mod rest;
mod returns;
mod snapshots;
#[cfg(slow)]
mod throughput;
