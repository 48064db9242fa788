//! openraft's state machine over a replica's tables.

use super::ahead::Weight;
use super::sums::chain;
use super::{ReplicaCore, ReplicaError};
use crate::blocking::blocking;
use crate::fjall_rows::TableView;
use crate::raft::codec::entry_weight;
use crate::raft::machine::At;
use crate::raft::types::{Entry, LogId, SnapshotMeta, StoredMembership, Types};
use crate::rows::{Changes, Overlay, Rows, RowsError};
use crate::snapshot::{Applied, SnapshotFile};
use engine_types::Stamp;
use futures::{Stream, StreamExt};
use openraft::alias::SnapshotOf;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Entries applied in one batch of rows at most.
const BATCH_ENTRIES_MAX: usize = 1024;

/// The state machine openraft drives.
#[derive(Clone, Debug)]
pub struct ReplicaMachine(Arc<ReplicaCore>);

impl ReplicaMachine {
    /// Over a replica's state.
    pub fn new(core: Arc<ReplicaCore>) -> Self {
        Self(core)
    }
}

/// Takes a snapshot of the moment it was made at.
#[derive(Debug)]
pub struct SnapshotMaker {
    core: Arc<ReplicaCore>,
    view: Result<(TableView, Applied), RowsError>,
}

type Responder = ApplyResponder<Types>;

fn other(error: impl Into<ReplicaError>) -> io::Error {
    io::Error::other(error.into())
}

impl ReplicaCore {
    /// Applies a batch, in two where somebody waits for the tables in the middle of it.
    fn apply(&self, mut batch: Vec<(Entry, Option<Responder>)>) -> Result<(), RowsError> {
        let head = self.probe_at().map_or(0, |at| {
            let beyond = batch
                .iter()
                .position(|(entry, _)| entry.log_id.index() > at);
            beyond.unwrap_or(0)
        });
        let rest = batch.split_off(head);
        if !batch.is_empty() {
            self.apply_together(batch)?;
        }
        self.apply_together(rest)
    }

    /// Applies a batch and answers whoever proposed.
    fn apply_together(&self, batch: Vec<(Entry, Option<Responder>)>) -> Result<(), RowsError> {
        let (entries, view) = (batch.len(), self.view());
        let mut applied = self.applied();
        let (mut changes, mut answers, mut bytes) =
            (Changes::default(), Vec::with_capacity(entries), 0);
        for (entry, responder) in batch {
            bytes += entry_weight(&entry);
            let answer = self.apply_one(&view, &mut changes, &mut applied, entry)?;
            if let Some(responder) = responder {
                answers.push((responder, answer));
            }
        }
        drop(view);
        self.add(changes, applied, Weight { entries, bytes })?;
        self.probed()?;
        self.since_snapshot
            .fetch_add(bytes as u64, Ordering::Relaxed);
        for (responder, answer) in answers {
            responder.send(answer);
        }
        Ok(())
    }

    fn apply_one(
        &self,
        view: &dyn Rows,
        changes: &mut Changes,
        applied: &mut Applied,
        entry: Entry,
    ) -> Result<Vec<u8>, RowsError> {
        let index = entry.log_id.index();
        if applied.last.is_some_and(|last| last.index() >= index) {
            return Err(RowsError(format!("entry {index} applied twice")));
        }
        applied.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Vec::new()),
            EntryPayload::Membership(membership) => {
                let membership = StoredMembership::new(Some(entry.log_id), membership);
                applied.membership = Arc::new(membership);
                Ok(Vec::new())
            }
            EntryPayload::Normal(proposal) => {
                applied.stamp = applied.stamp.max(Stamp(proposal.stamp));
                if proposal.command.is_empty() {
                    return Ok(Vec::new());
                }
                let at = At {
                    group: self.group,
                    index,
                    stamp: applied.stamp,
                };
                let over = Overlay {
                    below: view,
                    changes,
                };
                let mut own = Changes::default();
                self.applying.store(index, Ordering::Relaxed);
                let answer = self
                    .parts
                    .machine
                    .apply(&over, &mut own, at, &proposal.command)?;
                self.applying.store(0, Ordering::Relaxed);
                applied.digest = chain(applied.digest, index, &own);
                changes.0.extend(own.0);
                Ok(answer)
            }
        }
    }
}

impl RaftStateMachine<Types> for ReplicaMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotMaker;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.0.applied();
        let membership = StoredMembership::clone(&applied.membership);
        Ok((applied.last, membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(BATCH_ENTRIES_MAX);
        while let Some(batch) = batches.next().await {
            let batch: Vec<_> = batch.into_iter().collect::<Result<_, _>>()?;
            let Some((last, _)) = batch.last() else {
                continue;
            };
            let durable = self.0.log.wait_durable(last.log_id.index());
            #[cfg(sabotage)]
            let durable = async {
                if engine_types::sabotage("apply-ahead-of-log") {
                    return Ok(());
                }
                durable.await
            };
            durable.await?;
            let core = Arc::clone(&self.0);
            let result = self.0.parts.lane.run(move || core.apply(batch)).await;
            if let Err(error) = result {
                self.0.spoiled.store(true, Ordering::Relaxed);
                return Err(other(error));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotMaker {
        let core = Arc::clone(&self.0);
        let written = move || core.written();
        SnapshotMaker {
            core: Arc::clone(&self.0),
            view: self.0.parts.lane.run(written).await,
        }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let core = Arc::clone(&self.0);
        let installed = blocking(move || core.install(&snapshot)).await;
        installed.map_err(other)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, SnapshotFile>>, io::Error> {
        let core = Arc::clone(&self.0);
        let found = blocking(move || core.current_snapshot()).await;
        let file = found.map_err(other)?;
        Ok(file.map(|snapshot| SnapshotOf::<Types, SnapshotFile> {
            meta: snapshot.applied.meta(),
            snapshot,
        }))
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotMaker {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotFile>, io::Error> {
        let taken = Err(RowsError("snapshot taken already".into()));
        let (view, applied) = std::mem::replace(&mut self.view, taken).map_err(other)?;
        let core = Arc::clone(&self.core);
        let turn = core.parts.turns.take(&core.ended).await.map_err(other)?;
        let snapshot = blocking(move || {
            let _turn = turn;
            core.snapshot(&view, &applied)
        })
        .await
        .map_err(other)?;
        Ok(SnapshotOf::<Types, SnapshotFile> {
            meta: snapshot.applied.meta(),
            snapshot,
        })
    }
}
