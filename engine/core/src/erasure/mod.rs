//! Erasure coding of one stripe: k data shards in, m parity shards out; any k of them give the rest.
//!
//! Two codes behind one seam. The number in every shard header says which was used, so a third may
//! come without touching what is stored. Both work on columns: byte ranges of the shards (starting
//! and ending at multiples of 64) can be rebuilt without the rest, which is how ranges are read
//! while shards are missing.

mod field;
mod kernel;
mod summed;
mod wide;

use kernel::Engine;
use serde::{Deserialize, Serialize};
pub use summed::encode_summed;

/// Which code a stripe was encoded with. The numbers are **format**.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Codec {
    /// Systematic Cauchy matrix over GF(2^8), polynomial 0x11d, row r column c = 1 / (r XOR c);
    /// k = 1 copies. For k < 16. A matrix code rebuilds as fast as it encodes.
    Cauchy,
    /// reed-solomon-simd (FFT over GF(2^16)). For k ≥ 16, where a matrix would cost k·m passes.
    Wide,
}

impl Codec {
    /// The number on disk.
    pub const fn id(self) -> u8 {
        match self {
            Self::Cauchy => 1,
            Self::Wide => 2,
        }
    }
    /// From the number on disk; `None` for numbers this build does not know.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Cauchy),
            2 => Some(Self::Wide),
            _ => None,
        }
    }
    /// The code for stripes of `k` data shards.
    pub const fn for_data_shards(k: u8) -> Self {
        if k < WIDE_DATA_SHARDS_MIN {
            Self::Cauchy
        } else {
            Self::Wide
        }
    }
}

/// From this many data shards on, [`Codec::Wide`].
pub const WIDE_DATA_SHARDS_MIN: u8 = 16;
const _: () = assert!(
    WIDE_DATA_SHARDS_MIN as usize <= kernel::INPUTS_MAX,
    "the kernel takes every narrow geometry"
);

/// Why shards could not be made. All but `TooFew` are mistakes of the caller or of a foreign header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// No code has this k, m.
    #[error("no code for {k}+{m}")]
    Geometry {
        /// Data shards.
        k: u8,
        /// Parity shards.
        m: u8,
    },
    /// Fewer than k different shards are at hand.
    #[error("{present} of {k} shards needed")]
    TooFew {
        /// Different shards given.
        present: usize,
        /// Needed.
        k: u8,
    },
    /// Slices differ in length, have none, or (wide code) are no multiple of 64.
    #[error("shards of different or unfit lengths")]
    Length,
    /// An index ≥ k + m, or a number of slices that is not k or m.
    #[error("no such shard")]
    Index,
}

/// Fills `parity` (m slices) from `data` (k slices), all of one length. m = 0: nothing to do.
///
/// # Errors
/// See [`ErasureError`]; `parity` is then unspecified.
pub fn encode(
    codec: Codec,
    (k, m): (u8, u8),
    data: &[&[u8]],
    parity: &mut [&mut [u8]],
) -> Result<(), ErasureError> {
    check_geometry(codec, k, m)?;
    if data.len() != usize::from(k) || parity.len() != usize::from(m) {
        return Err(ErasureError::Index);
    }
    let length = data.first().map_or(0, |d| d.len());
    let even = data.iter().all(|d| d.len() == length) && parity.iter().all(|p| p.len() == length);
    if !even || length == 0 {
        return Err(ErasureError::Length);
    }
    if m == 0 {
        return Ok(());
    }
    match codec {
        Codec::Cauchy => {
            let rows: Vec<u8> = (k..k + m)
                .flat_map(|row| (0..k).map(move |column| field::generator(k, row, column)))
                .collect();
            kernel::combine(Engine::best(), &rows, data, parity);
            Ok(())
        }
        Codec::Wide => wide::encode(data, parity),
    }
}

/// Fills the `wanted` shards (index, slice) from any k different `present` ones; all slices are the
/// same column range of their shards. More than k present are fine: the first k different are used,
/// so put the cheapest (data) first. A wanted shard that is present is copied.
///
/// # Errors
/// See [`ErasureError`]; `wanted` is then unspecified.
pub fn reconstruct(
    codec: Codec,
    (k, m): (u8, u8),
    present: &[(u8, &[u8])],
    wanted: &mut [(u8, &mut [u8])],
) -> Result<(), ErasureError> {
    check_geometry(codec, k, m)?;
    let mut sources: Vec<(u8, &[u8])> = Vec::with_capacity(usize::from(k));
    for &(index, shard) in present {
        if sources.len() < usize::from(k) && sources.iter().all(|(other, _)| *other != index) {
            sources.push((index, shard));
        }
    }
    if sources.len() < usize::from(k) {
        return Err(ErasureError::TooFew {
            present: sources.len(),
            k,
        });
    }
    let length = sources.first().map_or(0, |(_, shard)| shard.len());
    let even = sources.iter().all(|(_, shard)| shard.len() == length)
        && wanted.iter().all(|(_, shard)| shard.len() == length);
    if !even || length == 0 {
        return Err(ErasureError::Length);
    }
    let mut indexes = sources
        .iter()
        .map(|(i, _)| *i)
        .chain(wanted.iter().map(|(i, _)| *i));
    if indexes.any(|index| index >= k + m) {
        return Err(ErasureError::Index);
    }
    match codec {
        Codec::Cauchy => rebuild_narrow(k, &sources, wanted),
        Codec::Wide => wide::reconstruct((k, m), &sources, wanted),
    }
}

fn check_geometry(codec: Codec, k: u8, m: u8) -> Result<(), ErasureError> {
    let fits = k > 0 && k.checked_add(m).is_some();
    if fits && (codec == Codec::Wide || k < WIDE_DATA_SHARDS_MIN) {
        Ok(())
    } else {
        Err(ErasureError::Geometry { k, m })
    }
}

/// wanted = generator(wanted) · generator(sources)⁻¹ · sources.
fn rebuild_narrow(
    k: u8,
    sources: &[(u8, &[u8])],
    wanted: &mut [(u8, &mut [u8])],
) -> Result<(), ErasureError> {
    let row_of = |row: u8| (0..k).map(move |column| field::generator(k, row, column));
    let mut inverse: Vec<Vec<u8>> = sources.iter().map(|(i, _)| row_of(*i).collect()).collect();
    if !field::invert(&mut inverse) {
        // Every square submatrix of a Cauchy matrix is regular: cannot happen for distinct rows.
        return Err(ErasureError::Index);
    }
    let rows: Vec<u8> = wanted
        .iter()
        .flat_map(|(index, _)| {
            let generator: Vec<u8> = row_of(*index).collect();
            (0..usize::from(k)).map({
                let inverse = &inverse;
                move |column| {
                    generator
                        .iter()
                        .zip(inverse)
                        .fold(0, |sum, (&g, row)| sum ^ field::multiply(g, row[column]))
                }
            })
        })
        .collect();
    let inputs: Vec<&[u8]> = sources.iter().map(|(_, shard)| *shard).collect();
    let mut outputs: Vec<&mut [u8]> = wanted.iter_mut().map(|(_, shard)| &mut **shard).collect();
    kernel::combine(Engine::best(), &rows, &inputs, &mut outputs);
    Ok(())
}

#[cfg(test)]
mod tests;
