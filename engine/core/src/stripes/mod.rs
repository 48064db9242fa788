//! From a part's plaintext to frames, stripes and shards, and back from a range to what must be
//! read. Pure arithmetic; every number here is **format**.
//!
//! A part is cut into frames of 65,520 bytes, each sealed into 65,536; 128 sealed frames are a
//! stripe of 8 MiB; a stripe of k data shards is cut into k runs of equal length. So a range of a
//! part maps to whole frames, whole frames to byte ranges of data shards, without a look at data.

mod geometry;

pub use geometry::{Choice, Geometry};

use std::ops::Range;

/// Plaintext bytes of a full frame.
pub const FRAME_PLAIN: usize = 65_520;
/// Bytes sealing adds to a frame: the GCM tag.
pub const FRAME_TAG: usize = 16;
/// Bytes of a full sealed frame: a power of two, so that frames are blocks of the shard checksum.
pub const FRAME_SEALED: usize = 65_536;
/// Sealed frames of a full stripe.
pub const STRIPE_FRAMES: usize = 128;
/// Ciphertext bytes of a full stripe: 8 MiB.
pub const STRIPE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Plaintext bytes of a full stripe.
pub const STRIPE_PLAIN: usize = STRIPE_FRAMES * FRAME_PLAIN;
/// Shards are multiples of this.
pub const SHARD_ALIGN: u32 = 64;
/// Largest plaintext that commits inline; one byte more goes to shards.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;
/// Largest part (S3: 5 GiB).
pub const PART_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

const _: () = assert!(
    FRAME_PLAIN + FRAME_TAG == FRAME_SEALED,
    "a frame and its tag"
);
const _: () = assert!(
    STRIPE_FRAMES * FRAME_SEALED == STRIPE_BYTES_MAX,
    "whole frames fill a stripe"
);
const _: () = assert!(INLINE_BYTES_MAX < FRAME_PLAIN, "inline bytes are one frame");

/// Bytes of each shard of a stripe of `stripe_length` ciphertext bytes cut in `k`: the quotient,
/// rounded up to [`SHARD_ALIGN`]; 0 for k = 0. Data shard i holds bytes `i·S..(i + 1)·S` of the
/// stripe, zero-padded behind its end: a buffer of k·S bytes, which is the stripe's length for
/// full stripes of k = 1, 2, 4, 8 and up to 64·k more otherwise.
pub const fn shard_length(stripe_length: u32, k: u8) -> u32 {
    if k == 0 {
        return 0;
    }
    stripe_length
        .div_ceil(k as u32)
        .div_ceil(SHARD_ALIGN)
        .saturating_mul(SHARD_ALIGN)
}

/// The smallest range of [`SHARD_ALIGN`] multiples around `range`: what must be read of k other
/// shards to rebuild it (`erasure::reconstruct` works on columns).
pub const fn columns(range: &Range<u32>) -> Range<u32> {
    let start = range.start - range.start % SHARD_ALIGN;
    start..range.end.next_multiple_of(SHARD_ALIGN)
}

/// A piece of a stripe in one of its data shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardPiece {
    /// Which data shard.
    pub index: u8,
    /// Which bytes of it.
    pub range: Range<u32>,
    /// Where they belong in the range that was asked for.
    pub at: u32,
}

/// Which data shards hold `range` (clipped to the stripe) of a stripe, in order.
pub fn shard_pieces(stripe_length: u32, k: u8, range: Range<u32>) -> Vec<ShardPiece> {
    let shard = shard_length(stripe_length, k);
    let end = range.end.min(stripe_length);
    let mut pieces = Vec::with_capacity(usize::from(k));
    for index in 0..k {
        let base = u32::from(index).saturating_mul(shard);
        let from = range.start.max(base);
        let to = end.min(base.saturating_add(shard));
        if from < to {
            pieces.push(ShardPiece {
                index,
                range: from - base..to - base,
                at: from - range.start,
            });
        }
    }
    pieces
}

