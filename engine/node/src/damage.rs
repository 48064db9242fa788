//! What readers and the scrub find damaged or missing, handed to whoever repairs: a bounded queue,
//! never waited on, out of which the most urgent comes first.
//!
//! Urgent is what bears the fewest further losses. Where the queue is full a more urgent report takes
//! the place of the least urgent one; what has no place is counted, and the scrub finds it again.

use crate::engine::Inner;
use crate::metrics::DAMAGE_DROPPED;
use crate::stripe_read::StripeAt;
use engine_core::meta::{Slot, Stripe};
use engine_core::ports::DriveError;
use engine_types::{BucketId, CopyToken, DataId, DriveId, ObjectKey, PartitionId};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

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
    /// The copy: a report speaks of no later one.
    pub token: CopyToken,
    /// A reader has seen that its bytes are not authentic and that what the others make of it is:
    /// its own checksums say nothing, for they were made of the wrong bytes.
    pub lies: bool,
    /// Further shards of the stripe that may be lost with nothing lost; 0 is most urgent.
    pub bears: u8,
    /// What was answered instead.
    pub reason: String,
}

impl Damage {
    fn shard(&self) -> Shard {
        (self.data, self.stripe, self.index, self.drive, self.token)
    }
}

type Shard = (DataId, u32, u8, DriveId, CopyToken);
/// Losses borne, then order of arrival.
type Urgency = (u8, u64);

#[derive(Debug, Default)]
struct Waiting {
    by_urgency: BTreeMap<Urgency, Damage>,
    shards: BTreeMap<Shard, Urgency>,
    arrived: u64,
    /// Reports without a place since somebody was told that there is none.
    dropped: u64,
}

