//! How the range of a part that is asked for is cut into pieces, which are what is read at a time.
//!
//! A piece is long where there is room for it (1 MiB: to most objects one request to each drive that
//! has some of them, and no more), and can be shortened to what there is room for.

use crate::read_ahead::PLACE_BYTES;
use bytes::Bytes;
use engine_core::stripes::{FRAME_SEALED, PartShape, STRIPE_FRAMES, StripeSlice};
use std::collections::VecDeque;
use std::ops::Range;

/// Frames of a place in the readers' share: 256 KiB of ciphertext, which lies in one data shard where
/// the stripe is full.
pub(crate) const PLACE_FRAMES: u64 = (PLACE_BYTES / FRAME_SEALED) as u64;
/// Frames of a piece, and what pieces begin at multiples of. A rest of less than a place goes with the
/// piece before it.
const PIECE_FRAMES: u64 = 4 * PLACE_FRAMES;

/// Whole frames of one stripe, and what of their plaintext is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) stripe: u32,
    /// Counted over the part.
    pub(crate) frames: Range<u64>,
    /// Where they are in the stripe.
    pub(crate) sealed: Range<u32>,
    /// Plaintext bytes of the first frame that are not wanted.
    skip: usize,
    /// Plaintext bytes that are.
    take: usize,
}

impl Piece {
    /// Places it takes in the share.
    pub(crate) fn places(&self) -> usize {
        let frames = self.frames.end - self.frames.start;
        usize::try_from(frames.div_ceil(PLACE_FRAMES)).unwrap_or(usize::MAX)
    }

    /// Keeps the first `frames` frames; the rest, if there is any.
    pub(crate) fn split_off(&mut self, shape: PartShape, frames: u64) -> Option<Self> {
        let middle = self.frames.start + frames;
        if middle >= self.frames.end {
            return None;
        }
        let plain: usize = (self.frames.start..middle)
            .map(|frame| shape.frame_plain(frame))
            .sum();
        let at = u32::try_from(frames * FRAME_SEALED as u64).unwrap_or(u32::MAX);
        let mut rest = self.clone();
        rest.frames.start = middle;
        rest.sealed.start = self.sealed.start.saturating_add(at);
        (rest.skip, rest.take) = (0, self.take - (plain - self.skip));
        self.frames.end = middle;
        self.sealed.end = rest.sealed.start;
        self.take = plain - self.skip;
        Some(rest)
    }

    /// The wanted plaintext of its frames as `opened`, a slice for each.
    pub(crate) fn plain(&self, shape: PartShape, opened: &[Bytes]) -> Vec<Bytes> {
        let (mut skip, mut left) = (self.skip, self.take);
        let mut slices = Vec::with_capacity(opened.len());
        for (frame, bytes) in self.frames.clone().zip(opened) {
            let length = shape.frame_plain(frame);
            let from = skip.min(length);
            let count = left.min(length - from);
            if count > 0 {
                slices.push(bytes.slice(from..from + count));
            }
            (skip, left) = (skip - from, left - count);
        }
        slices
    }
}

/// Cuts a range of a part at multiples of [`PIECE_FRAMES`] within each stripe.
pub(crate) fn pieces(shape: PartShape, range: Range<u64>) -> VecDeque<Piece> {
    shape
        .slices(range)
        .flat_map(|slice| cut(shape, &slice))
        .collect()
}

fn cut(shape: PartShape, slice: &StripeSlice) -> Vec<Piece> {
    let base = u64::from(slice.stripe) * STRIPE_FRAMES as u64;
    let (mut frame, mut skip, mut left) = (slice.frames.start, slice.skip, slice.take);
    let mut pieces = Vec::new();
    while frame < slice.frames.end {
        let mut end = ((frame / PIECE_FRAMES + 1) * PIECE_FRAMES).min(slice.frames.end);
        if slice.frames.end - end < PLACE_FRAMES {
            end = slice.frames.end;
        }
        let plain: usize = (frame..end).map(|frame| shape.frame_plain(frame)).sum();
        let take = left.min(plain - skip);
        let at =
            |frame: u64| u32::try_from((frame - base) * FRAME_SEALED as u64).unwrap_or(u32::MAX);
        let sealed = at(frame)..at(end).min(slice.sealed.end);
        pieces.push(Piece {
            stripe: slice.stripe,
            frames: frame..end,
            sealed,
            skip,
            take,
        });
        (frame, skip, left) = (end, 0, left - take);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = engine_core::stripes::FRAME_PLAIN as u64;

    fn cut_of(plain: u64, range: Range<u64>) -> (PartShape, Vec<Piece>) {
        let shape = PartShape::new(plain).unwrap();
        (shape, pieces(shape, range).into())
    }

    fn frames(pieces: &[Piece]) -> Vec<u64> {
        pieces
            .iter()
            .map(|piece| piece.frames.end - piece.frames.start)
            .collect()
    }

    #[test]
    fn an_object_of_a_mebibyte_is_one_piece_and_a_stripe_is_eight() {
        assert_eq!(frames(&cut_of(1 << 20, 0..1 << 20).1), [17]);
        assert_eq!(frames(&cut_of(128 * FRAME, 0..128 * FRAME).1), [16; 8]);
        let longest = (PIECE_FRAMES + PLACE_FRAMES - 1) * FRAME;
        assert_eq!(
            frames(&cut_of(longest, 0..longest).1),
            [19],
            "a rest below a place"
        );
        assert_eq!(
            frames(&cut_of(longest + 1, 0..longest + 1).1),
            [16, 4],
            "one of a place"
        );
        let (_, pieces) = cut_of(1 << 20, 0..1 << 20);
        assert_eq!((pieces[0].places(), pieces[0].take), (5, 1 << 20));
    }

    #[test]
    fn pieces_cover_every_range_once_whole_or_shortened() {
        let plain = 300 * FRAME + 77;
        let ends = [
            0,
            1,
            FRAME - 1,
            16 * FRAME,
            17 * FRAME + 3,
            127 * FRAME,
            129 * FRAME,
            plain,
        ];
        for (from, to) in ends.iter().flat_map(|from| ends.map(|to| (*from, to))) {
            if from >= to {
                continue;
            }
            for at_most in [1, 4, 16, 20] {
                let (shape, pieces) = cut_of(plain, from..to);
                let mut queue: VecDeque<Piece> = pieces.into();
                let mut next = from;
                while let Some(mut piece) = queue.pop_front() {
                    if let Some(rest) = piece.split_off(shape, at_most) {
                        queue.push_front(rest);
                    }
                    let count = piece.frames.end - piece.frames.start;
                    assert!(count <= at_most && piece.take > 0);
                    let sealed = (count - 1) * FRAME_SEALED as u64
                        + shape.frame_plain(piece.frames.end - 1) as u64
                        + 16;
                    assert_eq!(u64::from(piece.sealed.end - piece.sealed.start), sealed);
                    assert_eq!(piece.frames.start * FRAME + piece.skip as u64, next);
                    next += piece.take as u64;
                }
                assert_eq!(next, to, "{from}..{to} by {at_most}");
            }
        }
    }
}
