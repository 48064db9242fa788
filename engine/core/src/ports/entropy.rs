//! Time and randomness, so that nothing else reads them.

use std::fmt::Debug;
use std::time::Duration;

/// Time as a node sees it.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch; may jump. Only leaders' stamps, logs and signatures use it.
    fn unix_ms(&self) -> u64;
    /// Time since some fixed start; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Cryptographic randomness.
pub trait Entropy: Send + Sync + Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}
