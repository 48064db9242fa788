//! The `Metadata` port over a node's replicas: typed commands and queries in, raft's bytes within.

use crate::raft::machine::{At, Machine};
use crate::rows::{Changes, Rows, RowsError};
use crate::service::{MetaNode, MetaOptions};
use crate::{query, state};
use async_trait::async_trait;
use engine_core::meta::{Answer, Change, Command, Query, Reply, decode, encode};
use engine_core::ports::{Clock, DriveFiles, Entropy, MetaError, Metadata};
use engine_types::{BirthId, CommandId, GroupId, PartitionId, Stamp};
use std::sync::Arc;

/// A stamp older than this is fetched anew before an id is born at it.
const STAMP_AGE_MS_MAX: u64 = 10_000;

/// Applies commands to rows.
#[derive(Clone, Copy, Debug)]
struct Apply;

impl Machine for Apply {
    fn apply(
        &self,
        rows: &dyn Rows,
        changes: &mut Changes,
        at: At,
        command: &[u8],
    ) -> Result<Vec<u8>, RowsError> {
        // A command this build cannot read stops the replica: skipping it would part it from others.
        let command: Command = decode(command).map_err(|e| RowsError(e.to_string()))?;
        let entry = state::Entry {
            index: at.index,
            stamp: at.stamp,
            command,
        };
        Ok(encode(&state::apply(rows, &entry, changes)?))
    }
}

/// The replicated metadata of a node, as the rest of the engine sees it.
#[derive(Clone, Debug)]
pub struct Replicated {
    node: MetaNode,
    entropy: Arc<dyn Entropy>,
}

/// A partition's group. They are one number until partitions split.
fn group(partition: PartitionId) -> GroupId {
    GroupId(partition.0)
}

impl Replicated {
    /// Opens the replicas on `drives`; see [`MetaNode::open`].
    pub async fn open(
        drives: Vec<Arc<dyn DriveFiles>>,
        options: MetaOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, MetaError> {
        let machine = Arc::new(Apply);
        let theirs = Arc::clone(&entropy);
        let node = MetaNode::open(drives, options, clock, theirs, machine).await?;
        Ok(Self { node, entropy })
    }

    /// Replicas, drives, shutdown: what the port does not show.
    pub fn node(&self) -> &MetaNode {
        &self.node
    }
}

#[async_trait]
impl Metadata for Replicated {
    async fn propose(&self, partition: PartitionId, command: Command) -> Result<Answer, MetaError> {
        let answer = self
            .node
            .propose(group(partition), encode(&command))
            .await?;
        decode(&answer).map_err(|e| MetaError::Damaged(e.to_string()))
    }

    async fn read(&self, partition: PartitionId, query: Query) -> Result<Reply, MetaError> {
        let read = move |rows: &dyn Rows, applied| query::answer(rows, &query, applied);
        let reply = self.node.read(group(partition), read).await?;
        reply.map_err(|e| MetaError::Damaged(e.to_string()))
    }

    async fn stamp(&self, partition: PartitionId) -> Result<Stamp, MetaError> {
        let seen = self.node.stamp(group(partition))?;
        if self.node.age(group(partition), seen) <= STAMP_AGE_MS_MAX {
            return Ok(seen);
        }
        // An idle partition's stamp is as old as its last entry. Any entry moves it, also one that
        // is refused; ids born at the old one could be below D or the watermark by the time they
        // are applied.
        let mut entropy = [0; 10];
        self.entropy.fill(&mut entropy);
        let id = CommandId::born(seen, entropy);
        self.propose(
            partition,
            Command {
                id,
                change: Change::Tick,
            },
        )
        .await?;
        self.node.stamp(group(partition))
    }

    fn applied(&self, partition: PartitionId) -> u64 {
        self.node.applied(group(partition))
    }

    fn partitions(&self) -> Vec<PartitionId> {
        self.node
            .groups()
            .into_iter()
            .map(|g| PartitionId(g.0))
            .collect()
    }
}
