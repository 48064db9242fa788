//! How many data and parity shards a stripe gets, from the drives there are and those that answer.

use serde::{Deserialize, Serialize};

/// Data and parity shards of a stripe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Geometry {
    /// Data shards, ≥ 1.
    pub k: u8,
    /// Parity shards: how many drives may be lost.
    pub m: u8,
}

/// What to write now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The stripe's geometry.
    pub geometry: Geometry,
    /// Shards that have no drive now and are queued for repair in the commit: 0 or 1. It is the
    /// last, a parity shard, so that reads need no rebuilding.
    pub queued: u8,
}

impl Choice {
    /// Shards to be durable before the commit.
    pub fn shards(self) -> usize {
        self.geometry
            .shards()
            .saturating_sub(usize::from(self.queued))
    }
}

impl Geometry {
    /// k + m.
    pub fn shards(self) -> usize {
        usize::from(self.k) + usize::from(self.m)
    }

    /// What a layout of `drives` drives writes when all is well: 1 → 1+0, 2 → 1+1, 3 → 2+1,
    /// 4 and 5 → 2+2, from 6 on 4+2. `None` for no drives.
    pub const fn for_drives(drives: usize) -> Option<Self> {
        let (k, m) = match drives {
            0 => return None,
            1 => (1, 0),
            2 => (1, 1),
            3 => (2, 1),
            4 | 5 => (2, 2),
            _ => (4, 2),
        };
        Some(Self { k, m })
    }

    /// What to write now: `target` is the layout's, `writable` drives take writes, `out` of the
    /// layout's drives are out of service (gone, failed, silent); full and read-only ones are
    /// neither. `None`: too few, answer 503.
    ///
    /// m never shrinks. One shard may be left out only in place of a drive that is out of service:
    /// that drive is one of the m whose loss is promised to cost nothing. Otherwise k is halved,
    /// not below m, and the stripe is re-striped later. A smaller k with a shard missing is written
    /// only while no more than m drives are out: beyond that nothing was promised, and what is
    /// written would hang on too few drives.
    pub fn choose(target: Self, writable: usize, out: usize) -> Option<Choice> {
        let mut geometry = target;
        #[cfg(sabotage)]
        let out = out.max(usize::from(engine_types::sabotage("leave-out-a-shard")));
        loop {
            let full = geometry.shards();
            let queued = if writable >= full {
                Some(0)
            } else if writable + 1 == full && (1..=usize::from(target.m)).contains(&out) {
                Some(1)
            } else {
                None
            };
            if let Some(queued) = queued {
                return Some(Choice { geometry, queued });
            }
            let k = 1 << (geometry.k.max(2) - 1).ilog2();
            #[cfg(sabotage)]
            if engine_types::sabotage("shrink-parity") && geometry.m > 0 {
                geometry.m -= 1;
                continue;
            }
            if k >= geometry.k || k < geometry.m {
                return None;
            }
            geometry.k = k;
        }
    }

    /// Whether `self` is weaker than what the layout should have: tolerates fewer losses, or is
    /// narrower and so costs more. Such stripes are re-striped, weakest first.
    pub fn falls_short_of(self, target: Self) -> bool {
        (self.m, self.k) < (target.m, target.k)
    }
}
