//! One pack: its bytes into a buffer, onto the drives, and into its members' rows.

use super::ask;
use crate::EngineError;
use crate::births::OpenBirth;
use crate::budget::Turn;
use crate::buffers::Buffer;
use crate::engine::Inner;
use crate::metrics::{PACK_BYTES, PACK_LEFT_OUT, PACKED, PACKS_WRITTEN};
use crate::proposals::Outcome;
use crate::stripe_write::{Encoded, PartIdentity, STRIPE_TAIL, stripe_memory};
use crate::written::Written;
use engine_core::meta::{
    Answer, Change, Contents, NewPack, PACK_BYTES_MAX, PACK_MEMBERS_MAX, PACKS, PackMember,
    PackQuery, PackReply, Refusal, UnpackedRow, pack_data, pack_key,
};
use engine_core::stripes::Geometry;
use engine_types::{BirthId, DataId, PackId, PartitionId, StorageClass};
use std::sync::Arc;

/// Parts whose bytes are read at once: 1 MiB at most.
const PARTS_PER_READ: usize = 64;
/// Most members that are moved into one pack. Its partition answers nobody while the command is applied:
/// 2,048 rows, what a command may hold, took five replicas on two cores 100 to 300 ms.
pub(super) const MEMBERS_MAX: usize = 256;
const _: () = assert!(MEMBERS_MAX <= PACK_MEMBERS_MAX, "a command holds them");

/// What is to go into one pack: who, not yet what.
#[derive(Debug)]
pub(super) struct Draft {
    class: StorageClass,
    members: Vec<PackMember>,
    /// Bytes of the pack at most.
    room: usize,
    bytes: u64,
}

impl Draft {
    pub(super) const fn new(class: StorageClass) -> Self {
        Self {
            class,
            members: Vec::new(),
            room: Contents::ROOM,
            bytes: 0,
        }
    }

    /// Takes a part; false: it is full.
    pub(super) fn add(&mut self, data: DataId, row: &UnpackedRow) -> bool {
        let UnpackedRow {
            bucket,
            key,
            length,
            ..
        } = row;
        let member = PackMember {
            bucket: *bucket,
            key: key.clone(),
            data,
            offset: 0,
            length: *length,
        };
        let room = self.room.saturating_add(member.room());
        if room > PACK_BYTES_MAX || self.members.len() >= MEMBERS_MAX {
            return false;
        }
        self.room = room;
        self.bytes = self.bytes.saturating_add(u64::from(*length));
        self.members.push(member);
        true
    }

    /// Sealed bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The one born first: they come in that order.
    pub(super) fn oldest(&self) -> Option<DataId> {
        self.members.first().map(|member| member.data)
    }
}

/// Packs what is still inline of a draft.
pub(super) async fn inline(
    inner: &Arc<Inner>,
    partition: PartitionId,
    draft: Draft,
) -> Result<(), EngineError> {
    let mut pack = Pack::begin(inner, partition, draft.class, (draft.room, 0)).await?;
    for members in draft.members.chunks(PARTS_PER_READ) {
        let parts = members
            .iter()
            .map(|member| (member.bucket, member.key.clone(), member.data));
        let PackReply::Inline(bytes) =
            ask(inner, partition, PackQuery::Inline(parts.collect())).await?
        else {
            return Err(EngineError::unexpected("Inline"));
        };
        for (member, bytes) in members.iter().zip(bytes) {
            // Gone meanwhile: overwritten or deleted.
            let Some(bytes) = bytes else { continue };
            pack.add(member, &bytes, None);
        }
    }
    pack.finish().await.map(|_packed| ())
}

/// A pack being made, in a buffer of the budget.
#[derive(Debug)]
pub(super) struct Pack<'a> {
    inner: &'a Arc<Inner>,
    partition: PartitionId,
    class: StorageClass,
    id: PackId,
    /// From before the drives were looked at: no copy of the pack is younger than what holds the
    /// watermark.
    _birth: OpenBirth,
    geometry: Geometry,
    buffer: Buffer,
    /// Sealed bytes in the buffer.
    filled: usize,
    /// Bytes that the list of the members takes at most.
    list: usize,
    members: Vec<(PackMember, Option<PackId>)>,
}

