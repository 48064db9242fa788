//! `datamesh drive list|add|remove|replace`.

use super::Failed;
use super::remote::Remote;
use super::render::{bytes, or_dash, table};
use crate::admin::shapes::{DriveAdded, DriveInfo, DrivePath};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Look at drives, and change them.
#[derive(Debug, Args)]
pub(crate) struct Drive {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Every drive: state, room, replicas.
    List,
    /// Take an empty directory of the server as a new drive.
    Add {
        /// The directory; add it to `drives` in the settings as well.
        path: PathBuf,
    },
    /// Empty a drive and let it go (not built yet: answers 501 and changes nothing).
    Remove {
        /// Its number in `drive list`.
        id: u32,
    },
    /// Make a drive's content anew on another (not built yet: answers 501 and changes nothing).
    Replace {
        /// Number of the old one in `drive list`.
        id: u32,
        /// Empty directory of the new one.
        path: PathBuf,
    },
}

impl Drive {
    pub(crate) fn run(self) -> Result<(), Failed> {
        let action = self.action;
        self.remote.with(async |mut connection| match action {
            Action::List => {
                let drives: Vec<DriveInfo> = connection.get("/v1/drives").await?;
                connection.show(&drives, |drives| drive_table(drives))
            }
            Action::Add { path } => {
                let added: DriveAdded = connection.post("/v1/drives", &given(&path)?).await?;
                connection.show(&added, |added| {
                    let notes: String = added
                        .notes
                        .iter()
                        .flat_map(|note| ["note: ", note, "\n"])
                        .collect();
                    drive_table(std::slice::from_ref(&added.drive)) + &notes
                })
            }
            Action::Remove { id } => connection.delete(&format!("/v1/drives/{id}")).await,
            Action::Replace { id, path } => {
                let path = given(&path)?;
                let added: DriveAdded = connection
                    .post(&format!("/v1/drives/{id}/replace"), &path)
                    .await?;
                connection.show(&added, |added| {
                    drive_table(std::slice::from_ref(&added.drive))
                })
            }
        })
    }
}

/// Absolute: the server stands elsewhere than we do.
fn given(path: &std::path::Path) -> Result<DrivePath, Failed> {
    let path = std::path::absolute(path).map_err(Failed::because)?;
    Ok(DrivePath {
        path: path.display().to_string(),
    })
}

/// Drives as a table; reasons below it.
pub(super) fn drive_table(drives: &[DriveInfo]) -> String {
    let rows = drives.iter().map(|drive| {
        let used = drive.capacity_bytes.saturating_sub(drive.available_bytes);
        let state = if drive.layout == "active" {
            drive.state.clone()
        } else {
            format!("{}, {}", drive.state, drive.layout)
        };
        vec![
            drive.id.to_string(),
            state,
            bytes(drive.capacity_bytes),
            bytes(drive.available_bytes),
            format!(
                "{} %",
                (used * 100).checked_div(drive.capacity_bytes).unwrap_or(0)
            ),
            bytes(drive.live_bytes),
            drive.replicas.to_string(),
            drive.zone.clone(),
            or_dash(drive.path.as_deref()),
        ]
    });
    let mut text = table(
        &[
            "drive", "state", "size", "room", "used", "live", "replicas", "zone", "path",
        ],
        rows,
    );
    for drive in drives {
        if let Some(reason) = &drive.reason {
            text += &["drive ", &drive.id.to_string(), ": ", reason, "\n"].concat();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_that_is_out_says_why() {
        let drive = DriveInfo {
            id: 3,
            uuid: "u".into(),
            path: None,
            zone: "default".into(),
            state: "out".into(),
            reason: Some("its path leads elsewhere".into()),
            layout: "leaving".into(),
            capacity_bytes: 0,
            available_bytes: 0,
            live_bytes: 0,
            written_bytes: 0,
            replicas: 0,
        };
        let text = drive_table(&[drive]);
        assert!(
            text.contains("out, leaving") && text.ends_with("drive 3: its path leads elsewhere\n"),
            "{text}"
        );
    }
}
