//! From a body to a stored part: the pipeline of a write.
//!
//! Four stages, each on a stripe of its own, so that they overlap: read (into a granted buffer),
//! hash (MD5 needs the plaintext), sum, seal and encode (in place), write (all drives at once).
//! Hash and seal run on other threads: MD5 is serial and half of the work, so the other core seals
//! meanwhile. Hashing the request's own chunks instead, beside sealing of the same stripe, was
//! turned down: they would have to be kept, and cost the memory of a second stripe.

use crate::EngineError;
use crate::api::{BodyDigests, PutBody, Verify};
use crate::births::OpenBirth;
use crate::body::{Asked, Intake};
use crate::budget::Turn;
use crate::buffers::Buffer;
use crate::engine::Inner;
use crate::keys::Wrap;
use crate::stripe_write::{Encoded, PartIdentity, STRIPE_TAIL, stripe_memory};
use crate::written::Written;
use engine_core::md5::Md5;
use engine_core::meta::{NewPart, NewPlace, PartKey, Stripe};
use engine_core::seal::{SealError, Sealer};
use engine_core::stripes::{FRAME_SEALED, FRAME_TAG, PartShape, STRIPE_FRAMES};
use engine_types::{BirthId, BucketId, DataId, ObjectKey, PartitionId};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Stripes of one body in memory at once: one in each of the stages that overlap best.
pub(crate) const STRIPES_IN_FLIGHT: usize = 3;

/// Where a part goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) partition: PartitionId,
    pub(crate) bucket: BucketId,
    pub(crate) key: ObjectKey,
    /// Part number; 1 for a plain object.
    pub(crate) number: u32,
}

/// A part that is durable and not yet committed.
#[derive(Debug)]
pub(crate) struct StoredPart {
    pub(crate) part: NewPart,
    pub(crate) digests: BodyDigests,
    /// Its copies; none for inline parts.
    pub(crate) written: Written,
    /// Holds the watermark until the outcome is known.
    pub(crate) _birth: OpenBirth,
}

/// A stripe on its way, and its leave to be in memory.
struct Item<T>(u32, T, OwnedSemaphorePermit);

impl Inner {
    /// Stores a body's bytes, seals them under a new data id and has them judged. Nothing is
    /// visible yet.
    pub(crate) async fn store_part(
        self: &Arc<Self>,
        to: Target,
        wrap: &Wrap,
        body: PutBody,
    ) -> Result<StoredPart, EngineError> {
        let shape = PartShape::new(body.length).map_err(|_too_long| EngineError::TooLarge)?;
        let stamp = self.metadata.stamp(to.partition).await?;
        let birth = self.births.open(to.partition, stamp);
        let data = DataId::born(stamp, self.entropy());
        let (key, sealer) = self.data_key(wrap, data);
        let written = Written::new(Arc::clone(self));
        let intake = Intake::new(body.stream, body.length);
        let asked = Asked::new(&body.algorithms);
        let (place, digests) = if shape.is_inline() {
            inline(shape, intake, asked, sealer, body.verify).await?
        } else {
            let part = PartIdentity {
                partition: to.partition,
                bucket: to.bucket,
                key: to.key,
                data,
                number: to.number,
            };
            let (stripes, digests) = self
                .stripes(&part, shape, (intake, asked, sealer), &written)
                .await?;
            (body.verify)(&digests).map_err(EngineError::Body)?;
            (NewPlace::Stripes(stripes), digests)
        };
        let part = new_part(data, &digests, key, place);
        Ok(StoredPart {
            part,
            digests,
            written,
            _birth: birth,
        })
    }

    async fn stripes(
        self: &Arc<Self>,
        part: &PartIdentity,
        shape: PartShape,
        (mut intake, asked, sealer): (Intake, Asked, Sealer),
        written: &Written,
    ) -> Result<(Vec<Stripe>, BodyDigests), EngineError> {
        let (to_hash, hashing) = mpsc::channel(1);
        let (to_seal, sealing) = mpsc::channel(1);
        let (to_write, mut writing) = mpsc::channel::<Item<Encoded>>(1);
        let read = async {
            let to_hash = to_hash;
            let in_flight = Arc::new(Semaphore::new(STRIPES_IN_FLIGHT));
            for index in 0..shape.stripes() {
                let leave = Arc::clone(&in_flight)
                    .acquire_owned()
                    .await
                    .map_err(|_closed| stopped())?;
                let buffer = self.read_stripe(&mut intake, shape, index).await?;
                to_hash
                    .send(Item(index, buffer, leave))
                    .await
                    .map_err(|_closed| stopped())?;
            }
            intake.finish().await
        };
        let hash = self.hash_stage(shape, hashing, to_seal);
        let seal = self.seal_stage(shape, (sealer, asked), sealing, to_write);
        let write = async {
            let mut stripes = Vec::with_capacity(shape.stripes() as usize);
            while let Some(Item(_, stripe, _leave)) = writing.recv().await {
                stripes.push(self.write_stripe(part, stripe, written).await?);
            }
            Ok(stripes)
        };
        let ((), md5, asked, stripes) = futures::try_join!(read, hash, seal, write)?;
        Ok((stripes, asked.finish(md5)))
    }