impl<'a> Pack<'a> {
    /// Begins a pack of at most `room` bytes; `beside`: what its maker needs in memory besides.
    pub(super) async fn begin(
        inner: &'a Arc<Inner>,
        partition: PartitionId,
        class: StorageClass,
        (room, beside): (usize, usize),
    ) -> Result<Self, EngineError> {
        let stamp = inner.metadata.stamp(partition).await?;
        let birth = inner.births.open(partition, stamp);
        let geometry = inner.geometry_now()?;
        let room = room.min(PACK_BYTES_MAX);
        let length = u32::try_from(room).unwrap_or(u32::MAX);
        let grant = inner
            .buffers
            .grant(stripe_memory(length, geometry) + beside, Turn::New)
            .await?;
        Ok(Self {
            inner,
            partition,
            class,
            id: PackId::born(stamp, inner.entropy()),
            _birth: birth,
            geometry,
            buffer: inner.buffers.buffer(room + STRIPE_TAIL, grant),
            filled: 0,
            list: Contents::ROOM,
            members: Vec::new(),
        })
    }

    /// Takes a member's sealed bytes, where they are as long as its row says and there is room.
    pub(super) fn add(&mut self, member: &PackMember, sealed: &[u8], from: Option<PackId>) {
        let list = self.list + member.room() - member.length as usize;
        let end = self.filled + sealed.len();
        let fits = end + list <= self.buffer.len() - STRIPE_TAIL && !self.is_full();
        if !fits || sealed.len() != member.length as usize {
            return;
        }
        let Some(room) = self.buffer.get_mut(self.filled..end) else {
            return;
        };
        room.copy_from_slice(sealed);
        let offset = u32::try_from(self.filled).unwrap_or(u32::MAX);
        #[cfg(sabotage)]
        let offset = offset + u32::from(engine_types::sabotage("pack-wrong-offset"));
        self.members.push((
            PackMember {
                offset,
                ..member.clone()
            },
            from,
        ));
        (self.filled, self.list) = (end, list);
    }

    /// No more members go in, whatever their length.
    pub(super) fn is_full(&self) -> bool {
        self.members.len() >= MEMBERS_MAX
    }

    /// Writes all shards, then has the members' rows name the pack. How many do.
    pub(super) async fn finish(mut self) -> Result<u32, EngineError> {
        if self.members.is_empty() {
            return Ok(0);
        }
        let members: Vec<PackMember> = self
            .members
            .iter()
            .map(|(member, _)| member.clone())
            .collect();
        let list = Contents::encode(&members);
        let length = self.filled + list.len();
        let too_long = || EngineError::Internal("a pack's list is longer than its room".into());
        self.buffer
            .get_mut(self.filled..length)
            .ok_or_else(too_long)?
            .copy_from_slice(&list);
        self.buffer.get_mut(length..).ok_or_else(too_long)?.fill(0);
        let Self {
            inner,
            partition,
            class,
            id,
            _birth,
            geometry,
            buffer,
            members,
            ..
        } = self;
        let stripe_length = u32::try_from(length).unwrap_or(u32::MAX);
        let encode = move || Encoded::new(0, stripe_length, buffer, geometry);
        let encoded = inner.compute.run(encode).await??;
        let part = PartIdentity {
            partition,
            bucket: PACKS,
            key: pack_key(id),
            data: pack_data(id),
            number: 0,
        };
        let written = Written::new(Arc::clone(inner));
        let stripe = inner.write_stripe(&part, encoded, &written).await?;
        let pack = NewPack {
            pack: id,
            maker: partition,
            class,
            stripe,
            members,
        };
        commit(inner, partition, pack, &written).await
    }
}

async fn commit(
    inner: &Inner,
    partition: PartitionId,
    pack: NewPack,
    written: &Written,
) -> Result<u32, EngineError> {
    let length = pack.stripe.length;
    written.disarm();
    match inner.propose(partition, Change::Pack(Box::new(pack))).await {
        Outcome::Applied(Answer::Packed { packed, left_out }) => {
            metrics::counter!(PACKS_WRITTEN).increment(1);
            metrics::counter!(PACKED).increment(packed.into());
            metrics::counter!(PACK_LEFT_OUT).increment(left_out.into());
            metrics::counter!(PACK_BYTES).increment(length.into());
            Ok(packed)
        }
        Outcome::Applied(_) => Err(EngineError::unexpected("Pack")),
        // Says nothing of whether it was applied before: the orphan look-up judges.
        Outcome::Refused(Refusal::TooOld) => Ok(0),
        Outcome::Refused(_) => {
            written.arm();
            Ok(0)
        }
        Outcome::NotProposed(error) => {
            written.arm();
            Err(error)
        }
        Outcome::Unknown(error) => Err(error),
    }
}
