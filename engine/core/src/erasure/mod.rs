//! Being written.
use serde::{Deserialize, Serialize};

/// Which code a stripe was encoded with. The numbers are **format**.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Codec {
    /// Systematic Cauchy matrix over GF(2^8), polynomial 0x11d. For k < 16.
    Cauchy,
    /// reed-solomon-simd (FFT over GF(2^16)). For k ≥ 16.
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
}
