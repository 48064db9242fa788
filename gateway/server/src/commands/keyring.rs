//! `datamesh keyring create|rotate|list|export|import|destroy`.

use super::remote::{Connection, Remote};
use super::render::{table, time};
use super::secret::{confirm, passphrase};
use super::{Failed, print};
use crate::admin::shapes::{Destroyed, Imported, KeyName, KeyOf, KeyVersionInfo, Sealed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use engine_types::DriveId;
use std::path::{Path, PathBuf};

/// Keys that seal objects: one per account, and named ones (KMS).
#[derive(Debug, Args)]
pub(crate) struct Keyring {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

/// A named key, or an account's own.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// A named key.
    #[arg(long)]
    name: Option<String>,
    /// An account's key, by name or canonical id.
    #[arg(long)]
    account: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a named key.
    Create {
        /// As requests will name it.
        name: String,
    },
    /// Move a key to a new version; older versions go on opening what they sealed.
    Rotate(Whose),
    /// Every version of every key; never a secret.
    List,
    /// Write all keys to a file, sealed by a passphrase: what a new machine needs beside the drives.
    Export {
        /// New file, made 0600.
        file: PathBuf,
        /// Its first line is the passphrase [default: asked for].
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Take the keys of an export that are unknown here; what was destroyed here stays so.
    ///
    /// With --offline, while no server runs: put them on the drives of --config under the key file
    /// or passphrase named there, where the one before is lost. A key file that is not there is made.
    Import {
        /// The export.
        file: PathBuf,
        /// Its first line is the passphrase [default: asked for].
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Onto the drives of --config, without a server.
        #[arg(long)]
        offline: bool,
    },
    /// Erase every version of a key, and with it all it sealed, for ever.
    Destroy {
        #[command(flatten)]
        whose: Whose,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl From<Whose> for KeyOf {
    fn from(whose: Whose) -> Self {
        Self {
            name: whose.name,
            account: whose.account,
        }
    }
}

impl Keyring {
    pub(crate) fn run(self) -> Result<(), Failed> {
        let action = self.action;
        if let Action::Import {
            file,
            passphrase_file,
            offline: true,
        } = &action
        {
            return restore(&self.remote, file, passphrase_file.as_deref());
        }
        self.remote.with(async |mut connection| match action {
            Action::Create { name } => {
                let made: KeyVersionInfo = connection
                    .post("/v1/keyring/names", &KeyName { name })
                    .await?;
                connection.show(&made, |made| versions(std::slice::from_ref(made)))
            }
            Action::Rotate(whose) => {
                let made: KeyVersionInfo = connection
                    .post("/v1/keyring/rotate", &KeyOf::from(whose))
                    .await?;
                connection.show(&made, |made| versions(std::slice::from_ref(made)))
            }
            Action::List => {
                let all: Vec<KeyVersionInfo> = connection.get("/v1/keyring").await?;
                connection.show(&all, |all| versions(all))
            }
            Action::Export {
                file,
                passphrase_file,
            } => export(&mut connection, &file, passphrase_file.as_deref()).await,
            Action::Import {
                file,
                passphrase_file,
                ..
            } => import(&mut connection, &file, passphrase_file.as_deref()).await,
            Action::Destroy { whose, yes } => destroy(&mut connection, whose, yes).await,
        })
    }
}

async fn export(
    connection: &mut Connection,
    file: &Path,
    secret: Option<&Path>,
) -> Result<(), Failed> {
    connection.only_on_loopback()?;
    if file.exists() {
        return Err(Failed::wrong(format!(
            "{} exists: give a new file",
            file.display()
        )));
    }
    let passphrase = passphrase(secret, true)?;
    let ask = Sealed {
        passphrase: passphrase.to_string(),
        ..Sealed::default()
    };
    let sealed: Sealed = connection.post("/v1/keyring/export", &ask).await?;
    let bytes = STANDARD.decode(&sealed.keyring).map_err(Failed::because)?;
    let written = crate::credentials::private::create(file, &bytes);
    written.map_err(|e| Failed::because(format!("{}: {e}", file.display())))?;
    print(&format!(
        "written to {}; it opens with the passphrase alone: keep them apart\n",
        file.display()
    ))
}

async fn import(
    connection: &mut Connection,
    file: &Path,
    secret: Option<&Path>,
) -> Result<(), Failed> {
    connection.only_on_loopback()?;
    let bytes =
        std::fs::read(file).map_err(|e| Failed::wrong(format!("{}: {e}", file.display())))?;
    let passphrase = passphrase(secret, false)?;
    let sealed = Sealed {
        passphrase: passphrase.to_string(),
        keyring: STANDARD.encode(bytes),
    };
    let imported: Imported = connection.post("/v1/keyring/import", &sealed).await?;
    connection.show(&imported, |imported| {
        format!("{} key versions were new here\n", imported.new)
    })
}

/// Without a server.
fn restore(remote: &Remote, file: &Path, secret: Option<&Path>) -> Result<(), Failed> {
    let config = remote.settings()?;
    let bytes =
        std::fs::read(file).map_err(|e| Failed::wrong(format!("{}: {e}", file.display())))?;
    let done = crate::restore::restore(&config, bytes, passphrase(secret, false)?);
    let done = done.map_err(Failed::because)?;
    print(&format!(
        "{} key versions are on the drives, {} of them made after the export; start the server\n",
        done.versions, done.from_drives
    ))?;
    if done.lost == 0 {
        return Ok(());
    }
    print(&format!(
        "{} versions on the drives are of another keyring: what they sealed stays sealed\n",
        done.lost
    ))
}

async fn destroy(connection: &mut Connection, whose: Whose, yes: bool) -> Result<(), Failed> {
    let word = whose
        .name
        .clone()
        .or_else(|| whose.account.clone())
        .unwrap_or_default();
    if !yes {
        confirm(
            &format!("All that {word}'s key sealed can never be read again."),
            &word,
        )?;
    }
    let done: Destroyed = connection
        .post("/v1/keyring/destroy", &KeyOf::from(whose))
        .await?;
    connection.show(&done, |done| {
        if done.everywhere {
            "destroyed on every drive\n".into()
        } else {
            format!(
                "destroyed on a majority of the drives; before they are used again it is erased on: {}\n",
                drives(&done.not_erased)
            )
        }
    })
}

fn drives(ids: &[u32]) -> String {
    let name = |id: &u32| match DriveId(*id) {
        DriveId::WITNESS => "the witness".to_owned(),
        drive => format!("drive {drive}"),
    };
    let names: Vec<String> = ids.iter().map(name).collect();
    names.join(", ")
}

/// How far what follows from a version's state is.
fn progress(version: &KeyVersionInfo) -> String {
    match &version.rewrap {
        Some(work) if work.left > 0 => {
            format!("{}: {} moved, {} left", work.phase, work.moved, work.left)
        }
        Some(work) => format!("{}: {} moved", work.phase, work.moved),
        None if version.not_erased.is_empty() => String::new(),
        None => format!("not yet erased on {}", drives(&version.not_erased)),
    }
}

fn versions(versions: &[KeyVersionInfo]) -> String {
    let rows = versions.iter().map(|version| {
        vec![
            version.owner.clone(),
            version.id.clone(),
            version.state.clone(),
            time(version.created_ms),
            progress(version),
        ]
    });
    table(&["key", "version", "state", "created", "data keys"], rows)
}
