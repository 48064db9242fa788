//! Shards read to be encoded anew: k of a stripe, and where there is one more, it has to agree with them.
//!
//! Checksums may hold over wrong bytes. A reader finds out, because what it opens is authentic or
//! not; who encodes has no key. Parity made of a lie agrees with it, and once the old shards are
//! freed nothing is left that could tell. So one shard more is read than is needed, and compared with
//! what the k make of it. Where they contradict each other, and there is yet another, the liar is the
//! one without which all others agree: it is reported and done without. Else nothing is made of the
//! stripe: as it stands a reader can still tell.
//!
//! Where no more than k can be read there is nothing to compare, and what they say is taken: such a stripe
//! is one fault from being lost, and a drive that is out may never come back. To wait for it would keep
//! every stripe of its in that danger, for the sake of a lie under sound checksums.
//!
//! All shards are gone over together, a slice at a time: what is held does not grow with them.

use crate::EngineError;
use crate::engine::Inner;
use crate::metrics::STRIPES_CONTRADICTORY;
use crate::stripe_read::{Failures, StripeAt};
use bytes::{Bytes, BytesMut};
use engine_core::erasure::{self, Codec};
use engine_core::meta::Stripe;
use engine_core::stripes::shard_length;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
use std::ops::Range;

/// Bytes of each shard that are read at once. A multiple of all codes' columns.
const SLICE_BYTES: u32 = 1 << 20;
/// What it takes in memory beside what is made, whatever the stripe.
pub(crate) const CHECK_BYTES_MAX: usize = 8 << 20;

/// What it takes in memory for a stripe of this form: its shards, and one made for comparison.
pub(crate) fn check_memory(length: u32, (k, m): (u8, u8)) -> usize {
    let slice = shard_length(length, k).min(SLICE_BYTES) as usize;
    slice * (usize::from(k) + usize::from(m) + 1)
}

fn slices(shard: u32) -> impl Iterator<Item = Range<u32>> {
    let starts = (0..shard).step_by(SLICE_BYTES as usize);
    starts.map(move |start| start..start.saturating_add(SLICE_BYTES).min(shard))
}

impl Inner {
    /// A shard, made of others. `bad`: one that is known to be unsound.
    pub(crate) async fn make_shard(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        index: u8,
        bad: Option<u8>,
    ) -> Result<Bytes, EngineError> {
        let mut check = Check::new(self, at, stripe, [Some(index), bad])?;
        let shard = shard_length(stripe.length, stripe.k);
        let mut whole = BytesMut::with_capacity(shard as usize);
        for range in slices(shard) {
            let shards = check.read(range).await?;
            for (_, bytes) in check.make(shards, vec![index]).await?.1 {
                whole.extend_from_slice(&bytes);
            }
        }
        Ok(whole.freeze())
    }

    /// A stripe's ciphertext, into as many bytes as it has. `bad`: a shard that is known to be unsound.
    pub(crate) async fn read_to_encode(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        bad: Option<u8>,
        into: &mut [u8],
    ) -> Result<(), EngineError> {
        let mut check = Check::new(self, at, stripe, [bad, None])?;
        let shard = shard_length(stripe.length, stripe.k);
        for range in slices(shard) {
            let shards = check.read(range.clone()).await?;
            let at_hand = |index: &u8| shards.iter().any(|(of, _)| of == index);
            let missing = (0..stripe.k).filter(|index| !at_hand(index)).collect();
            let (shards, made) = check.make(shards, missing).await?;
            for (index, bytes) in shards.iter().chain(&made) {
                let from = usize::from(*index) * shard as usize + range.start as usize;
                // Parity, or the zeros behind the last byte.
                let Some(room) = into.get_mut(from..) else {
                    continue;
                };
                let length = room.len().min(bytes.len());
                room[..length].copy_from_slice(&bytes[..length]);
            }
        }
        Ok(())
    }
}

/// The same slice of some shards.
type Slices = Vec<(u8, Bytes)>;

/// One stripe being gone over.
struct Check<'a> {
    inner: &'a Inner,
    at: &'a StripeAt,
    stripe: &'a Stripe,
    codec: Codec,
    /// Shards that are not read, or not any more.
    out: BTreeSet<u8>,
    failures: Failures,
}

