//! What openraft calls things here: opaque commands, opaque answers, replicas as voters.

use openraft::alias::{
    CommittedLeaderIdOf, EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a leader appends: an encoded command and the leader's clock.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The leader's stamp, ms. Apply uses max(previous, this).
    pub stamp: u64,
    /// The encoded command; empty: a tick, which only moves the stamp.
    pub command: Arc<[u8]>,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B at {}", self.command.len(), self.stamp)
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a replica lives; part of the membership, so **format**.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Node number in the layout.
    pub node: u64,
    /// Drive number in the layout.
    pub drive: u32,
}

openraft::declare_raft_types!(
    /// openraft's types for one partition. One leader per term (`leader_id_std`): log ids are
    /// (term, index), so an entry's place names one payload.
    pub Types:
        D = Proposal,
        R = Vec<u8>,
        NodeId = u64,
        Node = Home,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

/// One log entry.
pub type Entry = EntryOf<Types>;
/// (term, index).
pub type LogId = LogIdOf<Types>;
/// A replica's vote.
pub type Vote = VoteOf<Types>;
/// A membership and where in the log it stands.
pub type StoredMembership = StoredMembershipOf<Types>;
/// What a snapshot covers.
pub type SnapshotMeta = SnapshotMetaOf<Types>;

/// A log id from its parts.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderIdOf::<Types>::new(term), index)
}

/// The term of a log id.
pub fn term_of(id: &LogId) -> u64 {
    id.committed_leader_id().term
}

/// A vote from its parts.
pub fn vote(term: u64, voted_for: u64, committed: bool) -> Vote {
    if committed {
        Vote::new_committed(term, voted_for)
    } else {
        Vote::new(term, voted_for)
    }
}
