//! How far a replica's tables are, and what they must agree on (**format**).

use crate::raft::codec::{
    CodecError, membership_bytes, membership_from, put_option_log_id, take_option_log_id, take_u64,
};
use crate::raft::types::{LogId, SnapshotMeta, StoredMembership};
use engine_types::Stamp;
use std::sync::Arc;

const VERSION: u8 = 1;

/// What a replica's tables hold: the `applied` row, and the head of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Last applied entry.
    pub last: Option<LogId>,
    /// Last applied membership. Shared: a batch of entries begins with a copy of all this.
    pub membership: Arc<StoredMembership>,
    /// Last stamp.
    pub stamp: Stamp,
    /// Digest of every change since the group began, in order: equal on all replicas at one index.
    pub digest: u64,
}

impl Applied {
    /// Version byte, log id, stamp, digest, membership.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_option_log_id(&mut out, self.last.as_ref());
        out.extend_from_slice(&self.stamp.0.to_le_bytes());
        out.extend_from_slice(&self.digest.to_le_bytes());
        put_option_log_id(&mut out, self.membership.log_id().as_ref());
        out.extend_from_slice(&membership_bytes(self.membership.membership()));
        out
    }

    /// What [`Applied::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (version, mut rest) = bytes.split_first().ok_or(CodecError("applied row"))?;
        if *version != VERSION {
            return Err(CodecError("applied row: version"));
        }
        let last = take_option_log_id(&mut rest)?;
        let (stamp, digest) = (Stamp(take_u64(&mut rest)?), take_u64(&mut rest)?);
        let at = take_option_log_id(&mut rest)?;
        let membership = Arc::new(StoredMembership::new(at, membership_from(rest)?));
        Ok(Self {
            last,
            membership,
            stamp,
            digest,
        })
    }

    /// As openraft names it.
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last,
            last_membership: StoredMembership::clone(&self.membership),
        }
    }

    /// Index of the last applied entry; 0 if none (entry 0 is always a membership).
    pub fn index(&self) -> u64 {
        self.last.map_or(0, |id| id.index())
    }
}
