//! The replication half, from the drive's log up to whole nodes, over doubles of drive and clock.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod ahead;
mod clocks;
mod common;
mod digests;
mod fjall_promises;
mod journals;
mod log;
mod log_copies;
mod log_files;
mod log_histories;
mod look_ups;
mod lost_votes;
mod majority;
mod newer;
mod node;
mod opening;
mod openraft_promises;
mod reads;
mod real;
mod rest;
mod returns;
mod snapshots;
mod stops;
mod syncs;
#[cfg(slow)]
mod throughput;
mod toy;
mod truth;
mod witness;
