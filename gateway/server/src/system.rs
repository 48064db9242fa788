//! The machine's clock and randomness, behind the engine's ports.

use engine_core::ports::{Clock, Entropy};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::{Duration, Instant, SystemTime};

/// The system's clocks.
#[derive(Debug)]
pub(crate) struct SystemClock(Instant);

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        // Before 1970 it is behind every stamp, and partitions go by the monotonic clock.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The kernel's randomness.
#[derive(Debug)]
pub(crate) struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    pub(crate) fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Keys from anything else would be worse than none: a kernel without randomness ends us.
        if self.0.fill(bytes).is_err() {
            std::process::abort();
        }
    }
}
