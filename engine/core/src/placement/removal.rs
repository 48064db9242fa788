//! Whether a drive may leave: only where the others can hold what it held, as safely as before.

use super::{DriveState, Layout};
use crate::stripes::Geometry;
use engine_types::DriveId;

/// What is known of a drive's room, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DriveRoom {
    /// Which.
    pub drive: DriveId,
    /// It is in service.
    pub up: bool,
    /// Bytes of live shards.
    pub live: u64,
    /// Bytes free for shards.
    pub available: u64,
}

/// What a removal brings about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removal {
    /// How stripes are cut now.
    pub before: Geometry,
    /// How they will be: where it differs, every stripe is striped anew.
    pub after: Geometry,
}

/// Why a drive may not leave now; each says what would help.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemovalRefused {
    /// The layout names no such drive.
    #[error("the layout names no such drive")]
    NoSuchDrive,
    /// It leaves already.
    #[error("the drive is leaving already: `datamesh status` shows how far it is")]
    Leaving,
    /// What is left would bear fewer losses.
    #[error(
        "{left} drives would be left, on which stripes are {after_k}+{after_m} and bear the loss of {after_m} drives, not \
         {before_m}: replace the drive (`datamesh drive replace`), or add another first"
    )]
    Weaker {
        /// Drives left.
        left: usize,
        /// Losses borne now.
        before_m: u8,
        /// Data shards then.
        after_k: u8,
        /// Losses borne then.
        after_m: u8,
    },
    /// Another is out of service, or leaves already: one at a time.
    #[error(
        "drive {0} is out of service or leaving: bring it back, replace it, or wait until it has left"
    )]
    Another(DriveId),
    /// Too little room.
    #[error(
        "the other drives have {available} bytes free, and {needed} are needed: add a drive or delete something first"
    )]
    Room {
        /// Bytes that come to the others.
        needed: u64,
        /// Bytes they have free.
        available: u64,
    },
}

/// Part of the free room that is left unused, in hundredths: old copies are freed a while after new
/// ones are named, and drives do not fill evenly.
const ROOM_LEFT_PERCENT: u64 = 5;

/// Judges the removal of `drive`; `rooms` tells of every drive of the layout.
///
/// # Errors
/// [`RemovalRefused`].
pub fn removal(
    layout: &Layout,
    drive: DriveId,
    rooms: &[DriveRoom],
) -> Result<Removal, RemovalRefused> {
    let row = layout.drive(drive).ok_or(RemovalRefused::NoSuchDrive)?;
    if !row.state.counts() {
        return Err(RemovalRefused::Leaving);
    }
    let counted = layout.counted();
    let left = counted.saturating_sub(1);
    let none = Geometry { k: 1, m: 0 };
    let before = Geometry::for_drives(counted).unwrap_or(none);
    let after = Geometry::for_drives(left);
    let weaker = after.is_none_or(|after| after.m < before.m);
    #[cfg(sabotage)]
    let weaker = weaker && !engine_types::sabotage("remove-into-weakness");
    let after = after.unwrap_or(none);
    if weaker {
        return Err(RemovalRefused::Weaker {
            left,
            before_m: before.m,
            after_k: after.k,
            after_m: if left == 0 { 0 } else { after.m },
        });
    }
    let others = || rooms.iter().filter(|room| room.drive != drive);
    let going = layout
        .drives
        .iter()
        .find(|d| d.id != drive && !d.state.counts());
    let out = others().find(|room| !room.up).map(|room| room.drive);
    if let Some(another) = going.map(|d| d.id).or(out) {
        return Err(RemovalRefused::Another(another));
    }
    let needed = needed_bytes(before, after, drive, rooms);
    #[cfg(sabotage)]
    let needed = if engine_types::sabotage("remove-without-room") {
        0
    } else {
        needed
    };
    let takes = |room: &&DriveRoom| {
        let state = layout.drive(room.drive).map(|row| row.state);
        state == Some(DriveState::Active)
    };
    let available: u64 = others().filter(takes).map(|room| room.available).sum();
    if needed > available.saturating_sub(available / 100 * ROOM_LEFT_PERCENT) {
        return Err(RemovalRefused::Room { needed, available });
    }
    Ok(Removal { before, after })
}

