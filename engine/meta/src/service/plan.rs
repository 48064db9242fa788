//! Where voters should stand. Made by whoever knows the layout; the supervisor follows it, one
//! change of one group's membership at a time.

use super::MetaNode;
use engine_types::DriveId;
use std::collections::BTreeSet;

/// How many voters a group has, and on which drives they may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Voters of a group where there are drives enough: 2m+1.
    pub voters: usize,
    /// Drives of this node that may hold voters; a voter elsewhere moves. None: every drive.
    pub drives: Option<BTreeSet<DriveId>>,
}

impl Plan {
    pub(super) fn allows(&self, drive: DriveId) -> bool {
        let drives = self.drives.as_ref();
        drives.is_none_or(|drives| drives.contains(&drive))
    }
}

impl MetaNode {
    /// From now on voters follow `plan`: missing ones are added, those on other drives move, those
    /// too many go. Takes effect within seconds, without a gap in service.
    pub fn replan(&self, plan: Plan) {
        let mut now = self.inner.plan.write();
        if *now != plan {
            tracing::info!(voters = plan.voters, drives = ?plan.drives, "metadata voters planned anew");
            *now = plan;
        }
    }

    /// The plan in force.
    pub fn plan(&self) -> Plan {
        self.inner.plan.read().clone()
    }
}