impl<'a> Check<'a> {
    fn new(
        inner: &'a Inner,
        at: &'a StripeAt,
        stripe: &'a Stripe,
        out: [Option<u8>; 2],
    ) -> Result<Self, EngineError> {
        let unknown = || EngineError::Unavailable(format!("code {} is not known", stripe.codec));
        Ok(Self {
            inner,
            at,
            stripe,
            codec: Codec::from_id(stripe.codec).ok_or_else(unknown)?,
            out: out.into_iter().flatten().collect(),
            failures: Failures::default(),
        })
    }

    fn code(&self) -> Code {
        Code {
            codec: self.codec,
            k: self.stripe.k,
            m: self.stripe.m,
        }
    }

    /// A slice of k shards that lie as little as can be told.
    async fn read(&mut self, range: Range<u32>) -> Result<Slices, EngineError> {
        let k = usize::from(self.stripe.k);
        let shards = self.gather(range.clone(), Vec::new(), k + 1).await;
        if shards.len() < k {
            return Err(self.failures.error(self.at));
        }
        let code = self.code();
        let judge = move || (code.agree(&shards), shards);
        let (agree, mut shards) = self.inner.compute.run(judge).await?;
        #[cfg(sabotage)]
        let agree = agree || engine_types::sabotage("skip-cross-check");
        if !agree {
            shards = self.without_liar(range, shards).await?;
        }
        shards.truncate(k);
        Ok(shards)
    }

    async fn without_liar(
        &mut self,
        range: Range<u32>,
        shards: Slices,
    ) -> Result<Slices, EngineError> {
        metrics::counter!(STRIPES_CONTRADICTORY).increment(1);
        let all = usize::from(self.stripe.k) + usize::from(self.stripe.m);
        let shards = self.gather(range, shards, all).await;
        let code = self.code();
        let judge = move || (code.liar(&shards), shards);
        let (liar, mut shards) = self.inner.compute.run(judge).await?;
        let Some(liar) = liar else {
            let StripeAt { data, stripe, .. } = self.at;
            return Err(EngineError::Unavailable(format!(
                "stripe {stripe} of part {data}: its shards contradict each other, and which is wrong \
                 can only its readers tell: nothing is made of it before"
            )));
        };
        self.inner.report_liar(self.at, self.stripe, liar);
        self.out.insert(liar);
        shards.retain(|(index, _)| *index != liar);
        Ok(shards)
    }

    /// Reads more shards until there are `wanted`, or no other is left; data shards first.
    async fn gather(&mut self, range: Range<u32>, mut shards: Slices, wanted: usize) -> Slices {
        let (inner, at, stripe) = (self.inner, self.at, self.stripe);
        let known = |index: &u8| shards.iter().any(|(of, _)| of == index);
        let others = (0..stripe.k + stripe.m).filter(|i| !self.out.contains(i) && !known(i));
        let mut others = others.collect::<Vec<_>>().into_iter();
        let read = |index: u8| {
            let range = range.clone();
            async move { (index, inner.read_shard(at, stripe, index, range).await) }
        };
        let lacking = wanted.saturating_sub(shards.len());
        let mut running: FuturesUnordered<_> = others.by_ref().take(lacking).map(read).collect();
        while let Some((index, answer)) = running.next().await {
            match answer {
                Ok(bytes) => shards.push((index, bytes)),
                Err(error) => {
                    self.out.insert(index);
                    self.failures.count(&error);
                    running.extend(others.next().map(read));
                }
            }
        }
        shards.sort_unstable_by_key(|(index, _)| *index);
        shards
    }

    /// What k slices make of others; the slices are handed back.
    async fn make(&self, shards: Slices, wanted: Vec<u8>) -> Result<(Slices, Slices), EngineError> {
        if wanted.is_empty() {
            return Ok((shards, Vec::new()));
        }
        let code = self.code();
        let make = move || {
            let made = wanted.into_iter();
            let made = made.map(|index| code.make(&shards, index).map(|bytes| (index, bytes)));
            made.collect::<Option<Slices>>().map(|made| (shards, made))
        };
        let failed = || EngineError::Internal("shards that were read make no other".into());
        self.inner.compute.run(make).await?.ok_or_else(failed)
    }
}

