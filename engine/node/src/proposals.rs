//! Proposing and reading, with what every caller must do alike: ids born at the partition's stamp,
//! retries under the same id, and the difference between refused and unknown.

use crate::EngineError;
use crate::engine::Inner;
use engine_core::meta::{
    Answer, Change, Command, ControlChange, ControlQuery, ControlReply, Query, Refusal, Reply,
};
use engine_core::ports::MetaError;
use engine_types::{BirthId, CommandId, PartitionId};
use std::time::Duration;

/// How long one command is asked again before its outcome is given up as unknown.
pub(crate) const PROPOSAL_PATIENCE: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// What is known of a command.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Applied.
    Applied(Answer),
    /// Definitely not applied, now or later.
    Refused(Refusal),
    /// It may have been applied, or may yet be.
    Unknown(EngineError),
    /// It was never proposed.
    NotProposed(EngineError),
}

impl Outcome {
    /// For callers to whom unknown is an error like others.
    pub(crate) fn answer(self) -> Result<Answer, EngineError> {
        match self {
            Self::Applied(answer) => Ok(answer),
            Self::Refused(refusal) => Err(refusal.into()),
            Self::Unknown(error) | Self::NotProposed(error) => Err(error),
        }
    }
}

impl Inner {
    /// Proposes `change` once, under one id through all retries.
    pub(crate) async fn propose(&self, partition: PartitionId, change: Change) -> Outcome {
        let birth = match self.metadata.stamp(partition).await {
            Ok(stamp) => stamp,
            Err(error) => return Outcome::NotProposed(error.into()),
        };
        let command = Command {
            id: CommandId::born(birth, self.entropy()),
            change,
        };
        let deadline = self.clock.monotonic() + self.options.proposal_patience;
        let mut pause = RETRY_FIRST;
        loop {
            let error = match self.metadata.propose(partition, command.clone()).await {
                Ok(Answer::Refused(refusal)) => return Outcome::Refused(refusal),
                Ok(answer) => return Outcome::Applied(answer),
                Err(error) => error,
            };
            let retry = matches!(error, MetaError::Unavailable(_) | MetaError::Overloaded);
            if !retry || self.clock.monotonic() + pause >= deadline || self.life.is_cancelled() {
                return Outcome::Unknown(error.into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MOST);
        }
    }

    /// A change of control.
    pub(crate) async fn propose_control(
        &self,
        change: ControlChange,
    ) -> Result<Answer, EngineError> {
        self.propose(PartitionId::CONTROL, Change::Control(change))
            .await
            .answer()
    }

    /// A read; a refusal is an error.
    pub(crate) async fn ask(
        &self,
        partition: PartitionId,
        query: Query,
    ) -> Result<Reply, EngineError> {
        match self.metadata.read(partition, query).await? {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }

    /// A read of control.
    pub(crate) async fn ask_control(
        &self,
        query: ControlQuery,
    ) -> Result<ControlReply, EngineError> {
        match self
            .ask(PartitionId::CONTROL, Query::Control(query))
            .await?
        {
            Reply::Control(reply) => Ok(reply),
            _ => Err(EngineError::unexpected("a query of control")),
        }
    }
}
