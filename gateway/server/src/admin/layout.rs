//! The layout as the admin API reads and changes it: in control, by compare-and-set.

use super::Running;
use super::error::AdminError;
use crate::system::SystemEntropy;
use engine_core::meta::{
    Answer, Change, Command, ControlChange, ControlQuery, ControlReply, Query, Refusal, Reply,
};
use engine_core::placement::{Layout, LayoutChange};
use engine_core::ports::{Entropy, Metadata};
use engine_types::{BirthId, CommandId, DriveId, PartitionId};

pub(super) async fn read(running: &Running) -> Result<Layout, AdminError> {
    match running
        .metadata
        .read(PartitionId::CONTROL, Query::Control(ControlQuery::Layout))
        .await?
    {
        Reply::Control(ControlReply::Layout(Some(layout))) => Ok(layout),
        _ => Err(AdminError::internal("control holds no layout")),
    }
}

/// Changes `layout` if control still has it so, and has the engine take the new one.
pub(super) async fn change(
    running: &Running,
    layout: &Layout,
    change: LayoutChange,
) -> Result<(), AdminError> {
    let change = ControlChange::ChangeLayout {
        version: layout.version,
        change: Box::new(change),
    };
    match propose(running, change).await? {
        Answer::Done => Ok(running.engine.refresh_layout().await?),
        Answer::Refused(Refusal::Changed) => Err(AdminError::conflict(
            "LayoutChanged",
            "the layout was changed meanwhile: try again",
        )),
        Answer::Refused(refusal) => Err(AdminError::conflict("Refused", refusal.to_string())),
        _ => Err(AdminError::internal("unexpected answer to ChangeLayout")),
    }
}

/// A number for a new drive.
pub(super) async fn allot(running: &Running) -> Result<DriveId, AdminError> {
    match propose(running, ControlChange::AllotDrive).await? {
        Answer::Drive(number) => Ok(number),
        _ => Err(AdminError::internal("unexpected answer to AllotDrive")),
    }
}

async fn propose(running: &Running, change: ControlChange) -> Result<Answer, AdminError> {
    let birth = running.metadata.stamp(PartitionId::CONTROL).await?;
    let mut random = [0; 10];
    SystemEntropy::new().fill(&mut random);
    let command = Command {
        id: CommandId::born(birth, random),
        change: Change::Control(change),
    };
    Ok(running
        .metadata
        .propose(PartitionId::CONTROL, command)
        .await?)
}
