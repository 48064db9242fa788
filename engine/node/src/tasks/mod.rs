//! The background work there is.

mod buckets;
mod drives;
mod gc;
mod report;

use crate::engine::Inner;
use crate::worker;
use std::sync::Arc;

/// Starts all of it.
pub(crate) fn start(inner: &Arc<Inner>) {
    worker::start(inner, report::Reporter::default());
    worker::start(inner, drives::DriveWatch);
    worker::start(inner, gc::Collector::default());
    worker::start(inner, buckets::Settler);
}
