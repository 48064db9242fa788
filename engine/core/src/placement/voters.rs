//! Where a partition's voters lie: each on a drive of its own, and where the drives are fewer than the
//! voters, one more beside them, in the witness.
//!
//! Stripes bear the loss of m drives, and metadata must bear as much: of 2m+1 voters, m may be lost.
//! Geometry leaves at most one voter without a drive (2 drives: 1+1; 4 drives: 2+2). Fewer voters
//! there were turned down: of one voter on two drives, the loss of its drive loses everything.

use crate::stripes::Geometry;
use engine_types::DriveId;
use std::collections::BTreeSet;

/// How many voters a partition has, and whether one of them lies in the witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Voters {
    /// 2m+1.
    pub count: usize,
    /// The drives are fewer: one lies in the witness.
    pub witness: bool,
}

impl Voters {
    /// With `drives` drives that count, and stripes that bear the loss of `m`.
    pub fn over(drives: usize, m: u8) -> Self {
        let count = 2 * usize::from(m) + 1;
        let witness = drives < count;
        #[cfg(sabotage)]
        let witness = witness && !engine_types::sabotage("no-witness");
        Self { count, witness }
    }

    /// With the geometry that so many drives have. Without any drive there is nothing to witness.
    pub fn for_drives(drives: usize) -> Self {
        match Geometry::for_drives(drives) {
            Some(geometry) => Self::over(drives, geometry.m),
            None => Self {
                count: 1,
                witness: false,
            },
        }
    }

    /// Where voters may lie: on any of `drives`, and in the witness where it is needed.
    pub fn homes(self, drives: impl IntoIterator<Item = DriveId>) -> BTreeSet<DriveId> {
        let mut homes: BTreeSet<DriveId> = drives.into_iter().collect();
        if self.witness {
            homes.insert(DriveId::WITNESS);
        }
        homes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_and_four_drives_have_a_witness() {
        let of = |drives| {
            let voters = Voters::for_drives(drives);
            (voters.count, voters.witness)
        };
        assert_eq!(of(0), (1, false));
        assert_eq!(of(1), (1, false));
        assert_eq!(of(2), (3, true));
        assert_eq!(of(3), (3, false));
        assert_eq!(of(4), (5, true));
        for drives in 5..100 {
            assert_eq!(of(drives), (5, false), "{drives}");
        }
    }

    /// Every way to lose up to `m` of the homes.
    fn losses(homes: usize, m: u32) -> impl Iterator<Item = u32> {
        (0..1_u32 << homes).filter(move |lost| lost.count_ones() <= m)
    }

    #[test]
    fn each_voter_has_a_home_of_its_own_and_a_majority_outlives_any_m_losses() {
        for drives in 1..=12 {
            let m = Geometry::for_drives(drives).map_or(0, |geometry| geometry.m);
            let voters = Voters::over(drives, m);
            let numbers = (1..=u32::try_from(drives).unwrap()).map(DriveId);
            let homes: Vec<DriveId> = voters.homes(numbers).into_iter().collect();
            assert!(homes.len() >= voters.count, "{drives} drives");
            assert_eq!(homes.contains(&DriveId::WITNESS), voters.witness);
            for lost in losses(homes.len(), u32::from(m)) {
                // Whichever of the homes the voters took: here the first ones, elsewhere others.
                for first in 0..homes.len() {
                    let chosen = (0..voters.count).map(|at| (first + at) % homes.len());
                    let left = chosen.filter(|at| lost & (1 << at) == 0).count();
                    assert!(left * 2 > voters.count, "{drives} drives, lost {lost:b}");
                }
            }
        }
    }

    #[test]
    fn the_witness_is_used_only_where_a_drive_lacks() {
        for m in 0..=8 {
            for drives in 1..=40 {
                let voters = Voters::over(drives, m);
                assert_eq!(voters.count, 2 * usize::from(m) + 1);
                assert_eq!(voters.witness, drives < voters.count);
            }
        }
    }
}
