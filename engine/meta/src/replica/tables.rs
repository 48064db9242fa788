//! Whether tables can be rested on, and how they are filled anew.

use super::{DriveParts, ReplicaError};
use crate::fjall_rows::Table;
use crate::log::GroupLog;
use crate::raft::types::LogId;
use crate::rows::RowsError;
use crate::snapshot::{self, Applied, Reader, SnapshotFile};
use engine_types::GroupId;

/// What the tables hold, if they can be rested on; else why not.
pub(super) fn check(
    parts: &DriveParts,
    group: GroupId,
    table: &Table,
    log: &GroupLog,
) -> Result<Applied, String> {
    let bytes = table.view().applied().map_err(|error| error.to_string())?;
    let applied = match bytes {
        Some(bytes) => Applied::decode(&bytes).map_err(|error| error.to_string())?,
        None => Applied::default(),
    };
    let (purged, last) = log.bounds();
    let index = |id: Option<LogId>| id.map(|id| id.index());
    if index(applied.last) < index(purged) {
        return Err("tables end below the purged log".into());
    }
    let newest = snapshot::names(parts.files.as_ref(), group).map_err(|error| error.to_string())?;
    if newest
        .first()
        .and_then(|name| snapshot::index_of(name))
        .is_some_and(|at| at > applied.index())
    {
        // Left to openraft, it would be installed unverified, and a damaged one end the replica.
        return Err("a snapshot is ahead of the tables".into());
    }
    let Some(end) = applied.last else {
        return Ok(applied);
    };
    #[cfg(sabotage)]
    if engine_types::sabotage("trust-tables") {
        return Ok(applied);
    }
    if index(applied.last) <= index(last) && log.log_id_at(end.index()) == Some(end) {
        return Ok(applied);
    }
    // A snapshot was installed and the log's purge was cut off: the snapshot vouches for them.
    let newest = snapshot::newest(&parts.files, group).map_err(|error| error.to_string())?;
    match newest {
        Some(file) if file.applied == applied => Ok(applied),
        _ => Err("tables hold what the log does not".into()),
    }
}

/// Fills a generation from a snapshot, or leaves it empty.
pub(super) fn load(
    parts: &DriveParts,
    group: GroupId,
    generation: u64,
    from: Option<&SnapshotFile>,
) -> Result<Table, ReplicaError> {
    // A cut attempt may have left rows behind under this number.
    parts.tables.drop_generation(group, generation)?;
    let table = parts.tables.generation(group, generation)?;
    if let Some(file) = from {
        let (reader, applied) = Reader::open(file.files.as_ref(), group, &file.name)?;
        let rows = reader.map(|row| row.map_err(|error| RowsError(error.to_string())));
        table.load(rows, &applied.encode())?;
    }
    Ok(table)
}