impl Waiting {
    fn put(&mut self, damage: Damage) {
        tracing::warn!(?damage, "shard damaged or missing");
        self.arrived += 1;
        let urgency = (damage.bears, self.arrived);
        self.shards.insert(damage.shard(), urgency);
        self.by_urgency.insert(urgency, damage);
    }
    fn take(&mut self, urgency: Urgency) -> Option<Damage> {
        let damage = self.by_urgency.remove(&urgency)?;
        self.shards.remove(&damage.shard());
        Some(damage)
    }
    /// Counts a report that has no place. True: nobody was told yet that there is none, which is told
    /// once until half of the queue is worked off: a lost drive brings a report with each read.
    fn drop_one(&mut self) -> bool {
        self.dropped += 1;
        self.dropped == 1
    }
    fn worked_off(&mut self) {
        if self.dropped > 0 && self.by_urgency.len() <= DAMAGE_QUEUE_MAX / 2 {
            let reports = std::mem::take(&mut self.dropped);
            tracing::info!(
                reports,
                "room for reports of damage again; so many had none"
            );
        }
    }
    /// Whether the shard's report waits already; what a new one knows more is kept with it.
    fn knows(&mut self, damage: &Damage) -> bool {
        let Some(urgency) = self.shards.get(&damage.shard()) else {
            return false;
        };
        if let Some(waiting) = self.by_urgency.get_mut(urgency) {
            waiting.lies |= damage.lies;
        }
        true
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

/// Both ends of the queue.
#[derive(Debug, Default)]
pub(crate) struct DamageQueue {
    shared: Arc<Shared>,
    taken: AtomicBool,
}

/// The receiving end.
#[derive(Debug)]
pub struct Reports(Arc<Shared>);

impl Reports {
    /// The most urgent report, if one waits.
    pub fn pop(&mut self) -> Option<Damage> {
        let mut waiting = self.0.waiting.lock();
        let (first, _) = waiting.by_urgency.first_key_value()?;
        let first = *first;
        let damage = waiting.take(first);
        waiting.worked_off();
        damage
    }
    /// Waits for one.
    pub async fn recv(&mut self) -> Damage {
        let shared = Arc::clone(&self.0);
        loop {
            let arrived = shared.arrived.notified();
            if let Some(damage) = self.pop() {
                return damage;
            }
            arrived.await;
        }
    }
}

impl DamageQueue {
    /// Queues a report. True: it waits now, or waited already.
    pub(crate) fn report(&self, damage: Damage) -> bool {
        let mut waiting = self.shared.waiting.lock();
        if waiting.knows(&damage) {
            return true;
        }
        if waiting.by_urgency.len() >= DAMAGE_QUEUE_MAX {
            metrics::counter!(DAMAGE_DROPPED).increment(1);
            let last = waiting.by_urgency.last_key_value().map(|(last, _)| *last);
            match last {
                Some(last) if last.0 > damage.bears => drop(waiting.take(last)),
                _ => {
                    if waiting.drop_one() {
                        tracing::warn!(?damage, "no room for further reports of damage");
                    }
                    return false;
                }
            }
        }
        waiting.put(damage);
        drop(waiting);
        self.shared.arrived.notify_one();
        true
    }

    /// Drops what waits of a stripe that cannot be mended: its own repair would report it again. Not
    /// what is known to lie: only a reader can tell, and with it mended the rest may well be.
    pub(crate) fn forget(&self, data: DataId, stripe: u32) {
        let mut waiting = self.shared.waiting.lock();
        let of = |d: &Damage| (d.data, d.stripe) == (data, stripe) && !d.lies;
        let forgotten = waiting.by_urgency.iter().filter(|(_, d)| of(d));
        let urgencies: Vec<Urgency> = forgotten.map(|(urgency, _)| *urgency).collect();
        for urgency in urgencies {
            drop(waiting.take(urgency));
        }
    }

    /// The receiving end; once.
    pub(crate) fn take(&self) -> Option<Reports> {
        let first = !self.taken.swap(true, Ordering::AcqRel);
        first.then(|| Reports(Arc::clone(&self.shared)))
    }
}

impl Inner {
    /// Further shards of a stripe, of which one is found bad, that may be lost with nothing lost.
    fn bears(&self, stripe: &Stripe) -> u8 {
        let readable = |slot: &&Slot| self.drives.get(slot.drive).is_some_and(|d| d.readable());
        let there = stripe.slots.iter().flatten().filter(readable).count();
        let needed = usize::from(stripe.k) + 1;
        u8::try_from(there.saturating_sub(needed)).unwrap_or(u8::MAX)
    }

    /// Queues the repair of a shard that is damaged or not where the map says. True: it waits.
    pub(crate) fn report(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        index: u8,
        error: &DriveError,
    ) -> bool {
        let damaged = matches!(error, DriveError::NotFound | DriveError::Corrupt(_));
        damaged && self.queue(at, stripe, index, (error.to_string(), false))
    }

    /// Queues the repair of a shard whose checksums hold and whose bytes are not authentic, as a
    /// reader has proved by those that the others make of it.
    pub(crate) fn report_liar(&self, at: &StripeAt, stripe: &Stripe, index: u8) -> bool {
        self.queue(at, stripe, index, ("not authentic".into(), true))
    }

    fn queue(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        index: u8,
        (reason, lies): (String, bool),
    ) -> bool {
        let slot = stripe.slots.get(usize::from(index)).copied().flatten();
        let Some(slot) = slot else { return false };
        self.damage.report(Damage {
            partition: at.partition,
            bucket: at.bucket,
            key: at.key.clone(),
            data: at.data,
            stripe: at.stripe,
            index,
            drive: slot.drive,
            token: slot.token,
            lies,
            bears: self.bears(stripe),
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(stripe: u32, bears: u8) -> Damage {
        Damage {
            partition: PartitionId(1),
            bucket: BucketId(1),
            key: ObjectKey::parse("k").expect("a key"),
            data: DataId([1; 16]),
            stripe,
            index: 0,
            drive: DriveId(1),
            token: CopyToken([2; 16]),
            lies: false,
            bears,
            reason: String::new(),
        }
    }

    #[test]
    fn the_most_urgent_comes_first_and_each_once() {
        let queue = DamageQueue::default();
        for (stripe, bears) in [(1, 1), (2, 0), (3, 1), (1, 1)] {
            assert!(queue.report(damage(stripe, bears)));
        }
        let mut reports = queue.take().expect("once");
        assert!(queue.take().is_none());
        let liar = Damage {
            lies: true,
            ..damage(3, 1)
        };
        assert!(queue.report(liar), "that one waits: it is known to lie now");
        let order: Vec<(u32, bool)> =
            std::iter::from_fn(|| reports.pop().map(|d| (d.stripe, d.lies))).collect();
        assert_eq!(order, [(2, false), (1, false), (3, true)]);
        assert!(queue.report(damage(1, 1)), "it may come again");
        assert!(reports.pop().is_some());
    }

    #[test]
    fn what_is_known_to_lie_is_not_forgotten_with_its_stripe() {
        let queue = DamageQueue::default();
        let lies = Damage {
            index: 1,
            lies: true,
            ..damage(1, 1)
        };
        for damage in [damage(1, 1), damage(2, 1), lies] {
            assert!(queue.report(damage));
        }
        queue.forget(DataId([1; 16]), 1);
        let mut reports = queue.take().expect("once");
        let left: Vec<(u32, bool)> =
            std::iter::from_fn(|| reports.pop().map(|d| (d.stripe, d.lies))).collect();
        assert_eq!(left, [(2, false), (1, true)]);
    }

    #[test]
    fn a_full_queue_takes_the_more_urgent_only() {
        let queue = DamageQueue::default();
        for stripe in (0..).take(DAMAGE_QUEUE_MAX) {
            assert!(queue.report(damage(stripe, 1)), "{stripe}");
        }
        assert!(!queue.report(damage(5000, 1)), "one past it");
        assert!(queue.report(damage(6000, 0)), "instead of the last");
        let mut reports = queue.take().expect("once");
        assert_eq!(reports.pop().map(|d| d.stripe), Some(6000));
        let left = std::iter::from_fn(|| reports.pop()).count();
        assert_eq!(left, DAMAGE_QUEUE_MAX - 1);
    }

    #[test]
    fn that_there_is_no_room_is_told_once_until_half_is_worked_off() {
        let queue = DamageQueue::default();
        for stripe in (0..).take(DAMAGE_QUEUE_MAX) {
            queue.report(damage(stripe, 1));
        }
        let dropped = || queue.shared.waiting.lock().dropped;
        for one in 1..=3 {
            assert!(!queue.report(damage(9000, 1)));
            assert_eq!(dropped(), one, "told with the first");
        }
        let mut reports = queue.take().expect("once");
        for _ in 1..DAMAGE_QUEUE_MAX / 2 {
            reports.pop();
        }
        assert_eq!(dropped(), 3, "one short of it");
        reports.pop();
        assert_eq!(dropped(), 0, "the next is told again");
    }
}
