//! Places of a drive's segments that do not read, and how many of them a drive may have.
//!
//! A sector that is lost is damage, as a flipped bit is: its shard is made anew from others, and the
//! drive serves all else. To fail the drive for it was turned down: opened again it would meet the
//! same sector, and so for ever. What tells a drive that fails from one that has lost a sector is
//! that the same segment reads elsewhere, and that there are few such places at a time.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Places that may be found unreadable within [`WITHIN`]; one more fails the drive.
pub(crate) const UNREADABLE_PLACES_MAX: usize = 32;
const WITHIN: Duration = Duration::from_mins(1);
/// Reads that begin in the same so many bytes of a segment meet the same place.
const PLACE_BYTES: u64 = 1024 * 1024;

/// What one that was met is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// It was met lately.
    Known,
    /// It was not.
    New,
    /// Nor was it, and there are as many as may be.
    TooMany,
}

#[derive(Debug)]
struct Place {
    met: Instant,
    file: String,
    number: u64,
}

/// Those of one opened root that were met lately.
#[derive(Debug, Default)]
pub(crate) struct BadPlaces(Mutex<VecDeque<Place>>);

impl BadPlaces {
    pub(crate) fn meet(&self, file: &str, offset: u64, now: Instant) -> Met {
        let mut places = self.0.lock();
        while let Some(first) = places.front()
            && now.saturating_duration_since(first.met) >= WITHIN
        {
            places.pop_front();
        }
        let number = offset / PLACE_BYTES;
        if places
            .iter()
            .any(|p| (p.number, &*p.file) == (number, file))
        {
            return Met::Known;
        }
        if places.len() >= UNREADABLE_PLACES_MAX {
            return Met::TooMany;
        }
        places.push_back(Place {
            met: now,
            file: file.to_owned(),
            number,
        });
        Met::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_may_have_so_many_bad_places_at_a_time_and_not_one_more() {
        let places = BadPlaces::default();
        let start = Instant::now();
        for number in 0..UNREADABLE_PLACES_MAX as u64 {
            assert_eq!(places.meet("1", number * PLACE_BYTES, start), Met::New);
            assert_eq!(
                places.meet("1", number * PLACE_BYTES + 1, start),
                Met::Known
            );
        }
        assert_eq!(places.meet("2", 0, start), Met::TooMany, "one past it");
        let later = start + WITHIN;
        assert_eq!(places.meet("1", 0, later), Met::New, "and begins anew");
    }
}
