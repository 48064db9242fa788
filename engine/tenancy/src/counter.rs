//! How much is stored, and for how long: an exact integral, so that a bill can be recomputed.

use engine_types::Stamp;
use serde::{Deserialize, Serialize};

/// Bytes and objects stored in one scope and storage class, and byte-milliseconds up to `since`.
///
/// **Format.** `bytes` has been constant since `since`; what has accrued after it is not yet in
/// `byte_ms`. Only a change integrates, so an idle scope costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counter {
    /// Counted bytes now: plaintext + key + metadata + tags of versions, uploads and their parts.
    pub bytes: u64,
    /// Versions + delete markers + open uploads now.
    pub objects: u64,
    /// When `bytes` last changed.
    pub since: Stamp,
    /// Integral of `bytes` over time up to `since`, in byte·ms. Never falls.
    pub byte_ms: u128,
}

/// A change of one counter. Wider than a counter, so that sums of a command cannot wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// Bytes more (or fewer).
    pub bytes: i128,
    /// Objects more (or fewer).
    pub objects: i128,
}

/// The counter would leave its range: rows and counter have parted, which a correct state machine
/// never lets happen. The replica stops; a guessed sum would be billed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("counter of {bytes} bytes, {objects} objects cannot change by {delta:?}")]
pub struct CounterError {
    /// Bytes before.
    pub bytes: u64,
    /// Objects before.
    pub objects: u64,
    /// The change asked for.
    pub delta: Delta,
}

impl Delta {
    /// One object (version, marker or upload) of `bytes` more.
    pub fn object(bytes: u64) -> Self {
        Self {
            bytes: i128::from(bytes),
            objects: 1,
        }
    }
    /// `bytes` more, no object: an uploaded part.
    pub fn bytes(bytes: u64) -> Self {
        Self {
            bytes: i128::from(bytes),
            objects: 0,
        }
    }
    /// Nothing changes.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl std::ops::Neg for Delta {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            bytes: -self.bytes,
            objects: -self.objects,
        }
    }
}

impl std::ops::AddAssign for Delta {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.objects += more.objects;
    }
}

impl Counter {
    /// Integrates up to `stamp`, then changes by `delta`. A stamp before `since` (never, within one
    /// partition) integrates nothing. On error nothing has changed.
    pub fn apply(&mut self, delta: Delta, stamp: Stamp) -> Result<(), CounterError> {
        let changed = |now: u64, by: i128| u64::try_from(i128::from(now) + by);
        let (Ok(bytes), Ok(objects)) = (
            changed(self.bytes, delta.bytes),
            changed(self.objects, delta.objects),
        ) else {
            return Err(CounterError {
                bytes: self.bytes,
                objects: self.objects,
                delta,
            });
        };
        self.byte_ms = self.byte_ms_at(stamp);
        self.since = self.since.max(stamp);
        self.bytes = bytes;
        self.objects = objects;
        Ok(())
    }

    /// The integral up to `stamp`, as if nothing changed until then.
    pub fn byte_ms_at(&self, stamp: Stamp) -> u128 {
        let ms = stamp.0.saturating_sub(self.since.0);
        // u64 × u64 fits in u128; the sum reaches its end after 10^12 years of a full exabyte.
        self.byte_ms
            .saturating_add(u128::from(self.bytes) * u128::from(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integrates_between_changes() {
        let mut counter = Counter::default();
        counter.apply(Delta::object(10), Stamp(1_000)).unwrap();
        counter.apply(Delta::bytes(5), Stamp(1_100)).unwrap();
        counter.apply(-Delta::object(15), Stamp(1_200)).unwrap();
        let want = Counter {
            bytes: 0,
            objects: 0,
            since: Stamp(1_200),
            byte_ms: 1_000 + 1_500,
        };
        assert_eq!(counter, want);
        assert_eq!(counter.byte_ms_at(Stamp(9_999)), 2_500);
    }

    #[test]
    fn at_its_ends_and_one_past_them() {
        let mut counter = Counter::default();
        counter.apply(Delta::bytes(u64::MAX), Stamp(1)).unwrap();
        let full = counter;
        assert!(counter.apply(Delta::bytes(1), Stamp(2)).is_err());
        assert_eq!(counter, full, "a refused change changes nothing");
        counter.apply(-Delta::bytes(u64::MAX), Stamp(2)).unwrap();
        assert!(counter.apply(-Delta::bytes(1), Stamp(3)).is_err());
        assert!(counter.apply(-Delta::object(0), Stamp(3)).is_err());
    }

    proptest! {
        #[test]
        fn integral_is_the_sum_of_rectangles(steps in prop::collection::vec((0..1_000u64, 0..50u64), 1..50)) {
            let (mut counter, mut now, mut held, mut sum) = (Counter::default(), 0, 0u64, 0u128);
            for (bytes, wait) in steps {
                sum += u128::from(held) * u128::from(wait);
                now += wait;
                let delta = Delta { bytes: i128::from(bytes) - i128::from(held), objects: 0 };
                counter.apply(delta, Stamp(now)).unwrap();
                held = bytes;
            }
            prop_assert_eq!(counter.byte_ms, sum);
            prop_assert_eq!(counter.bytes, held);
        }
    }
}
