//! The ciphertext of a piece as its shards hold it, opened where it stands.
//!
//! Frames lie whole in one shard wherever the stripe is full. Where they do not, the one that goes
//! from a shard into the next is put together apart; the others are still opened in place. To copy
//! all shards into one buffer first was turned down: it cost a tenth of a GET's work.

use bytes::{Bytes, BytesMut};
use engine_core::ports::ShardBytes;
use engine_core::seal::SealError;
use engine_core::stripes::FRAME_SEALED;
use std::ops::Range;

/// Whole frames, from one shard or several.
#[derive(Debug)]
pub(crate) struct Sealed(Vec<ShardBytes>);

/// Where an opened frame is.
enum Spot {
    InPlace(usize, Range<usize>),
    Apart(Bytes),
}

impl Sealed {
    pub(crate) fn new(shards: Vec<ShardBytes>) -> Self {
        Self(shards)
    }

    /// Has `open` open every frame, counted from 0, in place; the frames, each with its tag behind.
    pub(crate) fn open(
        mut self,
        mut open: impl FnMut(u64, &mut [u8]) -> Result<(), SealError>,
    ) -> Result<Vec<Bytes>, SealError> {
        let mut left: usize = self.0.iter().map(|shard| shard.len()).sum();
        let mut spots = Vec::with_capacity(left.div_ceil(FRAME_SEALED));
        // A frame that began in the shard before.
        let mut begun = BytesMut::new();
        for (index, shard) in self.0.iter_mut().enumerate() {
            let mut at = 0;
            while at < shard.len() {
                let frame = left.min(FRAME_SEALED);
                let end = shard.len().min(at + frame - begun.len());
                let number = spots.len() as u64;
                if begun.is_empty() && end - at == frame {
                    open(number, &mut shard[at..end])?;
                    spots.push(Spot::InPlace(index, at..end));
                    left -= frame;
                } else {
                    begun.reserve(frame - begun.len());
                    begun.extend_from_slice(&shard[at..end]);
                    if begun.len() == frame {
                        open(number, &mut begun)?;
                        spots.push(Spot::Apart(begun.split().freeze()));
                        left -= frame;
                    }
                }
                at = end;
            }
        }
        let shards: Vec<Bytes> = self.0.into_iter().map(ShardBytes::freeze).collect();
        let frames = spots.into_iter().map(|spot| match spot {
            Spot::InPlace(shard, range) => shards[shard].slice(range),
            Spot::Apart(frame) => frame,
        });
        Ok(frames.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shards of these lengths, filled with their bytes' numbers.
    fn shards(lengths: &[usize]) -> (Sealed, Vec<u8>) {
        let total = lengths.iter().sum();
        let whole: Vec<u8> = (0..total)
            .map(|n: usize| u8::try_from(n % 251).unwrap())
            .collect();
        let mut rest = &whole[..];
        let cut = lengths.iter().map(|length| {
            let (now, later) = rest.split_at(*length);
            rest = later;
            ShardBytes::from(Bytes::copy_from_slice(now))
        });
        (Sealed::new(cut.collect()), whole)
    }

    #[test]
    fn frames_come_whole_and_in_order_however_shards_cut_them() {
        for lengths in [
            &[FRAME_SEALED * 2][..],
            &[FRAME_SEALED, FRAME_SEALED, 100],
            &[FRAME_SEALED + 128, FRAME_SEALED - 127, 5],
            &[10, 20, FRAME_SEALED * 3, 7],
            &[17],
        ] {
            let (sealed, whole) = shards(lengths);
            let mut seen = Vec::new();
            let open = |number, frame: &mut [u8]| {
                seen.push((number, frame.len()));
                frame[0] ^= 0xff;
                Ok(())
            };
            let frames = sealed.open(open).unwrap();
            let due: Vec<(u64, usize)> = (0..)
                .zip(whole.chunks(FRAME_SEALED).map(<[u8]>::len))
                .collect();
            assert_eq!(seen, due, "{lengths:?}");
            for (frame, due) in frames.iter().zip(whole.chunks(FRAME_SEALED)) {
                assert_eq!(
                    (frame[0] ^ 0xff, &frame[1..]),
                    (due[0], &due[1..]),
                    "{lengths:?}"
                );
            }
        }
    }

    #[test]
    fn a_frame_within_a_shard_stays_where_it_is() {
        let (sealed, _) = shards(&[FRAME_SEALED + 1, FRAME_SEALED]);
        let (at, next) = (sealed.0[0].as_ptr(), sealed.0[1].as_ptr_range());
        let frames = sealed.open(|_, _| Ok(())).unwrap();
        assert_eq!(frames[0].as_ptr(), at);
        assert!(!next.contains(&frames[1].as_ptr()), "this one is in both");
        assert!(next.contains(&frames[2].as_ptr()));
    }

    #[test]
    fn nothing_is_given_where_one_frame_does_not_open() {
        let (sealed, _) = shards(&[FRAME_SEALED * 2]);
        let opened = sealed.open(|number, _| match number {
            0 => Ok(()),
            _ => Err(SealError::NotAuthentic),
        });
        assert!(opened.is_err());
    }
}
