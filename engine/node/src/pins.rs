//! Pins: which applied indexes running reads still rest on. What died at or above the oldest pin
//! of its partition stays on the drives.

use engine_types::PartitionId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pinned indexes, with how many readers share each.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<BTreeMap<(PartitionId, u64), u32>>);

/// Holds (partition, applied index) while it lives: `dead` data younger than it stays.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    at: (PartitionId, u64),
}

impl Pins {
    /// Pins what was applied before the row was read, so never more than the read saw.
    pub(crate) fn pin(self: &Arc<Self>, partition: PartitionId, index: u64) -> Pin {
        *self.0.lock().entry((partition, index)).or_default() += 1;
        Pin {
            pins: Arc::clone(self),
            at: (partition, index),
        }
    }

    /// Whether anything is being read.
    pub(crate) fn any(&self) -> bool {
        !self.0.lock().is_empty()
    }

    /// The oldest pin of a partition: dead rows with an index above it stay.
    pub(crate) fn oldest(&self, partition: PartitionId) -> Option<u64> {
        #[cfg(sabotage)]
        if engine_types::sabotage("ignore-pins") {
            return None;
        }
        let pins = self.0.lock();
        let mut of = pins.range((partition, 0)..=(partition, u64::MAX));
        of.next().map(|((_, index), _)| *index)
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        let (partition, index) = self.at;
        self.pins.pin(partition, index)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        if let Some(count) = pins.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.at);
            }
        }
    }
}