/// Bytes that come to the other drives: what the drive holds, or what the new form takes more.
fn needed_bytes(before: Geometry, after: Geometry, drive: DriveId, rooms: &[DriveRoom]) -> u64 {
    let own = rooms
        .iter()
        .find(|room| room.drive == drive)
        .map_or(0, |room| room.live);
    if before == after {
        return own;
    }
    // As if all were in the form of now: what is in a narrower one takes no more than this.
    let all: u128 = rooms.iter().map(|room| u128::from(room.live)).sum();
    let of = |g: Geometry| u128::from(g.k) + u128::from(g.m);
    let then = all * u128::from(before.k) * of(after) / (of(before) * u128::from(after.k)).max(1);
    let stay = all - u128::from(own);
    u64::try_from(then.saturating_sub(stay)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{LayoutDrive, Voters};
    use engine_types::{DriveUuid, NodeId};

    fn layout(drives: u32) -> Layout {
        let drive = |id: u32| LayoutDrive {
            id: DriveId(id),
            uuid: DriveUuid([u8::try_from(id).unwrap_or(0); 16]),
            node: NodeId(1),
            zone: "z".into(),
            size_bytes: 1000,
            state: DriveState::Active,
        };
        Layout {
            version: 1,
            drives: (1..=drives).map(drive).collect(),
        }
    }

    fn rooms(drives: u32, live: u64, available: u64) -> Vec<DriveRoom> {
        (1..=drives)
            .map(|id| DriveRoom {
                drive: DriveId(id),
                up: true,
                live,
                available,
            })
            .collect()
    }

    #[test]
    fn losses_borne_and_voters_never_shrink() {
        let judged = |n: u32| removal(&layout(n), DriveId(1), &rooms(n, 0, 0));
        assert!(matches!(
            judged(1),
            Err(RemovalRefused::Weaker { left: 0, .. })
        ));
        assert!(matches!(
            judged(2),
            Err(RemovalRefused::Weaker { left: 1, .. })
        ));
        // The third voter moves to the witness.
        let three = judged(3).unwrap();
        assert_eq!((three.before.k, three.after.k), (2, 1));
        assert!(matches!(
            judged(4),
            Err(RemovalRefused::Weaker { left: 3, .. })
        ));
        let five = judged(5).unwrap();
        assert_eq!(five.before, five.after);
        for left in 1..12 {
            let voters = Voters::for_drives(left);
            assert!(left + usize::from(voters.witness) >= voters.count);
        }
        let six = judged(6).unwrap();
        assert_eq!((six.before.k, six.after.k), (4, 2));
        let seven = judged(7).unwrap();
        assert_eq!(seven.before, seven.after);
    }

    #[test]
    fn one_at_a_time_and_only_while_all_others_serve() {
        let mut some = rooms(7, 0, 0);
        some[3].up = false;
        let refused = removal(&layout(7), DriveId(1), &some);
        assert_eq!(refused, Err(RemovalRefused::Another(DriveId(4))));
        assert!(
            removal(&layout(7), DriveId(4), &some).is_ok(),
            "a dead one may go"
        );
        let mut going = layout(8);
        going.drives[2].state = DriveState::Leaving;
        let refused = removal(&going, DriveId(1), &rooms(8, 0, 0));
        assert_eq!(refused, Err(RemovalRefused::Another(DriveId(3))));
        let refused = removal(&going, DriveId(3), &rooms(8, 0, 0));
        assert_eq!(refused, Err(RemovalRefused::Leaving));
    }

    #[test]
    fn room_at_the_limit_and_one_byte_past_it() {
        // 600 bytes move; six others with 105 each have 630, of which 30 stay unused.
        let with = |live| removal(&layout(7), DriveId(1), &rooms(7, live, 105));
        assert!(with(600).is_ok());
        assert!(matches!(
            with(601),
            Err(RemovalRefused::Room {
                needed: 601,
                available: 630
            })
        ));
        // 4+2 to 2+2: 6 x 600 live bytes become 4,800, of which 3,000 are there.
        let wider = |available| removal(&layout(6), DriveId(1), &rooms(6, 600, available));
        assert!(matches!(
            wider(360),
            Err(RemovalRefused::Room { needed: 1800, .. })
        ));
        assert!(wider(400).is_ok());
    }
}