#[derive(Clone, Copy)]
struct Code {
    codec: Codec,
    k: u8,
    m: u8,
}

impl Code {
    /// What the first k make of a shard. Blocking, as are the others.
    fn make(self, shards: &[(u8, Bytes)], index: u8) -> Option<Bytes> {
        let present: Vec<(u8, &[u8])> = shards.iter().map(|(n, bytes)| (*n, &bytes[..])).collect();
        let mut made = BytesMut::zeroed(shards.first().map_or(0, |(_, bytes)| bytes.len()));
        let wanted = &mut [(index, &mut made[..])];
        erasure::reconstruct(self.codec, (self.k, self.m), &present, wanted).ok()?;
        Some(made.freeze())
    }

    /// Whether the first k make of all others what they are.
    fn agree(self, shards: &[(u8, Bytes)]) -> bool {
        let mut others = shards.iter().skip(usize::from(self.k));
        others.all(|(index, bytes)| self.make(shards, *index).is_some_and(|made| made == *bytes))
    }

    /// The one shard without which all others agree. That takes two more than k: any k agree.
    fn liar(self, shards: &[(u8, Bytes)]) -> Option<u8> {
        if shards.len() < usize::from(self.k) + 2 {
            return None;
        }
        let mut liars = shards.iter().map(|(index, _)| *index).filter(|liar| {
            let others = shards.iter().filter(|(index, _)| index != liar);
            self.agree(&others.cloned().collect::<Vec<_>>())
        });
        liars.next().filter(|_| liars.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::stripes::{Geometry, STRIPE_BYTES_MAX};

    #[test]
    fn what_is_held_is_bounded_for_all_that_is_ever_written() {
        let longest = u32::try_from(STRIPE_BYTES_MAX).expect("fits");
        let most = (1..100).filter_map(Geometry::for_drives).flat_map(|g| {
            // Also narrowed, while drives are out.
            [(g.k, g.m), (g.k.div_ceil(2), g.m)].map(|form| check_memory(longest, form))
        });
        let most = most.max().expect("some");
        assert!(most <= CHECK_BYTES_MAX, "{most}");
        assert!(most + SLICE_BYTES as usize >= CHECK_BYTES_MAX, "{most}");
    }

    #[test]
    fn slices_cover_a_shard() {
        let shard = 2 * SLICE_BYTES + 64;
        let all: Vec<_> = slices(shard).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[2], 2 * SLICE_BYTES..shard);
    }

    fn stripe(code: Code) -> Vec<(u8, Bytes)> {
        let data: Vec<Vec<u8>> = (0..code.k).map(|n| vec![n + 1; 128]).collect();
        let data: Vec<&[u8]> = data.iter().map(|d| &d[..]).collect();
        let mut parity = vec![vec![0; 128]; usize::from(code.m)];
        let mut rows: Vec<&mut [u8]> = parity.iter_mut().map(|p| &mut p[..]).collect();
        erasure::encode(code.codec, (code.k, code.m), &data, &mut rows).expect("encodes");
        let all = data.into_iter().map(Bytes::copy_from_slice);
        (0..)
            .zip(all.chain(parity.into_iter().map(Bytes::from)))
            .collect()
    }

    fn lie(shards: &mut [(u8, Bytes)], of: usize, at: usize) {
        let mut bytes = shards[of].1.to_vec();
        bytes[at] ^= 1;
        shards[of].1 = bytes.into();
    }

    #[test]
    fn any_one_liar_of_a_whole_stripe_is_told_and_of_fewer_shards_none() {
        let code = Code {
            codec: Codec::for_data_shards(4),
            k: 4,
            m: 2,
        };
        assert!(code.agree(&stripe(code)));
        for liar in 0..6_u8 {
            let mut shards = stripe(code);
            lie(&mut shards, usize::from(liar), 77);
            assert!(!code.agree(&shards));
            assert_eq!(code.liar(&shards), Some(liar));
            shards.remove(usize::from(liar == 0));
            assert!(!code.agree(&shards), "without a sound one");
            assert_eq!(code.liar(&shards), None);
        }
        let mut two = stripe(code);
        lie(&mut two, 1, 3);
        lie(&mut two, 4, 90);
        assert_eq!(code.liar(&two), None, "two lie");
    }
}
