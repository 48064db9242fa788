//! One stripe onto the drives: encode, place, append to all at once, each copy durable.
//!
//! A drive that fails while the stripe is written is replaced by another; where too few are left
//! for the geometry, the stripe is encoded anew from its buffer in the geometry that fits. A slot
//! stays empty only in place of a drive that is out of service ([`Geometry::choose`]).

use crate::EngineError;
use crate::buffers::Buffer;
use crate::drives::View;
use crate::engine::Inner;
use crate::metrics::{STRIPES_QUEUED, STRIPES_REWRITTEN};
use crate::written::Written;
use bytes::Bytes;
use engine_core::erasure::{self, Codec};
use engine_core::format::ShardHeader;
use engine_core::meta::{Slot, Stripe, shard_owner};
use engine_core::placement::PlacementKey;
use engine_core::ports::DriveError;
use engine_core::stripes::{Choice, Geometry, shard_length};
use engine_types::{BirthId, BucketId, CopyToken, DataId, DriveId, ObjectKey, PartitionId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Zeroed room behind a stripe's ciphertext, so that its last data shard can be cut in place
/// whatever k is (64·k bytes are needed at most).
pub(crate) const STRIPE_TAIL: usize = 4096;
/// Times a stripe is tried on other drives before its write fails.
const STRIPE_ATTEMPTS_MAX: usize = 8;
/// Room a drive must have beside the shard to be chosen.
pub(crate) const RECORD_SLACK: u64 = 1 << 20;

/// Which part a stripe belongs to; goes into shard headers.
#[derive(Clone, Debug)]
pub(crate) struct PartIdentity {
    pub(crate) partition: PartitionId,
    pub(crate) bucket: BucketId,
    pub(crate) key: ObjectKey,
    pub(crate) data: DataId,
    pub(crate) number: u32,
}

/// A sealed stripe: ciphertext with its zeroed tail, and the shards cut from it.
#[derive(Debug)]
pub(crate) struct Encoded {
    index: u32,
    length: u32,
    geometry: Geometry,
    codec: Codec,
    /// Ciphertext and tail; all data shards are slices of it.
    cipher: Bytes,
    /// k + m payloads with their block checksums.
    shards: Vec<(Bytes, Vec<u32>)>,
}

impl Encoded {
    /// Encodes ciphertext of `length` bytes that stands in `buffer` before its tail. Blocking.
    pub(crate) fn new(
        index: u32,
        length: u32,
        buffer: Buffer,
        geometry: Geometry,
    ) -> Result<Self, EngineError> {
        let parity = buffer.sibling(parity_length(length, geometry));
        Self::cut(index, length, Bytes::from_owner(buffer), geometry, parity)
    }

    /// The same ciphertext in another geometry. Blocking. Its parity is not in the budget: that
    /// happens only while drives fail, once for a stripe in flight.
    fn again(&self, geometry: Geometry) -> Result<Self, EngineError> {
        let parity = vec![0; parity_length(self.length, geometry)];
        Self::cut(
            self.index,
            self.length,
            self.cipher.clone(),
            geometry,
            parity,
        )
    }

    fn cut<P>(
        index: u32,
        length: u32,
        cipher: Bytes,
        geometry: Geometry,
        mut parity: P,
    ) -> Result<Self, EngineError>
    where
        P: AsRef<[u8]> + std::ops::DerefMut<Target = [u8]> + Send + 'static,
    {
        let Geometry { k, m } = geometry;
        let codec = Codec::for_data_shards(k);
        let size = shard_length(length, k) as usize;
        if size * usize::from(k) > cipher.len() {
            return Err(EngineError::Internal(format!(
                "no room for {k} shards of {size} bytes"
            )));
        }
        let data: Vec<&[u8]> = cipher.chunks_exact(size).take(usize::from(k)).collect();
        let mut rows: Vec<&mut [u8]> = parity.chunks_exact_mut(size).collect();
        let sums = erasure::encode_summed(codec, (k, m), &data, &mut rows)
            .map_err(|error| EngineError::Internal(error.to_string()))?;
        let parity = Bytes::from_owner(parity);
        let cut =
            |from: &Bytes, n: u8| from.slice(usize::from(n) * size..(usize::from(n) + 1) * size);
        let shards = (0..k)
            .map(|n| cut(&cipher, n))
            .chain((0..m).map(|n| cut(&parity, n)));
        let shards = shards.zip(sums).collect();
        Ok(Self {
            index,
            length,
            geometry,
            codec,
            cipher,
            shards,
        })
    }
}

fn parity_length(length: u32, geometry: Geometry) -> usize {
    shard_length(length, geometry.k) as usize * usize::from(geometry.m)
}

/// Bytes a stripe of `length` ciphertext bytes takes in memory with its parity.
pub(crate) fn stripe_memory(length: u32, geometry: Geometry) -> usize {
    length as usize + STRIPE_TAIL + parity_length(length, geometry)
}

impl Inner {
    /// The geometry in which a stripe would be written now, for its buffer.
    pub(crate) fn geometry_now(&self) -> Result<Geometry, EngineError> {
        Ok(self.drives.view(RECORD_SLACK).choose()?.geometry)
    }

    /// Writes a stripe; its map once every copy is durable.
    pub(crate) async fn write_stripe(
        self: &Arc<Self>,
        part: &PartIdentity,
        stripe: Encoded,
        written: &Written,
    ) -> Result<Stripe, EngineError> {
        let mut stripe = Arc::new(stripe);
        let mut slots: Vec<Option<Slot>> = vec![None; stripe.geometry.shards()];
        for _ in 0..STRIPE_ATTEMPTS_MAX {
            let room = u64::from(shard_length(stripe.length, stripe.geometry.k)) + RECORD_SLACK;
            let view = self.drives.view(room);
            let choice = view.choose()?;
            if choice.geometry != stripe.geometry {
                metrics::counter!(STRIPES_REWRITTEN).increment(1);
                written.abandon(&slots.iter().flatten().copied().collect::<Vec<_>>());
                let old = Arc::clone(&stripe);
                stripe = Arc::new(
                    self.compute
                        .run(move || old.again(choice.geometry))
                        .await??,
                );
                slots = vec![None; stripe.geometry.shards()];
            }
            self.forget_out(&mut slots, written);
            let targets = targets(part, &stripe, choice, &view, &slots)?;
            if targets.is_empty() {
                let target = view.target();
                if target.is_some_and(|target| stripe.geometry.falls_short_of(target)) {
                    self.rebuild.wrote_weak();
                }
                return Ok(finish(&stripe, slots));
            }
            let stamp = self.metadata.stamp(part.partition).await?;
            let appends = targets.into_iter().map(|(index, drive)| {
                let slot = Slot {
                    drive,
                    token: CopyToken::born(stamp, self.entropy()),
                };
                written.add(slot);
                self.append(part, Arc::clone(&stripe), index, slot)
            });
            for (index, slot) in futures::future::join_all(appends)
                .await
                .into_iter()
                .flatten()
            {
                slots[index] = Some(slot);
            }
        }
        Err(EngineError::Unavailable(
            "drives kept failing while a stripe was written".into(),
        ))
    }

    /// A copy on a drive that has since gone out of service counts as none.
    fn forget_out(&self, slots: &mut [Option<Slot>], written: &Written) {
        for slot in slots {
            let out = |slot: &Slot| self.drives.get(slot.drive).is_none_or(|d| !d.readable());
            if let Some(gone) = slot.take_if(|slot| out(slot)) {
                written.abandon(&[gone]);
            }
        }
    }

    /// Appends one shard of an encoded stripe; none: its drive failed.
    pub(crate) async fn append(
        self: &Arc<Self>,
        part: &PartIdentity,
        stripe: Arc<Encoded>,
        index: usize,
        slot: Slot,
    ) -> Option<(usize, Slot)> {
        let Geometry { k, m } = stripe.geometry;
        let shape = StripeShape {
            codec: stripe.codec,
            index: stripe.index,
            k,
            m,
            length: stripe.length,
        };
        let (payload, crcs) = stripe.shards.get(index)?.clone();
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-append") && index == 0 {
            return Some((index, slot));
        }
        let shard = Shard {
            index: u8::try_from(index).ok()?,
            payload,
            crcs,
        };
        self.append_shard(part, shape, shard, slot)
            .await
            .ok()
            .map(|()| (index, slot))
    }

    /// Appends one copy; Ok once it is durable.
    pub(crate) async fn append_shard(
        &self,
        part: &PartIdentity,
        stripe: StripeShape,
        shard: Shard,
        slot: Slot,
    ) -> Result<(), DriveError> {
        let gone = || DriveError::Failed("not here".into());
        let drive = self.drives.get(slot.drive).ok_or_else(gone)?;
        let header = ShardHeader {
            codec: stripe.codec,
            drive: drive.row.uuid,
            segment: 0,
            offset: 0,
            partition: part.partition,
            owner: shard_owner(part.partition, part.bucket, &part.key, part.data),
            data: part.data,
            part: part.number,
            stripe: stripe.index,
            k: stripe.k,
            m: stripe.m,
            index: shard.index,
            token: slot.token,
            stripe_length: stripe.length,
            payload_length: shard_length(stripe.length, stripe.k),
            block_crcs: shard.crcs,
        };
        self.drives
            .run_write(&drive, "append", drive.store.append(header, shard.payload))
            .await
    }
}

