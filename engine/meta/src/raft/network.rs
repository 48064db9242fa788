//! How voters reach each other: on one node by direct calls, through a table of running replicas.
//!
//! [`Switchboard::target`] is the seam for other nodes: a replica that is not in the table is
//! `Unreachable` today; a transport over the data port will answer for it.

use super::types::{Home, Types, Vote};
use crate::replica::ReplicaMachine;
use crate::snapshot::SnapshotFile;
use engine_types::GroupId;
use futures::StreamExt;
use openraft::alias::SnapshotOf;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use openraft::{OptionalSend, Raft};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A running replica of openraft.
pub type Node = Raft<Types, ReplicaMachine>;

/// Running replicas of this node.
#[derive(Clone, Default)]
pub struct Switchboard(Arc<RwLock<HashMap<(GroupId, u64), Node>>>);

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Switchboard")
            .field(&self.0.read().len())
            .finish()
    }
}

impl Switchboard {
    /// Makes a replica reachable.
    pub fn connect(&self, group: GroupId, id: u64, node: Node) {
        self.0.write().insert((group, id), node);
    }

    /// Makes a replica unreachable.
    pub fn disconnect(&self, group: GroupId, id: u64) {
        self.0.write().remove(&(group, id));
    }

    /// A running replica.
    pub fn target(&self, group: GroupId, id: u64) -> Option<Node> {
        self.0.read().get(&(group, id)).cloned()
    }
}

/// Makes a group's connections.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Whose.
    pub group: GroupId,
    /// Running replicas.
    pub switchboard: Switchboard,
}

/// The way to one replica.
#[derive(Debug)]
pub struct Link {
    group: GroupId,
    target: u64,
    switchboard: Switchboard,
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("replica {0} is not running")]
    Absent(u64),
    #[error("replica {0} does not answer")]
    Silent(u64),
    #[error("replica stopped: {0}")]
    Stopped(String),
}

impl Link {
    fn absent(&self) -> Unreachable<Types> {
        Unreachable::new(&LinkError::Absent(self.target))
    }

    fn node(&self) -> Result<Node, Unreachable<Types>> {
        self.switchboard
            .target(self.group, self.target)
            .ok_or_else(|| self.absent())
    }

    /// Calls the target, and stops waiting when openraft would.
    async fn call<T, E: std::fmt::Display>(
        &self,
        within: Duration,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Unreachable<Types>> {
        match tokio::time::timeout(within, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Unreachable::new(&LinkError::Stopped(error.to_string()))),
            Err(_elapsed) => Err(Unreachable::new(&LinkError::Silent(self.target))),
        }
    }
}

impl RaftNetworkFactory<Types> for Connector {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &Home) -> Link {
        Link {
            group: self.group,
            target,
            switchboard: self.switchboard.clone(),
        }
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let node = self.node()?;
        Ok(self
            .call(option.hard_ttl(), node.append_entries(rpc))
            .await?)
    }

    /// Pipelined: the follower takes the next message while the last one syncs.
    fn stream_append<S>(
        &mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        '_,
        Result<BoxStream<'_, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: futures::Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let Ok(node) = self.node() else {
                // openraft waits out its backoff where it makes the next request. Refused before one
                // was asked for, it would try again at once, and go on so as long as the drive is out.
                drop(input.next().await);
                return Err(self.absent().into());
            };
            let answers = node.stream_append(input).map(|answer| {
                answer.map_err(|error| {
                    RPCError::Unreachable(Unreachable::new(&LinkError::Stopped(error.to_string())))
                })
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let node = self.node()?;
        Ok(self.call(option.hard_ttl(), node.vote(rpc)).await?)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let node = self.node()?;
        Ok(self.call(option.hard_ttl(), node.pre_vote(rpc)).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let node = self.node().map_err(StreamingError::Unreachable)?;
        let install = node.install_full_snapshot(vote, snapshot);
        self.call(option.hard_ttl(), install)
            .await
            .map_err(StreamingError::Unreachable)
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let node = self.node()?;
        Ok(self
            .call(option.hard_ttl(), node.handle_transfer_leader(req))
            .await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    #[tokio::test]
    async fn an_absent_replica_is_refused_only_after_openraft_has_waited() {
        let mut link = Link {
            group: GroupId(1),
            target: 7,
            switchboard: Switchboard::default(),
        };
        let (asked, mut waited) = tokio::sync::mpsc::channel(1);
        let input = futures::stream::poll_fn(move |_| {
            let _full = asked.try_send(());
            Poll::Ready(None)
        });
        let option = RPCOption::new(Duration::from_secs(1));
        let refused = link.stream_append(input, option).await;
        assert!(matches!(refused.err(), Some(RPCError::Unreachable(_))));
        assert_eq!(waited.try_recv(), Ok(()), "the next request was asked for");
    }
}