    async fn read_stripe(
        &self,
        intake: &mut Intake,
        shape: PartShape,
        index: u32,
    ) -> Result<Buffer, EngineError> {
        let length = shape.stripe_length(index);
        let geometry = self.geometry_now()?;
        let turn = if index == 0 { Turn::New } else { Turn::Begun };
        let memory = stripe_memory(length, geometry);
        let grant = self.buffers.grant(memory, turn).await?;
        let filling = self.buffers.filling(&grant);
        let mut buffer = self.buffers.buffer(length as usize + STRIPE_TAIL, grant);
        let (cipher, tail) = buffer.split_at_mut(length as usize);
        tail.fill(0);
        let plain = stripe_plain(shape, index);
        tokio::select! {
            biased;
            filled = intake.fill_frames(cipher, plain, |bytes| filling.got(bytes)) => filled?,
            () = filling.must_give_way() => return Err(EngineError::TooSlow),
        }
        Ok(buffer)
    }

    async fn hash_stage(
        &self,
        shape: PartShape,
        mut from: mpsc::Receiver<Item<Buffer>>,
        to: mpsc::Sender<Item<Buffer>>,
    ) -> Result<Md5, EngineError> {
        let mut md5 = Md5::default();
        while let Some(Item(index, buffer, leave)) = from.recv().await {
            let plain = stripe_plain(shape, index);
            let (further, buffer) = self.hash_lanes.hash(md5, buffer, plain).await?;
            md5 = further;
            to.send(Item(index, buffer, leave))
                .await
                .map_err(|_closed| stopped())?;
        }
        Ok(md5)
    }

    async fn seal_stage(
        &self,
        shape: PartShape,
        (mut sealer, mut asked): (Sealer, Asked),
        mut from: mpsc::Receiver<Item<Buffer>>,
        to: mpsc::Sender<Item<Encoded>>,
    ) -> Result<Asked, EngineError> {
        while let Some(Item(index, mut buffer, leave)) = from.recv().await {
            let geometry = self.geometry_now()?;
            let job = move || {
                let by = (&mut sealer, &mut asked);
                let done = seal_frames(by, shape, index, &mut buffer);
                let encoded = done
                    .map_err(|error| EngineError::Internal(error.to_string()))
                    .and_then(|()| {
                        Encoded::new(index, shape.stripe_length(index), buffer, geometry)
                    });
                ((sealer, asked), encoded)
            };
            let (back, encoded) = self.compute.run(job).await?;
            (sealer, asked) = back;
            to.send(Item(index, encoded?, leave))
                .await
                .map_err(|_closed| stopped())?;
        }
        Ok(asked)
    }
}

/// A stage ended before the one that feeds it: its own error is the one that is returned.
fn stopped() -> EngineError {
    EngineError::Internal("a stage of the write ended early".into())
}

/// Plaintext bytes of a stripe.
fn stripe_plain(shape: PartShape, index: u32) -> usize {
    let length = shape.stripe_length(index) as usize;
    length - length.div_ceil(FRAME_SEALED) * FRAME_TAG
}

/// Sums and seals frame by frame, while each is in a core's cache.
fn seal_frames(
    (sealer, asked): (&mut Sealer, &mut Asked),
    shape: PartShape,
    index: u32,
    buffer: &mut [u8],
) -> Result<(), SealError> {
    let length = shape.stripe_length(index) as usize;
    let first = u64::from(index) * STRIPE_FRAMES as u64;
    for (frame, bytes) in (first..).zip(buffer[..length].chunks_mut(FRAME_SEALED)) {
        asked.update(&bytes[..shape.frame_plain(frame)]);
        sealer.seal(bytes, shape.is_last(frame))?;
    }
    Ok(())
}

/// A body that commits with its row: one frame, no buffer of the budget, no threads.
async fn inline(
    shape: PartShape,
    mut intake: Intake,
    mut asked: Asked,
    mut sealer: Sealer,
    verify: Verify,
) -> Result<(NewPlace, BodyDigests), EngineError> {
    let plain = shape.frame_plain(0);
    let mut bytes = vec![0; plain + FRAME_TAG];
    intake.fill(&mut bytes[..plain]).await?;
    intake.finish().await?;
    let mut md5 = Md5::default();
    md5.update(&bytes[..plain]);
    asked.update(&bytes[..plain]);
    let digests = asked.finish(md5);
    verify(&digests).map_err(EngineError::Body)?;
    sealer
        .seal(&mut bytes, true)
        .map_err(|error| EngineError::Internal(error.to_string()))?;
    Ok((NewPlace::Inline(ByteBuf::from(bytes)), digests))
}

fn new_part(data: DataId, digests: &BodyDigests, key: PartKey, place: NewPlace) -> NewPart {
    NewPart {
        data,
        size: digests.length,
        md5: digests.md5,
        key,
        place,
    }
}
