//! The wide code: reed-solomon-simd, an FFT over GF(2^16).

use super::ErasureError;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

/// The library takes even lengths; ours are columns of 64.
const ALIGN: usize = 64;

fn unfit(error: reed_solomon_simd::Error) -> ErasureError {
    use reed_solomon_simd::Error;
    match error {
        Error::NotEnoughShards {
            original_received_count,
            recovery_received_count,
            original_count,
        } => ErasureError::TooFew {
            present: original_received_count + recovery_received_count,
            k: u8::try_from(original_count).unwrap_or(u8::MAX),
        },
        Error::DifferentShardSize { .. } | Error::InvalidShardSize { .. } => ErasureError::Length,
        _ => ErasureError::Index,
    }
}

pub(super) fn encode(data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), ErasureError> {
    let length = data.first().map_or(0, |shard| shard.len());
    if !length.is_multiple_of(ALIGN) {
        return Err(ErasureError::Length);
    }
    let mut encoder = ReedSolomonEncoder::new(data.len(), parity.len(), length).map_err(unfit)?;
    for shard in data {
        encoder.add_original_shard(shard).map_err(unfit)?;
    }
    let made = encoder.encode().map_err(unfit)?;
    for (out, made) in parity.iter_mut().zip(made.recovery_iter()) {
        out.copy_from_slice(made);
    }
    Ok(())
}

/// `sources` are exactly k different shards.
pub(super) fn reconstruct(
    (k, m): (u8, u8),
    sources: &[(u8, &[u8])],
    wanted: &mut [(u8, &mut [u8])],
) -> Result<(), ErasureError> {
    let length = sources.first().map_or(0, |(_, shard)| shard.len());
    if !length.is_multiple_of(ALIGN) {
        return Err(ErasureError::Length);
    }
    let mut data: Vec<Option<Vec<u8>>> = vec![None; usize::from(k)];
    for (index, shard) in sources {
        if let Some(slot) = data.get_mut(usize::from(*index)) {
            *slot = Some(shard.to_vec());
        }
    }
    if data.iter().any(Option::is_none) {
        let mut decoder =
            ReedSolomonDecoder::new(usize::from(k), usize::from(m), length).map_err(unfit)?;
        for (index, shard) in sources {
            match index.checked_sub(k) {
                None => decoder.add_original_shard(usize::from(*index), shard),
                Some(parity) => decoder.add_recovery_shard(usize::from(parity), shard),
            }
            .map_err(unfit)?;
        }
        let made = decoder.decode().map_err(unfit)?;
        for (index, shard) in made.restored_original_iter() {
            if let Some(slot) = data.get_mut(index) {
                *slot = Some(shard.to_vec());
            }
        }
    }
    let data: Option<Vec<&[u8]>> = data.iter().map(Option::as_deref).collect();
    let data = data.ok_or(ErasureError::Index)?;
    let mut parity = Vec::new();
    if wanted.iter().any(|(index, _)| *index >= k) {
        parity.resize(usize::from(m), vec![0; length]);
        let mut slices: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        encode(&data, &mut slices)?;
    }
    for (index, out) in wanted {
        let shard = match index.checked_sub(k) {
            None => data.get(usize::from(*index)).copied(),
            Some(row) => parity.get(usize::from(row)).map(Vec::as_slice),
        };
        out.copy_from_slice(shard.ok_or(ErasureError::Index)?);
    }
    Ok(())
}
