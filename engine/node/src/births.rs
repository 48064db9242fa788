//! The births of open writes: what this boot reports, so that the watermark stays below them.

use engine_types::{PartitionId, Stamp};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Births of writes whose outcome is not known yet, with how many share each.
#[derive(Debug, Default)]
pub(crate) struct Births(Mutex<BTreeMap<(PartitionId, Stamp), u32>>);

/// Keeps one birth open while it lives.
#[derive(Debug)]
pub(crate) struct OpenBirth {
    births: Arc<Births>,
    at: (PartitionId, Stamp),
}

impl Births {
    /// Opens a birth. Between a write's look at the stamp and this call a report may pass that
    /// does not name it: apply allows for that (a report holds 10 s more than it says).
    pub(crate) fn open(self: &Arc<Self>, partition: PartitionId, birth: Stamp) -> OpenBirth {
        let at = (partition, birth);
        *self.0.lock().entry(at).or_default() += 1;
        OpenBirth {
            births: Arc::clone(self),
            at,
        }
    }

    /// Writes that are open.
    pub(crate) fn open_count(&self) -> usize {
        self.0.lock().values().map(|count| *count as usize).sum()
    }

    /// Whether anything is being written.
    pub(crate) fn any(&self) -> bool {
        !self.0.lock().is_empty()
    }

    /// The oldest open birth of a partition.
    pub(crate) fn oldest(&self, partition: PartitionId) -> Option<Stamp> {
        #[cfg(sabotage)]
        if engine_types::sabotage("forget-open-births") {
            return None;
        }
        let births = self.0.lock();
        let mut of = births.range((partition, Stamp(0))..=(partition, Stamp(u64::MAX)));
        of.next().map(|((_, stamp), _)| *stamp)
    }
}

impl Drop for OpenBirth {
    fn drop(&mut self) {
        let mut births = self.births.0.lock();
        if let Some(count) = births.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                births.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_holds_until_the_last_of_it_ends() {
        let births = Arc::new(Births::default());
        let (p, q) = (PartitionId(1), PartitionId(2));
        assert_eq!(births.oldest(p), None);
        let first = births.open(p, Stamp(5));
        let again = births.open(p, Stamp(5));
        let later = births.open(p, Stamp(9));
        let other = births.open(q, Stamp(1));
        drop(first);
        assert_eq!(births.oldest(p), Some(Stamp(5)));
        drop(again);
        assert_eq!(births.oldest(p), Some(Stamp(9)));
        assert_eq!(births.oldest(q), Some(Stamp(1)));
        drop((later, other));
        assert_eq!(births.oldest(p), None);
    }
}