/// What all shards of a stripe share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StripeShape {
    pub(crate) codec: Codec,
    pub(crate) index: u32,
    pub(crate) k: u8,
    pub(crate) m: u8,
    pub(crate) length: u32,
}

/// One shard to be written.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) index: u8,
    pub(crate) payload: Bytes,
    /// Of each block of the payload.
    pub(crate) crcs: Vec<u32>,
}

/// Which missing shards to write, and where. Empty: as many are in place as have to be.
fn targets(
    part: &PartIdentity,
    stripe: &Encoded,
    choice: Choice,
    view: &View,
    slots: &[Option<Slot>],
) -> Result<Vec<(usize, DriveId)>, EngineError> {
    let used: BTreeSet<DriveId> = slots.iter().flatten().map(|slot| slot.drive).collect();
    let missing = slots.iter().enumerate().filter(|(_, slot)| slot.is_none());
    let mut missing: Vec<usize> = missing.map(|(index, _)| index).collect();
    // The last are parity: what stays queued costs readers nothing.
    missing.truncate(missing.len().saturating_sub(usize::from(choice.queued)));
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let eligible = |drive: &engine_core::placement::LayoutDrive| {
        view.writable.contains(&drive.id) && !used.contains(&drive.id)
    };
    let key = PlacementKey::stripe(part.data, stripe.index);
    let drives = view
        .layout
        .place(key, missing.len(), usize::from(stripe.geometry.m), eligible)
        .map_err(|few| EngineError::Unavailable(few.to_string()))?;
    Ok(missing.into_iter().zip(drives).collect())
}

fn finish(stripe: &Encoded, slots: Vec<Option<Slot>>) -> Stripe {
    if slots.iter().any(Option::is_none) {
        metrics::counter!(STRIPES_QUEUED).increment(1);
    }
    Stripe {
        codec: stripe.codec.id(),
        k: stripe.geometry.k,
        m: stripe.geometry.m,
        length: stripe.length,
        slots,
    }
}
