//! `datamesh drive list|add|remove|replace`.

use super::Failed;
use super::remote::{Connection, Remote};
use super::render::{bytes, duration, or_dash, table};
use crate::admin::shapes::{DriveAdded, DriveInfo, DrivePath, Status};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

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
    /// Move all that a drive holds to the others, and let it go.
    Remove {
        /// Its number in `drive list`.
        id: u32,
        /// Wait until it has left.
        #[arg(long, conflicts_with = "cancel")]
        wait: bool,
        /// Call its removal off.
        #[arg(long)]
        cancel: bool,
    },
    /// A new drive takes an old one's place: what the old one held is made anew on it.
    Replace {
        /// Number of the old one in `drive list`.
        id: u32,
        /// Empty directory of the new one; the old one's own, if it was emptied.
        path: PathBuf,
        /// Wait until the old one has left.
        #[arg(long)]
        wait: bool,
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
                connection.show(&added, with_notes)
            }
            Action::Remove {
                id, cancel: true, ..
            } => {
                let path = format!("/v1/drives/{id}/keep");
                let told: DriveAdded = connection.post(&path, &serde_json::Value::Null).await?;
                connection.show(&told, with_notes)
            }
            Action::Remove { id, wait, .. } => {
                let path = format!("/v1/drives/{id}");
                let told: DriveAdded = connection.delete_told(&path).await?;
                if wait {
                    gone(&mut connection, id).await?;
                }
                connection.show(&told, with_notes)
            }
            Action::Replace { id, path, wait } => {
                let path = given(&path)?;
                let added: DriveAdded = connection
                    .post(&format!("/v1/drives/{id}/replace"), &path)
                    .await?;
                if wait {
                    gone(&mut connection, id).await?;
                }
                connection.show(&added, with_notes)
            }
        })
    }
}

fn with_notes(told: &DriveAdded) -> String {
    let notes = told.notes.iter().flat_map(|note| ["note: ", note, "\n"]);
    drive_table(std::slice::from_ref(&told.drive)) + &notes.collect::<String>()
}

/// Watches until a drive has left, with a bar of the bytes that are still on it.
async fn gone(connection: &mut Connection, id: u32) -> Result<(), Failed> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}") {
        bar.set_style(style.progress_chars("=> "));
    }
    loop {
        let status: Status = connection.get("/v1/status").await?;
        let Some(drive) = status.drives.iter().find(|drive| drive.id == id) else {
            bar.finish_and_clear();
            return Ok(());
        };
        if let Some(left) = drive.bytes_left {
            bar.set_length(bar.length().unwrap_or(0).max(left));
            bar.set_position(bar.length().unwrap_or(0).saturating_sub(left));
        }
        bar.set_message(match (drive.bytes_left, status.rebuild.seconds_left) {
            (Some(0), _) => format!("drive {id} is empty; waiting for writes begun before"),
            (_, Some(seconds)) => format!("emptying drive {id}, {} left", duration(seconds)),
            _ => format!("emptying drive {id}"),
        });
        tokio::time::sleep(LOOK).await;
    }
}

/// Absolute: the server stands elsewhere than we do.
fn given(path: &std::path::Path) -> Result<DrivePath, Failed> {
    let path = std::path::absolute(path).map_err(Failed::because)?;
    Ok(DrivePath {
        path: path.display().to_string(),
    })
}

/// A size; of a drive that is out none is known.
fn size(drive: &DriveInfo, of: u64) -> String {
    if drive.state == "out" && of == 0 {
        return "-".into();
    }
    bytes(of)
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
            size(drive, drive.capacity_bytes),
            size(drive, drive.available_bytes),
            (used * 100)
                .checked_div(drive.capacity_bytes)
                .map_or_else(|| "-".into(), |percent| format!("{percent} %")),
            size(drive, drive.live_bytes),
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
        if let (Some(shards), Some(held)) = (drive.shards_left, drive.bytes_left) {
            // Writing to a String does not fail.
            let _infallible = match shards {
                0 => writeln!(text, "drive {}: empty, about to leave", drive.id),
                _ => writeln!(
                    text,
                    "drive {}: {shards} shards ({}) still to be brought elsewhere",
                    drive.id,
                    bytes(held)
                ),
            };
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
            shards_left: Some(7),
            bytes_left: Some(2048),
        };
        let text = drive_table(&[drive]);
        assert!(text.contains("out, leaving"), "{text}");
        assert!(!text.contains("0 B") && !text.contains('%'), "{text}");
        let below = "drive 3: its path leads elsewhere\n\
                     drive 3: 7 shards (2.0 KiB) still to be brought elsewhere\n";
        assert!(text.ends_with(below), "{text}");
    }
}
