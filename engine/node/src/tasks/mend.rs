//! Brings one stripe where it should be: missing shards made anew, sound ones moved, or all of it
//! striped anew.
//!
//! The order is the promise: the stamp is read and its birth opened, *then* the drives are looked
//! at (so no copy is younger than the birth that holds the watermark, and a drive that left
//! placement before the birth is not chosen after it); the new copies are durable; then one
//! compare-and-set names them and buries the old ones. Where the map moved meanwhile the new copies
//! are freed and nothing is lost; where the process dies before the commit they are orphans.

use super::stripe_map;
use crate::EngineError;
use crate::budget::Turn;
use crate::cross_check::check_memory;
use crate::engine::Inner;
use crate::stripe_read::StripeAt;
use crate::stripe_write::{
    Encoded, PartIdentity, RECORD_SLACK, STRIPE_TAIL, Shard, StripeShape, stripe_memory,
};
use crate::written::Written;
use bytes::Bytes;
use engine_core::erasure::Codec;
use engine_core::format::block_checksums;
use engine_core::meta::{Slot, Stripe};
use engine_core::placement::{Fleet, PlacementKey, Plan, Work};
use engine_core::stripes::{Geometry, STRIPE_BYTES_MAX, shard_length};
use engine_types::{BirthId, CopyToken, DriveId, Stamp};
use std::sync::Arc;

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Mended {
    /// It was as it should be, or is no more.
    Sound,
    /// The drives do not allow it now.
    Blocked,
    /// Its map moved meanwhile.
    Raced,
    /// Done.
    Done {
        /// Shards written.
        shards: u64,
        /// Their payload bytes.
        bytes: u64,
        /// Copies on drives that do not keep theirs, which are no longer named: drive, bytes.
        rid: Vec<(DriveId, u64)>,
    },
}

/// What one stripe needs, as the drives stand.
pub(super) fn plan(fleet: &Fleet, at: &StripeAt, stripe: &Stripe, bad: Option<u8>) -> Plan {
    let (k, m) = (stripe.k, stripe.m);
    let slots: Vec<Option<DriveId>> = stripe
        .slots
        .iter()
        .map(|slot| slot.map(|slot| slot.drive))
        .collect();
    let key = PlacementKey::stripe(at.data, at.stripe);
    fleet.plan(key, Geometry { k, m }, &slots, bad)
}

/// Room that a drive must have to be given any shard of a stripe, whatever its form.
pub(super) fn room() -> u64 {
    STRIPE_BYTES_MAX as u64 + RECORD_SLACK
}

/// A copy that was reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    /// Shard of the stripe.
    pub(super) index: u8,
    /// The copy.
    pub(super) slot: Slot,
    /// Its checksums hold, and its bytes are wrong.
    pub(super) lies: bool,
}

/// Mends one stripe as far as the drives allow.
pub(super) async fn mend(
    inner: &Arc<Inner>,
    at: &StripeAt,
    suspect: Option<Suspect>,
) -> Result<Mended, EngineError> {
    let _mending = inner.rebuild.begin();
    let Some(from) = stripe_map::current(inner, at).await? else {
        return Ok(Mended::Sound);
    };
    let Some(codec) = Codec::from_id(from.codec) else {
        return Ok(Mended::Blocked);
    };
    let absent = |slot: &Slot| inner.drives.is_absent(slot.drive);
    if from.slots.iter().flatten().any(absent) {
        // The row may be younger than the layout known here: a drive it names and we do not know
        // has left only if control, asked after the row was read, does not know it either.
        inner.read_layout().await?;
    }
    let bad = match suspect {
        Some(suspect) => unsound(inner, at, &from, suspect).await,
        None => None,
    };
    let stamp = inner.metadata.stamp(at.partition).await?;
    let _birth = inner.births.open(at.partition, stamp);
    let fleet = inner.drives.fleet(room());
    let job = Job {
        inner,
        at,
        from: &from,
        bad,
        stamp,
        written: Written::new(Arc::clone(inner)),
    };
    let to = match plan(&fleet, at, &from, bad).work {
        Work::None => return Ok(Mended::Sound),
        Work::Blocked => return Ok(Mended::Blocked),
        Work::Move(moves) | Work::Balance(moves) => job.move_shards(codec, &moves).await?,
        Work::Restripe { geometry, drives } => job.restripe(geometry, &drives).await?,
    };
    job.commit(&fleet, to).await
}

/// The shard, if the map still names the copy and that is unsound. A report may be old, so the copy
/// is read again whole, except where its checksums are known to be those of wrong bytes. A drive
/// that does not answer says nothing of its copies.
async fn unsound(inner: &Inner, at: &StripeAt, stripe: &Stripe, suspect: Suspect) -> Option<u8> {
    use engine_core::ports::DriveError::{Corrupt, NotFound};
    let Suspect { index, slot, lies } = suspect;
    let named = stripe.slots.get(usize::from(index)).copied().flatten();
    let here = inner.drives.get(slot.drive).filter(|d| d.readable());
    let here = here.filter(|_| named == Some(slot))?;
    #[cfg(sabotage)]
    let lies = lies && !engine_types::sabotage("believe-liars");
    let verify = here.store.verify(slot.token);
    let unsound = match inner.drives.run(&here, "verify", verify).await {
        Ok(header) => {
            lies || (header.data, header.stripe, header.index) != (at.data, at.stripe, index)
        }
        Err(error) => matches!(error, NotFound | Corrupt(_)),
    };
    unsound.then_some(index)
}

