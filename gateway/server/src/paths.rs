//! What stands at the paths of the settings: a first start, or a node with drives.

use crate::config::Config;
use crate::credentials::Credentials;
use crate::store::{NODE, StoreError};
use crate::witness::{empty_directory, new_witness};
use engine_core::placement::Voters;
use engine_core::ports::Entropy;
use engine_disk::drives::{NewDrive, first_boot};
use engine_disk::{Drive, EmptyPath, MarkError, OpenError, Opened, Role, open_drives};
use engine_types::{BootId, ClusterId, DriveId, DriveUuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Drives that opened, and what a first start has to say.
pub(crate) struct Opening {
    pub(crate) boot: BootId,
    pub(crate) cluster: ClusterId,
    pub(crate) drives: Vec<Arc<Drive>>,
    /// Paths that are not in use, and why.
    pub(crate) out: Vec<(PathBuf, String)>,
    /// The witness, where one stands; in use, or why not.
    pub(crate) witness: Option<Result<Arc<Drive>, String>>,
    pub(crate) first: Option<Credentials>,
}

impl Opening {
    /// A first start, also one that goes on where another was cut off. Not whenever a mark says
    /// `forming`: once the credentials stand Bootstrap is committed, and a drive that was being
    /// added when the process died must never found a second cluster.
    pub(crate) fn forming(&self) -> bool {
        self.first.is_some()
    }
}

/// Where the keys of a first start wait until Bootstrap is committed: a start that is cut off
/// resumes with the same ones.
pub(crate) fn pending(credentials: &Path) -> PathBuf {
    credentials.with_extension("pending")
}

/// Takes away what a first start left that was cut off after its credentials stood: nobody would look
/// for root's secret there. Not what is of another cluster: that may still be needed.
fn forget_pending(file: &Path, standing: &Credentials) {
    let aside = pending(file);
    let same = |kept: &Credentials| kept.cluster == standing.cluster;
    let left = Credentials::read(&aside).ok().flatten();
    if aside == file || !left.as_ref().is_some_and(same) {
        return;
    }
    match std::fs::remove_file(&aside) {
        Ok(()) => tracing::info!(file = %aside.display(), "removed: the credentials stand"),
        Err(error) => {
            tracing::warn!(file = %aside.display(), %error, "holds root's secret and is not needed: remove it");
        }
    }
}

/// Opens them. Blocking.
pub(crate) fn open_paths(config: &Config, entropy: &dyn Entropy) -> Result<Opening, StoreError> {
    let standing = Credentials::read(&config.credentials_file).map_err(StoreError::because)?;
    let named = match &standing {
        None => None,
        Some(c) => Some(c.cluster.parse::<ClusterId>().map_err(|_e| {
            StoreError::Refused(format!(
                "{}: names no cluster id",
                config.credentials_file.display()
            ))
        })?),
    };
    if let Some(standing) = &standing {
        forget_pending(&config.credentials_file, standing);
    }
    for path in &config.drives {
        if !path.is_dir() {
            tracing::warn!(path = %path.display(), "no such directory");
        }
    }
    match open_drives(&config.drives, &config.witness_path(), named) {
        Opened::FirstStart {
            resumed,
            empty,
            forming,
        } => first_start(config, entropy, resumed, (empty, forming)),
        Opened::Started {
            boot,
            drives,
            witness,
        } => started(config, boot, drives, witness, named.is_some()),
    }
}

/// Marks what is empty, and beside the drives the witness where they are fewer than the voters.
fn first_start(
    config: &Config,
    entropy: &dyn Entropy,
    resumed: Option<ClusterId>,
    (empty, forming): (Vec<EmptyPath>, Vec<Drive>),
) -> Result<Opening, StoreError> {
    let mut drives = forming;
    let cluster = resumed.unwrap_or_else(|| {
        let mut id = [0; 16];
        entropy.fill(&mut id);
        ClusterId(id)
    });
    let witnessed = drives.iter().any(|d| d.mark().role() == Role::Witness);
    if Voters::for_drives(config.drives.len()).witness && !witnessed {
        let witness = empty_directory(&config.witness_path())?;
        let formed = witness.form(new_witness(cluster, entropy));
        drives.push(formed.map_err(StoreError::because)?);
    }
    let first = first_credentials(config, cluster)?;
    let mut number = drives.iter().map(|d| d.mark().drive.0).max().unwrap_or(0);
    for path in empty {
        number += 1;
        let mut uuid = [0; 16];
        entropy.fill(&mut uuid);
        let new = NewDrive {
            uuid: DriveUuid(uuid),
            drive: DriveId(number),
            cluster,
            node: NODE,
        };
        drives.push(path.form(new).map_err(StoreError::because)?);
    }
    let (boot, drives) = first_boot(drives);
    let drives = drives
        .into_iter()
        .map(|d| d.map(Arc::new))
        .collect::<Result<Vec<_>, _>>();
    let drives = drives.map_err(StoreError::because)?.into_iter();
    let (witness, drives): (Vec<_>, Vec<_>) =
        drives.partition(|drive| drive.mark().role() == Role::Witness);
    Ok(Opening {
        boot,
        cluster,
        drives,
        out: Vec::new(),
        witness: witness.into_iter().next().map(Ok),
        first: Some(first),
    })
}

fn started(
    config: &Config,
    boot: BootId,
    outcomes: Vec<Result<Drive, MarkError>>,
    witness: Option<Result<Drive, MarkError>>,
    standing: bool,
) -> Result<Opening, StoreError> {
    let (mut drives, mut out) = (Vec::new(), Vec::new());
    // Drives of another process, and paths of a store that never was, do not come by waiting.
    let mut may_come = standing;
    for (path, outcome) in config.drives.iter().zip(outcomes) {
        match outcome {
            Ok(drive) => drives.push(Arc::new(drive)),
            Err(error) => {
                tracing::debug!(%error, "drive left out");
                may_come &= !matches!(error, MarkError::Open(OpenError::InUse(_)));
                out.push((path.clone(), error.to_string()));
            }
        }
    }
    let witness = witness.map(|witness| witness.map(Arc::new).map_err(|e| e.to_string()));
    let Some(drive) = drives.first() else {
        let mut why: Vec<String> = out.into_iter().map(|(_, why)| why).collect();
        if let (Some(Ok(witness)), false) = (&witness, standing) {
            why.push(format!(
                "{} holds the witness of cluster {}: to begin anew, empty it as well",
                config.witness_path().display(),
                witness.mark().cluster
            ));
        }
        let why = format!("no drive can be used: {}", why.join("; "));
        return Err(if may_come {
            StoreError::Waiting(why)
        } else {
            StoreError::Refused(why)
        });
    };
    let cluster = drive.mark().cluster;
    Ok(Opening {
        boot,
        cluster,
        drives,
        out,
        witness,
        first: None,
    })
}

/// The root keys of a first start: those a start that was cut off has chosen, or new ones, kept
/// aside durably before anything is committed under them.
fn first_credentials(config: &Config, cluster: ClusterId) -> Result<Credentials, StoreError> {
    let aside = pending(&config.credentials_file);
    if let Some(kept) = Credentials::read(&aside).map_err(StoreError::because)? {
        if kept.cluster == cluster.to_string() {
            return Ok(kept);
        }
        std::fs::remove_file(&aside).map_err(StoreError::because)?;
    }
    let given = (
        std::env::var("DATAMESH_ROOT_ACCESS_KEY").ok(),
        std::env::var("DATAMESH_ROOT_SECRET_KEY").ok(),
    );
    let given = match given {
        (Some(access), Some(secret)) => {
            crate::config::check_key_pair("DATAMESH_ROOT_ACCESS_KEY", &access, &secret)
                .map_err(StoreError::because)?;
            Some((access, secret))
        }
        (None, None) => None,
        _ => {
            return Err(StoreError::Refused(
                "set both DATAMESH_ROOT_ACCESS_KEY and DATAMESH_ROOT_SECRET_KEY, or neither".into(),
            ));
        }
    };
    let made = Credentials::first(cluster, given).map_err(StoreError::because)?;
    made.write_new(&aside).map_err(StoreError::because)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;

    /// What is left of a pending file beside credentials that stand, after a start.
    fn left_after_start(credentials: &str, pending_of: ClusterId) -> bool {
        let dir = tempfile::tempdir().expect("tempdir");
        let config = Config {
            credentials_file: dir.path().join(credentials),
            drives: vec![dir.path().join("absent")],
            ..Config::default()
        };
        let standing = Credentials::first(ClusterId([7; 16]), None).expect("made");
        standing.write_new(&config.credentials_file).expect("stand");
        let aside = pending(&config.credentials_file);
        if aside != config.credentials_file {
            let kept = Credentials::first(pending_of, None).expect("made");
            kept.write_new(&aside).expect("written");
        }
        // No drive is there.
        assert!(open_paths(&config, &SystemEntropy::new()).is_err());
        assert!(config.credentials_file.exists());
        aside.exists()
    }

    #[test]
    fn what_a_cut_first_start_left_of_roots_secret_goes_once_the_credentials_stand() {
        let (ours, other) = (ClusterId([7; 16]), ClusterId([8; 16]));
        assert!(!left_after_start("c.json", ours));
        assert!(left_after_start("c.json", other));
        assert!(
            left_after_start("c.pending", ours),
            "the credentials themselves"
        );
    }
}