/// What a plaintext range needs of one stripe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StripeSlice {
    /// Stripe of the part, from 0.
    pub stripe: u32,
    /// Frames to open, counted over the part.
    pub frames: Range<u64>,
    /// Where they lie in the stripe's ciphertext.
    pub sealed: Range<u32>,
    /// Plaintext bytes to drop from the first frame.
    pub skip: usize,
    /// Plaintext bytes wanted in all.
    pub take: usize,
}

/// Why there is no such part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("part longer than {PART_BYTES_MAX} bytes")]
pub struct PartTooLong;

/// The cutting of a part of known plaintext length.
///
/// An empty part has one empty frame: its tag proves that it was empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartShape {
    plain: u64,
}

const FRAME: u64 = FRAME_PLAIN as u64;
const FRAMES: u64 = STRIPE_FRAMES as u64;

/// A number below 8 MiB by construction.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl PartShape {
    /// A part of `plain` plaintext bytes.
    ///
    /// # Errors
    /// [`PartTooLong`] above [`PART_BYTES_MAX`].
    pub const fn new(plain: u64) -> Result<Self, PartTooLong> {
        if plain > PART_BYTES_MAX {
            return Err(PartTooLong);
        }
        Ok(Self { plain })
    }
    /// Plaintext bytes.
    pub const fn plain_length(self) -> u64 {
        self.plain
    }
    /// Whether it commits inline, without shards.
    pub const fn is_inline(self) -> bool {
        self.plain <= INLINE_BYTES_MAX as u64
    }
    /// Frames; at least 1.
    pub const fn frames(self) -> u64 {
        if self.plain == 0 {
            1
        } else {
            self.plain.div_ceil(FRAME)
        }
    }
    /// Whether `frame` is the last: sealed with the last flag.
    pub const fn is_last(self, frame: u64) -> bool {
        frame + 1 == self.frames()
    }
    /// Plaintext bytes of `frame`; 0 past the end.
    pub fn frame_plain(self, frame: u64) -> usize {
        let left = self.plain.saturating_sub(frame.saturating_mul(FRAME));
        usize::try_from(left.min(FRAME)).unwrap_or(FRAME_PLAIN)
    }
    /// Ciphertext bytes: plaintext and one tag a frame.
    pub const fn sealed_length(self) -> u64 {
        self.plain + self.frames() * FRAME_TAG as u64
    }
    /// Stripes; at least 1 (an inline part is one stripe that is not cut into shards).
    pub fn stripes(self) -> u32 {
        small(self.frames().div_ceil(FRAMES))
    }
    /// Ciphertext bytes of `stripe`; 0 past the end.
    pub fn stripe_length(self, stripe: u32) -> u32 {
        let before = u64::from(stripe) * STRIPE_BYTES_MAX as u64;
        let left = self.sealed_length().saturating_sub(before);
        small(left.min(STRIPE_BYTES_MAX as u64))
    }
    /// What must be read for `range` of the plaintext (clipped to the part), stripe by stripe.
    /// Nothing for an empty range.
    pub fn slices(self, range: Range<u64>) -> impl Iterator<Item = StripeSlice> {
        let end = range.end.min(self.plain);
        let start = range.start.min(end);
        let stripe_plain = STRIPE_PLAIN as u64;
        let stripes = if start == end {
            0..0
        } else {
            start / stripe_plain..end.div_ceil(stripe_plain)
        };
        stripes.map(move |stripe| {
            let from = start.max(stripe * stripe_plain);
            let to = end.min((stripe + 1) * stripe_plain);
            let frames = from / FRAME..to.div_ceil(FRAME);
            let local = |frame: u64| (frame - stripe * FRAMES) * FRAME_SEALED as u64;
            let stripe = small(stripe);
            let sealed_end = local(frames.end).min(u64::from(self.stripe_length(stripe)));
            StripeSlice {
                stripe,
                sealed: small(local(frames.start))..small(sealed_end),
                frames,
                skip: usize::try_from(from % FRAME).unwrap_or(0),
                take: usize::try_from(to - from).unwrap_or(0),
            }
        })
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests;
