//! Copies written by one attempt at a part, until a commit names them.
//!
//! They are freed when the attempt ends without a commit under way. Once a commit was proposed only
//! a definite refusal frees them; an unknown outcome leaves them to the orphan clean-up.

use crate::engine::Inner;
use crate::metrics::SHARDS_FREED;
use engine_core::meta::Slot;
use engine_types::{CopyToken, DriveId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The copies of one attempt. Dropped while armed, it frees them in the background.
#[derive(Debug)]
pub(crate) struct Written {
    inner: Arc<Inner>,
    slots: Mutex<Vec<Slot>>,
    armed: AtomicBool,
}

impl Written {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            slots: Mutex::default(),
            armed: AtomicBool::new(true),
        }
    }
    /// Called before the append: a copy whose append was cut off may be on the drive as well.
    pub(crate) fn add(&self, slot: Slot) {
        self.slots.lock().push(slot);
    }
    /// A copy that no stripe will name goes now or never.
    pub(crate) fn abandon(&self, slots: &[Slot]) {
        self.slots.lock().retain(|slot| !slots.contains(slot));
        self.inner.free_later(slots.to_vec());
    }
    /// From here on the commit may take place.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
    }
    /// The commit was definitely refused.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.armed.load(Ordering::Acquire) {
            self.inner
                .free_later(std::mem::take(&mut *self.slots.lock()));
        }
    }
}

impl Inner {
    /// Frees copies on drives that answer; the others' are orphans.
    pub(crate) fn free_later(self: &Arc<Self>, slots: Vec<Slot>) {
        if slots.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        self.life.spawn(async move {
            let freed = inner.free(&slots).await;
            if !freed {
                tracing::debug!(
                    copies = slots.len(),
                    "some copies are left to the orphan clean-up"
                );
            }
        });
    }

    /// Whether a drive is gone or has left the layout: nobody waits for what it would say.
    async fn has_left(&self, id: DriveId) -> bool {
        if self.drives.is_absent(id) {
            // Asked after whatever named the drive was read: a layout from before could be too old
            // to know it.
            return self.read_layout().await.is_ok() && self.drives.is_absent(id);
        }
        self.drives.is_gone(id)
    }

    /// Frees copies, durably. True: every drive has acknowledged, or is gone for good.
    pub(crate) async fn free(&self, slots: &[Slot]) -> bool {
        let acknowledged = self.free_where_it_can_be(slots).await;
        slots.iter().all(|slot| acknowledged.contains(&slot.drive))
    }

    /// Frees copies, one call a drive; the drives that have acknowledged all of theirs, durably, or are
    /// gone for good.
    pub(crate) async fn free_where_it_can_be(&self, slots: &[Slot]) -> BTreeSet<DriveId> {
        let mut by_drive: BTreeMap<DriveId, Vec<CopyToken>> = BTreeMap::new();
        for slot in slots {
            by_drive.entry(slot.drive).or_default().push(slot.token);
        }
        let frees = by_drive.into_iter().map(|(id, tokens)| async move {
            let here = self.drives.get(id).filter(|drive| drive.readable());
            let Some(drive) = here else {
                return self.has_left(id).await.then_some(id);
            };
            let free = drive.store.free(&tokens);
            self.drives.run_write(&drive, "free", free).await.ok()?;
            let count = u64::try_from(tokens.len()).unwrap_or(u64::MAX);
            metrics::counter!(SHARDS_FREED).increment(count);
            Some(id)
        });
        let acknowledged = futures::future::join_all(frees).await;
        acknowledged.into_iter().flatten().collect()
    }
}
