//! Encoding, and the checksums of what is encoded, in one pass.
//!
//! A stripe with its parity is larger than a core's cache. Encoded whole and summed afterwards, every
//! byte of it comes from memory twice, and that is most of what a checksum costs.

use super::{Codec, ErasureError, encode};
use crate::format::{BLOCK_BYTES, block_checksums};

/// As [`encode`]; also the CRC32C of each [`BLOCK_BYTES`] of each of the k + m shards, data first.
///
/// # Errors
/// As [`encode`].
pub fn encode_summed(
    codec: Codec,
    (k, m): (u8, u8),
    data: &[&[u8]],
    parity: &mut [&mut [u8]],
) -> Result<Vec<Vec<u32>>, ErasureError> {
    let length = data.first().map_or(0, |shard| shard.len());
    let shards = data.iter().map(|shard| shard.len());
    if !shards
        .chain(parity.iter().map(|shard| shard.len()))
        .all(|other| other == length)
    {
        return Err(ErasureError::Length);
    }
    let step = match codec {
        Codec::Cauchy => BLOCK_BYTES,
        // Has a fixed cost a call.
        Codec::Wide => length.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES),
    };
    let blocks = length.div_ceil(BLOCK_BYTES);
    let mut sums = vec![Vec::with_capacity(blocks); data.len() + parity.len()];
    let mut start = 0;
    // Once at least: what cannot be encoded is refused, also where there is nothing of it.
    loop {
        let end = length.min(start + step);
        let inputs: Vec<&[u8]> = data.iter().map(|shard| &shard[start..end]).collect();
        let mut outputs: Vec<&mut [u8]> = parity
            .iter_mut()
            .map(|shard| &mut shard[start..end])
            .collect();
        encode(codec, (k, m), &inputs, &mut outputs)?;
        let encoded = inputs
            .into_iter()
            .chain(outputs.iter().map(|output| &**output));
        for (sums, shard) in sums.iter_mut().zip(encoded) {
            sums.extend(block_checksums(shard));
        }
        start = end;
        if start == length {
            return Ok(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_and_sums_are_those_of_two_passes() {
        for (k, length) in [
            (4, 64),
            (4, BLOCK_BYTES),
            (4, 3 * BLOCK_BYTES + 128),
            (2, BLOCK_BYTES + 64),
            (17, 2 * BLOCK_BYTES),
        ] {
            let codec = Codec::for_data_shards(k);
            let data: Vec<Vec<u8>> = (0..k)
                .map(|n| {
                    (0..length)
                        .map(|i| u8::try_from((i * 7 + usize::from(n) * 13) % 251).unwrap())
                        .collect()
                })
                .collect();
            let data: Vec<&[u8]> = data.iter().map(|shard| &shard[..]).collect();
            let (mut once, mut twice) = (vec![vec![0; length]; 2], vec![vec![0; length]; 2]);
            let mut rows: Vec<&mut [u8]> = once.iter_mut().map(|row| &mut row[..]).collect();
            let sums = encode_summed(codec, (k, 2), &data, &mut rows).unwrap();
            let mut rows: Vec<&mut [u8]> = twice.iter_mut().map(|row| &mut row[..]).collect();
            encode(codec, (k, 2), &data, &mut rows).unwrap();
            assert_eq!(once, twice, "{k} {length}");
            let shards = data.iter().copied().chain(twice.iter().map(|row| &row[..]));
            let due: Vec<Vec<u32>> = shards.map(block_checksums).collect();
            assert_eq!(sums, due, "{k} {length}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (long, short) = ([1; 128], [1; 64]);
        let refused = |data: &[&[u8]], parity: &mut [&mut [u8]]| {
            encode_summed(Codec::Cauchy, (2, 1), data, parity).unwrap_err()
        };
        let mut parity = [0; 128];
        assert_eq!(
            refused(&[&long, &short], &mut [&mut parity]),
            ErasureError::Length
        );
        assert_eq!(
            refused(&[&long, &long], &mut [&mut parity[..64]]),
            ErasureError::Length
        );
        assert_eq!(refused(&[&long], &mut [&mut parity]), ErasureError::Index);
        assert_eq!(refused(&[&[], &[]], &mut [&mut []]), ErasureError::Length);
    }
}
