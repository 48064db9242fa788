//! What is to be told of a batch, and to whom, once it is durable.

use super::LogError;
use super::index::{DESTROYED, GroupIndex, Place};
use super::record::Kind;
use super::writer::Change;
use crate::raft::types::Types;
use openraft::storage::IOFlushed;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Whom to tell when it is durable.
pub(super) enum Done {
    Nobody,
    Raft(IOFlushed<Types>),
    Waiter(oneshot::Sender<Result<(), LogError>>),
}

impl Done {
    pub(super) fn complete(self, result: Result<(), &LogError>) {
        match self {
            Self::Nobody => {}
            Self::Raft(callback) => {
                callback.io_completed(result.map_err(|error| error.clone().into()));
            }
            Self::Waiter(waiter) => {
                // Whoever asked may have gone; nothing depends on the answer being heard.
                drop(waiter.send(result.map_err(Clone::clone)));
            }
        }
    }
}

/// What to tell the indexes once a batch is durable.
#[derive(Default)]
pub(super) struct Written {
    pub places: Vec<(Arc<GroupIndex>, u64, u64, Place)>,
    pub states: Vec<(Arc<GroupIndex>, Kind, u64)>,
    /// What is gone up to these operations is so on the drive too.
    pub settled: Vec<(Arc<GroupIndex>, u64)>,
    pub tickets: Vec<(Arc<GroupIndex>, u64)>,
    pub destroyed: Vec<Arc<GroupIndex>>,
    pub done: Vec<Done>,
    /// Asked for by who has left the drive.
    pub refused: Vec<Done>,
}

impl Written {
    /// Nothing of a replica that has left may lie behind its end, where another may have begun.
    pub(super) fn refuse(&mut self, change: &Change, done: Done) {
        match change {
            Change::Destroy => self.done.push(done),
            _ => self.refused.push(done),
        }
    }
}

/// What was written is durable: the indexes are told first, then those who wait.
pub(super) fn publish(written: Written) {
    for (index, at, ticket, place) in written.places {
        let mut state = index.state.lock();
        state.placed(at, ticket, place);
        state.trim_cache();
    }
    for (index, kind, file) in written.states {
        let mut state = index.state.lock();
        if kind != Kind::Purge {
            state.vote_file = Some(file);
        }
        if kind != Kind::Vote {
            state.purge_file = Some(file);
        }
    }
    for (index, ticket) in written.settled {
        index.state.lock().settle(ticket);
    }
    for (index, ticket) in written.tickets {
        index.state.lock().settle(ticket);
        index
            .durable
            .send_modify(|durable| durable.ticket = durable.ticket.max(ticket));
    }
    for done in written.done {
        done.complete(Ok(()));
    }
    for done in written.refused {
        done.complete(Err(&LogError::Failed(DESTROYED.into())));
    }
}
