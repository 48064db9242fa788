//! Where shards should be: weighted XOR distance over the layout, within failure domains.
//!
//! Each drive has a score for each stripe, −log2(mix(stripe XOR drive) / 2^64) / size, and the
//! lowest win: a drive's chance is its share of the bytes, nobody keeps a ring, and a drive that
//! joins or leaves changes only the stripes it wins or had won. Drives are taken in order of score
//! while zone and node have room. Taking greedily under such nested limits (a laminar matroid) has
//! a property the whole of rebalancing rests on: one drive more or less changes a stripe's choice
//! by at most one drive. Choosing a zone first, then a node in it, then a drive, was turned down:
//! weights then bend where zones differ in size. Its cost grows with the layout: a microsecond for
//! six drives, 0.1 µs for each further one; where thousands make that felt, cells come first.
//!
//! The stripe map records where shards are; a changed layout breaks nothing. Scores must be equal
//! on all nodes, so they are integers: `f64::ln` differs between platforms.

mod change;
mod plan;
mod removal;
mod score;
mod voters;

pub use change::{LayoutChange, LayoutRefusal};
pub use plan::{Fleet, Plan, Work};
pub use removal::{DriveRoom, Removal, RemovalRefused, removal};
pub use voters::Voters;

use crate::erasure::ErasureError;
use engine_types::{DataId, DriveId, DriveUuid, NodeId};
use score::Score;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What may be written to a drive, as operators and control have it. Whether it answers just now is
/// not here: that changes by the second and is not stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum DriveState {
    /// Takes shards.
    Active,
    /// Keeps its shards, takes no new ones: set read-only, or mounted so.
    ReadOnly,
    /// Being emptied: its shards move away.
    Leaving,
    /// Has no room for now; set and cleared by control with hysteresis.
    Full,
    /// Will not come back: its shards are made anew elsewhere, and nothing waits for it. For good.
    Gone,
}

/// One drive of the layout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayoutDrive {
    /// Its number.
    pub id: DriveId,
    /// The uuid in its mark: what scores are made of, so that a drive keeps its shards when it is
    /// taken out and put in again under another number.
    pub uuid: DriveUuid,
    /// The node it is in.
    pub node: NodeId,
    /// The zone its node is in.
    pub zone: String,
    /// Its weight. 0 counts as 1.
    pub size_bytes: u64,
    /// What may be written to it.
    pub state: DriveState,
}

/// The versioned list of drives, stored in control.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Layout {
    /// Raised by one by every change.
    pub version: u64,
    /// Sorted by id; ids and uuids are unique.
    pub drives: Vec<LayoutDrive>,
}

/// What is placed: a stripe, or anything else that wants distinct drives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PlacementKey(u128);

impl PlacementKey {
    /// Of a part's stripe.
    pub fn stripe(data: DataId, stripe: u32) -> Self {
        Self(score::spread(u128::from_be_bytes(data.0)) ^ score::spread(u128::from(stripe)))
    }
    /// Of a thing with a number of its own (a partition's voters); `kind` keeps kinds apart.
    pub fn numbered(kind: u8, number: u64) -> Self {
        let wide = 1 << 127 | u128::from(kind) << 64 | u128::from(number);
        Self(score::spread(wide))
    }
}

/// Fewer drives than shards: each shard needs a drive of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{needed} drives needed, {eligible} can be used")]
pub struct TooFewDrives {
    /// Drives that may be used.
    pub eligible: usize,
    /// Shards to place.
    pub needed: usize,
}

impl Layout {
    /// The drive of this number.
    pub fn drive(&self, id: DriveId) -> Option<&LayoutDrive> {
        self.drives.iter().find(|drive| drive.id == id)
    }

    /// `shards` different drives among the `eligible`, best first: at most `m` in a zone and `m` in
    /// a node (at least one) where the drives allow, otherwise as few more as can be, zones first.
    /// Same arguments, same answer, on every platform.
    ///
    /// # Errors
    /// [`TooFewDrives`].
    pub fn place(
        &self,
        key: PlacementKey,
        shards: usize,
        m: usize,
        eligible: impl Fn(&LayoutDrive) -> bool,
    ) -> Result<Vec<DriveId>, TooFewDrives> {
        let drives: Vec<&LayoutDrive> = self.drives.iter().filter(|d| eligible(d)).collect();
        if drives.len() < shards {
            return Err(TooFewDrives {
                eligible: drives.len(),
                needed: shards,
            });
        }
        let limits = Limits::of(drives.iter().copied(), shards, m);
        // A heap, not a sort: few of many drives are looked at.
        let mut best: BinaryHeap<_> = drives
            .iter()
            .enumerate()
            .map(|(i, d)| Reverse((Score::of(key.0, d.uuid, d.size_bytes), d.uuid, i)))
            .collect();
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        let mut nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut chosen = Vec::with_capacity(shards);
        while chosen.len() < shards
            && let Some(Reverse((_, _, i))) = best.pop()
        {
            let drive = drives[i];
            let zone = zones.entry(&drive.zone).or_default();
            let node = nodes.entry(drive.node).or_default();
            if *zone < limits.zone && *node < limits.node {
                *zone += 1;
                *node += 1;
                chosen.push(drive.id);
            }
        }
        Ok(chosen)
    }
}

/// Most shards in one zone and in one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Limits {
    zone: usize,
    node: usize,
}

impl Limits {
    /// The smallest limits ≥ m (and ≥ 1) that leave room for all shards; zones are served first.
    fn of<'a>(drives: impl Iterator<Item = &'a LayoutDrive>, shards: usize, m: usize) -> Self {
        let mut zones: BTreeMap<&str, BTreeMap<NodeId, usize>> = BTreeMap::new();
        for drive in drives {
            let nodes = zones.entry(&drive.zone).or_default();
            *nodes.entry(drive.node).or_default() += 1;
        }
        let room = |zone: usize, node: usize| -> usize {
            zones
                .values()
                .map(|nodes| {
                    nodes
                        .values()
                        .map(|d| node.min(*d))
                        .sum::<usize>()
                        .min(zone)
                })
                .sum()
        };
        let least = m.max(1);
        #[cfg(sabotage)]
        let least = if engine_types::sabotage("ignore-domains") {
            shards
        } else {
            least
        };
        let fits = |room: &dyn Fn(usize) -> usize| {
            (least..=shards)
                .find(|c| room(*c) >= shards)
                .unwrap_or(shards.max(least))
        };
        let zone = fits(&|c| room(c, shards));
        let node = fits(&|c| room(zone, c));
        Self { zone, node }
    }
}

/// How to get from where a stripe's shards are to where they should be with the fewest copies:
/// (shard index, new drive) for each shard whose drive is not `desired`, or that has none. Shards
/// already on a desired drive stay, whatever their index.
///
/// # Errors
/// `Index` where the lengths differ.
pub fn moves(
    current: &[Option<DriveId>],
    desired: &[DriveId],
) -> Result<Vec<(usize, DriveId)>, ErasureError> {
    if current.len() != desired.len() {
        return Err(ErasureError::Index);
    }
    let mut free = desired
        .iter()
        .filter(|drive| !current.contains(&Some(**drive)));
    let mut moves = Vec::new();
    for (index, drive) in current.iter().enumerate() {
        let doubled = current
            .iter()
            .take(index)
            .any(|d| d.is_some() && d == drive);
        let stays = drive.is_some_and(|drive| desired.contains(&drive)) && !doubled;
        if !stays && let Some(target) = free.next() {
            moves.push((index, *target));
        }
    }
    Ok(moves)
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
mod tests;
