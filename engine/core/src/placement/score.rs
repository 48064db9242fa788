//! Scores in integers: equal on every platform.

use engine_types::DriveUuid;
use std::cmp::Ordering;

/// −log2(u) in 2^-48 parts, and the weight it is divided by. Ordered by the quotient, which is
/// never formed: a/b < c/d as a·d < c·b.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    distance: u64,
    weight: u64,
}

impl Score {
    /// Of a drive for a key.
    pub(super) fn of(key: u128, drive: DriveUuid, size_bytes: u64) -> Self {
        let mixed = spread(key ^ spread(u128::from_be_bytes(drive.0)));
        Self {
            distance: minus_log2(low_half(mixed >> 64)),
            weight: size_bytes.max(1),
        }
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.distance) * u128::from(other.weight);
        let right = u128::from(other.distance) * u128::from(self.weight);
        left.cmp(&right)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

/// A bijection that spreads every input bit over all output bits (two rounds of a Feistel network
/// with splitmix64's finaliser). Ids are chosen by nobody hostile: no keyed hash is needed.
pub(super) fn spread(value: u128) -> u128 {
    let [mut high, mut low] = [value >> 64, value].map(low_half);
    for constants in [
        [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03],
        [0x3c6e_f372_fe94_f82a, 0xa36a_9465_a325_da06],
    ] {
        low ^= finalise(high.wrapping_add(constants[0]));
        high ^= finalise(low.wrapping_add(constants[1]));
    }
    u128::from(high) << 64 | u128::from(low)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low_half(value: u128) -> u64 {
    value as u64
}

fn finalise(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Binary digits behind the point.
const FRACTION: u32 = 48;
/// The table has 2^10 steps of the mantissa; between them it is interpolated.
const STEPS: u32 = 10;

/// log2(1 + i/1024) in 2^-48 parts, by repeated squaring.
static LOG2: [u64; (1 << STEPS) + 1] = {
    let mut table = [0; (1 << STEPS) + 1];
    let mut i = 0;
    while i < 1 << STEPS {
        // The mantissa in [1, 2), 63 digits behind the point.
        let mut mantissa: u128 = (1 << 63) + ((i as u128) << (63 - STEPS));
        let mut log: u64 = 0;
        let mut digit = 0;
        while digit < FRACTION {
            mantissa = (mantissa * mantissa) >> 63;
            log <<= 1;
            if mantissa >= 1 << 64 {
                mantissa >>= 1;
                log |= 1;
            }
            digit += 1;
        }
        table[i] = log;
        i += 1;
    }
    table[1 << STEPS] = 1 << FRACTION;
    table
};

/// −log2((x + 1) / 2^64) in 2^-48 parts, off by less than 2^-22: 0.2 % of the winner's score among
/// 10,000 drives. 64·2^48 for 0, 0 for the largest.
fn minus_log2(x: u64) -> u64 {
    let Some(x) = x.checked_add(1) else {
        return 0;
    };
    let exponent = x.ilog2();
    // Mantissa without its leading one, 63 digits.
    let mantissa = (x << (63 - exponent)) & (u64::MAX >> 1);
    let step = (mantissa >> (63 - STEPS)) as usize;
    let within = mantissa & ((1 << (63 - STEPS)) - 1);
    let (low, high) = (LOG2[step], LOG2[step + 1]);
    let part = (u128::from(high - low) * u128::from(within)) >> (63 - STEPS);
    let log = (u64::from(exponent) << FRACTION) + low + low_half(part);
    (64 << FRACTION) - log
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        assert_eq!(minus_log2(0), 64 << FRACTION);
        assert_eq!(minus_log2(u64::MAX), 0);
        assert_eq!(minus_log2((1 << 63) - 1), 1 << FRACTION);
        let mut last = u64::MAX;
        let mut x = 1_u64;
        while x < u64::MAX - (x >> 7) {
            let exact = 64.0 - (x as f64 + 1.0).log2();
            let got = minus_log2(x);
            assert!(
                (got as f64 / (1_u64 << FRACTION) as f64 - exact).abs() < 1.0 / 4e6,
                "{x}"
            );
            assert!(got <= last, "falls with {x}");
            last = got;
            x += (x >> 8) + 1;
        }
    }

    #[test]
    fn spreading_is_even() {
        // Flipping any input bit flips about half of the output bits.
        for bit in 0..128 {
            let flips: u32 = (0..64_u128)
                .map(|v| (spread(v * v) ^ spread((v * v) ^ (1 << bit))).count_ones())
                .sum();
            assert!((64 * 60..64 * 68).contains(&flips), "bit {bit}: {flips}");
        }
    }
}
