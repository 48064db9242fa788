//! The replicated metadata as `node` sees it.

use crate::meta::{Answer, Command, Query, Reply};
use async_trait::async_trait;
use engine_types::{PartitionId, Stamp};
use std::fmt::Debug;

/// Why a proposal or a read has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetaError {
    /// No majority, or no leader within the deadline: nothing is known to have happened (reads) or
    /// the outcome is unknown (proposals: ask again with the same command id).
    #[error("metadata unavailable: {0}")]
    Unavailable(String),
    /// As `Unavailable`, and known to stay so until drives come back: fewer than a majority of the
    /// voters are in service, or none answers. To ask again at once is in vain.
    #[error("metadata unavailable: {0}")]
    NoMajority(String),
    /// Too many proposals waiting: slow down.
    #[error("metadata overloaded")]
    Overloaded,
    /// The node is shutting down.
    #[error("shutting down")]
    Closed,
    /// A row or message could not be read: the replica stops; a human must look.
    #[error("metadata damaged: {0}")]
    Damaged(String),
}

/// Replicated metadata. Refusals are answers, not errors.
#[async_trait]
pub trait Metadata: Send + Sync + Debug {
    /// Proposes `command` to its partition. Ok: committed, durable on a majority of its voters'
    /// drives, applied. Err: unknown, unless the error says otherwise; the same command may be
    /// proposed again and is applied at most once.
    async fn propose(&self, partition: PartitionId, command: Command) -> Result<Answer, MetaError>;

    /// Reads linearizably: sees every change acknowledged before the call began, on any node.
    async fn read(&self, partition: PartitionId, query: Query) -> Result<Reply, MetaError>;

    /// The partition's stamp as last seen here: the birth of new ids. Not linearizable; at most
    /// 10 s old (fetched anew when older).
    async fn stamp(&self, partition: PartitionId) -> Result<Stamp, MetaError>;

    /// Index last applied here: what a GET pins.
    fn applied(&self, partition: PartitionId) -> u64;

    /// All partitions, control first.
    fn partitions(&self) -> Vec<PartitionId>;
}