/// One stripe on its way.
struct Job<'a> {
    inner: &'a Arc<Inner>,
    at: &'a StripeAt,
    from: &'a Stripe,
    bad: Option<u8>,
    stamp: Stamp,
    written: Written,
}

impl Job<'_> {
    fn slot(&self, drive: DriveId) -> Slot {
        let slot = Slot {
            drive,
            token: CopyToken::born(self.stamp, self.inner.entropy()),
        };
        self.written.add(slot);
        slot
    }

    fn part(&self) -> PartIdentity {
        let at = self.at;
        PartIdentity {
            partition: at.partition,
            bucket: at.bucket,
            key: at.key.clone(),
            data: at.data,
            number: 0,
        }
    }

    /// Writes single shards anew, one after the other.
    async fn move_shards(
        &self,
        codec: Codec,
        moves: &[(u8, DriveId)],
    ) -> Result<Stripe, EngineError> {
        let Stripe { k, m, length, .. } = *self.from;
        let shard = shard_length(length, k) as usize;
        let memory = shard + check_memory(length, (k, m));
        let _grant = self.inner.buffers.grant(memory, Turn::New).await?;
        let shape = StripeShape {
            codec,
            index: self.at.stripe,
            k,
            m,
            length,
        };
        let (part, mut to) = (self.part(), self.from.clone());
        for (index, drive) in moves {
            let payload = self.shard(*index).await?;
            let crcs = block_checksums(&payload);
            let shard = Shard {
                index: *index,
                payload,
                crcs,
            };
            let slot = self.slot(*drive);
            let append = self.inner.append_shard(&part, shape, shard, slot);
            append.await.map_err(failed)?;
            if let Some(place) = to.slots.get_mut(usize::from(*index)) {
                *place = Some(slot);
            }
        }
        Ok(to)
    }

    /// One shard's bytes: as they stand on a drive that is being emptied, else from others that agree.
    async fn shard(&self, index: u8) -> Result<Bytes, EngineError> {
        let whole = 0..shard_length(self.from.length, self.from.k);
        let slot = self.from.slots.get(usize::from(index)).copied().flatten();
        let readable = |slot: &Slot| {
            self.inner
                .drives
                .get(slot.drive)
                .is_some_and(|d| d.readable())
        };
        if self.bad != Some(index)
            && slot.as_ref().is_some_and(readable)
            && let Ok(bytes) = self
                .inner
                .read_shard(self.at, self.from, index, whole.clone())
                .await
        {
            return Ok(bytes);
        }
        let inner = self.inner;
        inner.make_shard(self.at, self.from, index, self.bad).await
    }

    /// Writes all of the stripe in another form.
    async fn restripe(
        &self,
        geometry: Geometry,
        drives: &[DriveId],
    ) -> Result<Stripe, EngineError> {
        let (inner, at, length) = (self.inner, self.at, self.from.length);
        let memory = stripe_memory(length, geometry);
        let check = check_memory(length, (self.from.k, self.from.m));
        let grant = inner.buffers.grant(memory + check, Turn::New).await?;
        let mut buffer = inner.buffers.buffer(length as usize + STRIPE_TAIL, grant);
        let (cipher, tail) = buffer.split_at_mut(length as usize);
        inner
            .read_to_encode(at, self.from, self.bad, cipher)
            .await?;
        tail.fill(0);
        let index = at.stripe;
        let encode = move || Encoded::new(index, length, buffer, geometry);
        let encoded = Arc::new(inner.compute.run(encode).await??);
        let part = self.part();
        let appends = drives.iter().enumerate().map(|(index, drive)| {
            let slot = self.slot(*drive);
            inner.append(&part, Arc::clone(&encoded), index, slot)
        });
        let mut slots = vec![None; geometry.shards()];
        for (index, slot) in futures::future::join_all(appends)
            .await
            .into_iter()
            .flatten()
        {
            slots[index] = Some(slot);
        }
        if slots.iter().any(Option::is_none) {
            return Err(failed("a drive failed while a stripe was written anew"));
        }
        Ok(Stripe {
            codec: Codec::for_data_shards(geometry.k).id(),
            k: geometry.k,
            m: geometry.m,
            length,
            slots,
        })
    }

    async fn commit(self, fleet: &Fleet, to: Stripe) -> Result<Mended, EngineError> {
        let from = self.from;
        let old: Vec<Slot> = from.slots.iter().flatten().copied().collect();
        #[cfg(sabotage)]
        if engine_types::sabotage("free-before-move") {
            let gone: Vec<Slot> = old
                .iter()
                .filter(|s| !to.slots.contains(&Some(**s)))
                .copied()
                .collect();
            self.inner.free(&gone).await;
        }
        let shards = to.slots.iter().flatten().filter(|slot| !old.contains(slot));
        let shards = u64::try_from(shards.count()).unwrap_or(u64::MAX);
        let bytes = shards * u64::from(shard_length(to.length, to.k));
        let held = u64::from(shard_length(from.length, from.k));
        let rid = old.iter().filter(|slot| !fleet.keeps(slot.drive));
        let rid = rid.map(|slot| (slot.drive, held)).collect();
        let moved = stripe_map::change(self.inner, self.at, (from.clone(), to), &self.written);
        Ok(if moved.await? {
            Mended::Done { shards, bytes, rid }
        } else {
            Mended::Raced
        })
    }
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Unavailable(error.to_string())
}
