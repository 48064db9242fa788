//! The background work there is.

mod buckets;
mod drives;
mod empty;
mod gc;
mod leavers;
mod mend;
pub(crate) mod orphans;
pub(crate) mod pack;
mod repair;
mod report;
pub(crate) mod scrub;
mod stripe_map;
mod stripes;
mod walk;

use crate::engine::Inner;
use crate::worker;
use std::sync::Arc;

/// Starts all of it.
pub(crate) fn start(inner: &Arc<Inner>) {
    worker::start(inner, report::Reporter::default());
    worker::start(inner, drives::DriveWatch::default());
    worker::start(inner, gc::Collector::default());
    worker::start(inner, buckets::Settler);
    worker::start(inner, repair::Repairer::default());
    worker::start(inner, walk::Walker::default());
    worker::start(inner, orphans::Sweeper::default());
    worker::start(inner, scrub::Scrubber::default());
    worker::start(inner, empty::Emptier::default());
    worker::start(inner, pack::Packer::default());
    worker::start(inner, crate::keyring::Rewrapper::default());
    worker::start(inner, crate::idle_read::Sweeper);
    worker::start(inner, crate::buffers::Trimmer);
}
