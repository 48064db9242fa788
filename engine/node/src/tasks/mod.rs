//! The background work there is.

mod buckets;
mod drives;
mod gc;
mod orphans;
mod repair;
mod report;

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
    worker::start(inner, orphans::Sweeper::default());
}
