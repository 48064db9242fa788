//! Watches the drives, and takes newer layouts from control.

use crate::EngineError;
use crate::engine::Inner;
use crate::metrics::DRIVES;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// Ticks between two looks at the layout: it changes by operators' commands only.
const LAYOUT_TICKS: u32 = 10;

#[derive(Debug, Default)]
pub(crate) struct DriveWatch {
    ticks: u32,
}

#[async_trait]
impl Worker for DriveWatch {
    fn name(&self) -> &'static str {
        "drives"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.probe_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        use crate::drives::Service;
        inner.drives.probe().await;
        let (mut up, mut full, mut read_only, mut out) = (0, 0, 0, 0);
        for drive in inner.drives.status() {
            match drive.service {
                Service::Up => up += 1,
                Service::Full => full += 1,
                Service::ReadOnly => read_only += 1,
                Service::Out(_) => out += 1,
            }
        }
        for (state, count) in [
            ("up", up),
            ("full", full),
            ("read_only", read_only),
            ("out", out),
        ] {
            metrics::gauge!(DRIVES, "state" => state).set(f64::from(count));
        }
        self.ticks += 1;
        if self.ticks >= LAYOUT_TICKS {
            self.ticks = 0;
            inner.read_layout().await?;
        }
        Ok(Progress::Done)
    }
}
