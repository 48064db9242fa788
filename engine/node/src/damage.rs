//! What readers find damaged or missing, handed to whoever repairs: a bounded queue, never waited on.

use crate::metrics::DAMAGE_DROPPED;
use engine_types::{BucketId, DataId, DriveId, ObjectKey, PartitionId};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Most reports that wait. What does not fit is counted and found again by scrub.
pub(crate) const DAMAGE_QUEUE_MAX: usize = 1024;

/// One shard that did not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the part's rows are.
    pub partition: PartitionId,
    /// Bucket.
    pub bucket: BucketId,
    /// Key.
    pub key: ObjectKey,
    /// Part.
    pub data: DataId,
    /// Stripe of the part.
    pub stripe: u32,
    /// Shard of the stripe.
    pub index: u8,
    /// Drive it should be on.
    pub drive: DriveId,
    /// What was answered instead.
    pub reason: String,
}

/// Both ends of the queue.
#[derive(Debug)]
pub(crate) struct DamageQueue {
    send: mpsc::Sender<Damage>,
    receive: Mutex<Option<mpsc::Receiver<Damage>>>,
}

impl DamageQueue {
    pub(crate) fn new() -> Self {
        let (send, receive) = mpsc::channel(DAMAGE_QUEUE_MAX);
        Self {
            send,
            receive: Mutex::new(Some(receive)),
        }
    }
    pub(crate) fn report(&self, damage: Damage) {
        tracing::warn!(?damage, "shard damaged or missing");
        if self.send.try_send(damage).is_err() {
            metrics::counter!(DAMAGE_DROPPED).increment(1);
        }
    }
    /// The receiving end; once.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Damage>> {
        self.receive.lock().take()
    }
}
