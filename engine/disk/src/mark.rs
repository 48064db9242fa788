//! What a drive says of itself: `drive.json` in its root (**format**).
//!
//! ```text
//! {"mark":{"version":1,"feature_level":1,…},"crc32c":"9ae0daaf"}
//! ```
//! The CRC32C is of the bytes between `"mark":` and `,"crc32c"`, as they stand, so that a newer
//! build may add fields: damage is judged before novelty. Readable, because a person with a drive
//! in the hand and no cluster should be able to tell what it is.

use crate::file::Root;
pub use crate::mark_error::MarkError;
pub use crate::witness::Role;
use engine_core::format::crc32c;
use engine_core::ports::DriveError;
use engine_types::{BootId, ClusterId, DriveId, DriveUuid, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The mark's name.
pub const MARK_FILE: &str = "drive.json";
/// The version of the mark this build writes, and the newest it reads.
pub const MARK_VERSION: u16 = 1;
/// The newest feature level this build knows: what lies on a drive is understood up to it.
pub const FEATURE_LEVEL: u32 = 1;
/// Longest mark, bytes.
pub const MARK_BYTES_MAX: usize = 256 * 1024;

/// Where a drive is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveState {
    /// Marked, but the cluster's bootstrap (or the drive's addition) is not committed.
    Forming,
    /// Holds replicas and shards.
    InService,
    /// Being emptied.
    Leaving,
}

/// One drive's mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Names the drive wherever it is mounted.
    pub uuid: DriveUuid,
    /// Its number in the layout; the witness has one that no drive has.
    pub drive: DriveId,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The node it is in.
    pub node: NodeId,
    /// What one must know to read it.
    pub feature_level: u32,
    /// The release that wrote the mark, for messages.
    pub release: String,
    /// Where it is in its life.
    pub state: DriveState,
    /// It was found to be an old copy: nothing on it votes before its replicas are made anew.
    pub stale: bool,
    /// At which start of the node each of its drives was last there, as far as this one knows.
    pub boots: BTreeMap<DriveUuid, BootId>,
    /// The last sequence of each drive's log that is known to have been durable, as far as this one
    /// was told. A drive whose log ends before it is an older copy of itself.
    pub log_ends: BTreeMap<DriveUuid, u64>,
}

#[derive(Serialize, Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    mark: &'a RawValue,
    crc32c: String,
}

/// The fields every version has.
#[derive(Deserialize)]
struct Head {
    version: u16,
    feature_level: u32,
    release: String,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    version: u16,
    feature_level: u32,
    release: String,
    drive_uuid: String,
    drive: u32,
    cluster: String,
    node: u32,
    state: DriveState,
    stale: bool,
    boots: BTreeMap<String, u64>,
    log_ends: BTreeMap<String, u64>,
}

/// Why bytes are not a mark of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MarkDecodeError {
    /// Not JSON, checksum, or a field's content.
    Damaged(String),
    /// Sound, but newer.
    Newer {
        /// The release that wrote it.
        release: String,
        /// What it needs.
        level: u32,
    },
}

impl Mark {
    /// The file's content.
    ///
    /// # Errors
    /// None that a value can cause.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (boots, ends) = (self.boots.iter(), self.log_ends.iter());
        let fields = Fields {
            version: MARK_VERSION,
            feature_level: self.feature_level,
            release: self.release.clone(),
            drive_uuid: self.uuid.to_string(),
            drive: self.drive.0,
            cluster: self.cluster.to_string(),
            node: self.node.0,
            state: self.state,
            stale: self.stale,
            boots: boots
                .map(|(uuid, boot)| (uuid.to_string(), boot.0))
                .collect(),
            log_ends: ends.map(|(uuid, end)| (uuid.to_string(), *end)).collect(),
        };
        let mark = serde_json::value::to_raw_value(&fields)?;
        let crc32c = format!("{:08x}", crc32c(mark.get().as_bytes()));
        let mut bytes = serde_json::to_vec(&Outer {
            mark: &mark,
            crc32c,
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a mark. Total; `known` is the feature level of this build.
    pub fn decode(bytes: &[u8], known: u32) -> Result<Self, MarkDecodeError> {
        let damaged = |what: &dyn std::fmt::Display| MarkDecodeError::Damaged(what.to_string());
        if bytes.len() > MARK_BYTES_MAX {
            return Err(damaged(&"too long"));
        }
        let outer: Outer<'_> = serde_json::from_slice(bytes).map_err(|error| damaged(&error))?;
        let text = outer.mark.get();
        let sound = format!("{:08x}", crc32c(text.as_bytes())) == outer.crc32c;
        #[cfg(sabotage)]
        let sound = sound || engine_types::sabotage("skip-mark-crc");
        if !sound {
            return Err(damaged(&"checksum mismatch"));
        }
        let head: Head = serde_json::from_str(text).map_err(|error| damaged(&error))?;
        let newer = head.version > MARK_VERSION || head.feature_level > known;
        #[cfg(sabotage)]
        let newer = newer && !engine_types::sabotage("accept-newer-mark");
        if newer {
            return Err(MarkDecodeError::Newer {
                release: head.release,
                level: head.feature_level,
            });
        }
        let fields: Fields = serde_json::from_str(text).map_err(|error| damaged(&error))?;
        let mut boots = BTreeMap::new();
        for (uuid, boot) in fields.boots {
            let uuid = uuid.parse().map_err(|error| damaged(&error))?;
            boots.insert(uuid, BootId(boot));
        }
        let mut log_ends = BTreeMap::new();
        for (uuid, end) in fields.log_ends {
            log_ends.insert(uuid.parse().map_err(|error| damaged(&error))?, end);
        }
        Ok(Self {
            uuid: fields.drive_uuid.parse().map_err(|error| damaged(&error))?,
            drive: DriveId(fields.drive),
            cluster: fields.cluster.parse().map_err(|error| damaged(&error))?,
            node: NodeId(fields.node),
            feature_level: fields.feature_level,
            release: fields.release,
            state: fields.state,
            stale: fields.stale,
            boots,
            log_ends,
        })
    }

    /// The start of the node this drive was last at.
    pub fn boot(&self) -> BootId {
        self.boots.get(&self.uuid).copied().unwrap_or_default()
    }

    /// What it is the mark of.
    pub fn role(&self) -> Role {
        if self.drive == DriveId::WITNESS {
            Role::Witness
        } else {
            Role::Drive
        }
    }

    /// Writes it to its drive, durably.
    pub(crate) fn write(&self, root: &Root) -> Result<(), MarkError> {
        let failed = |error| MarkError::Drive {
            path: root.path().to_owned(),
            error,
        };
        let bytes = self
            .encode()
            .map_err(|error| failed(DriveError::Failed(error.to_string())))?;
        root.write(MARK_FILE, &bytes).map_err(failed)
    }
}

/// What stands at a path, before anything is decided.
#[derive(Debug)]
pub enum Found {
    /// Nothing but `lost+found`.
    Empty,
    /// Files, but no mark.
    Other,
    /// A mark this build reads.
    Marked(Mark),
    /// It cannot be used, whatever the others are.
    Unfit(MarkError),
}

/// What to do at start; paths in the order given.
#[derive(Debug)]
pub enum Plan {
    /// Every path is empty (or was being marked by a first start that was cut off, whose cluster
    /// id is kept) and no credentials file stands.
    FirstStart {
        /// The cluster being formed by the start that was cut off.
        resumed: Option<ClusterId>,
    },
    /// Start with these; `true` marks an old copy.
    Start(Vec<Result<bool, MarkError>>),
}

/// Judges the paths of a node. Pure. `credentials` is the cluster the credentials file names, if
/// that file stands: then no path may be a new one.
pub fn decide(paths: &[PathBuf], found: &mut Vec<Found>, credentials: Option<ClusterId>) -> Plan {
    let fresh = |found: &Found| match found {
        Found::Empty => true,
        Found::Marked(mark) => mark.state == DriveState::Forming,
        Found::Other | Found::Unfit(_) => false,
    };
    #[cfg(sabotage)]
    let credentials = credentials.filter(|_| !engine_types::sabotage("format-unmounted"));
    let mut forming: Vec<ClusterId> = marks(found).map(|mark| mark.cluster).collect();
    forming.dedup();
    if credentials.is_none() && !found.is_empty() && found.iter().all(fresh) && forming.len() <= 1 {
        return Plan::FirstStart {
            resumed: forming.first().copied(),
        };
    }
    let expected = Expected::of(found, credentials);
    let old: Vec<bool> = found
        .iter()
        .map(|found| matches!(found, Found::Marked(mark) if is_old_copy(mark, &expected.boots)))
        .collect();
    let twice = twice(paths, found);
    let taken = std::mem::take(found);
    let mut verdicts = Vec::new();
    for (((path, stands), old), twice) in paths.iter().zip(taken).zip(old).zip(twice) {
        let (verdict, kept) = judge(path, stands, &expected, twice);
        verdicts.push(verdict.map(|()| old));
        found.push(kept);
    }
    Plan::Start(verdicts)
}

fn marks(found: &[Found]) -> impl Iterator<Item = &Mark> {
    found.iter().filter_map(|found| match found {
        Found::Marked(mark) => Some(mark),
        Found::Empty | Found::Other | Found::Unfit(_) => None,
    })
}

/// What the drives of this node have in common.
struct Expected {
    cluster: Option<ClusterId>,
    node: Option<NodeId>,
    /// The newest start each drive was at, by what any of them knows.
    boots: BTreeMap<DriveUuid, BootId>,
}

impl Expected {
    /// The first marked path speaks for the node where no credentials file does: the order of the
    /// paths is the operator's.
    fn of(found: &[Found], credentials: Option<ClusterId>) -> Self {
        let cluster = credentials.or_else(|| marks(found).next().map(|mark| mark.cluster));
        let ours = || marks(found).filter(|mark| Some(mark.cluster) == cluster);
        let node = ours().next().map(|mark| mark.node);
        let mut boots = BTreeMap::new();
        for (uuid, boot) in ours()
            .filter(|mark| Some(mark.node) == node)
            .flat_map(|mark| &mark.boots)
        {
            let newest: &mut BootId = boots.entry(*uuid).or_default();
            *newest = (*newest).max(*boot);
        }
        Self {
            cluster,
            node,
            boots,
        }
    }
}

/// Whether a sibling has seen this drive at a later start than it remembers itself: then it is a
/// copy from before (a restored backup, a clone, a snapshot), and what it votes may contradict what
/// it has voted.
pub fn is_old_copy(mark: &Mark, boots: &BTreeMap<DriveUuid, BootId>) -> bool {
    #[cfg(sabotage)]
    if engine_types::sabotage("accept-old-copy") {
        return false;
    }
    mark.stale
        || boots
            .get(&mark.uuid)
            .is_some_and(|known| mark.boot() < *known)
}

/// For each path the other one that holds the same drive.
fn twice(paths: &[PathBuf], found: &[Found]) -> Vec<Option<PathBuf>> {
    let uuid = |found: &Found| match found {
        Found::Marked(mark) => Some(mark.uuid),
        Found::Empty | Found::Other | Found::Unfit(_) => None,
    };
    let other = |at: usize, one: &Found| {
        let this = uuid(one)?;
        let same = |(other, found): &(usize, &Found)| *other != at && uuid(found) == Some(this);
        let (other, _) = found.iter().enumerate().find(same)?;
        paths.get(other).cloned()
    };
    found
        .iter()
        .enumerate()
        .map(|(at, one)| other(at, one))
        .collect()
}

fn judge(
    path: &Path,
    found: Found,
    expected: &Expected,
    twice: Option<PathBuf>,
) -> (Result<(), MarkError>, Found) {
    let path = path.to_owned();
    let error = match &found {
        Found::Empty => MarkError::Unmarked(path),
        Found::Other => MarkError::NotEmpty(path),
        Found::Unfit(_) => {
            let Found::Unfit(error) = found else {
                return (Ok(()), found);
            };
            return (Err(error), Found::Other);
        }
        #[cfg(sabotage)]
        Found::Marked(_) if engine_types::sabotage("take-foreign-drive") => return (Ok(()), found),
        Found::Marked(mark) => match (expected.cluster, expected.node, twice) {
            (Some(cluster), _, _) if cluster != mark.cluster => MarkError::ForeignCluster {
                path,
                found: mark.cluster,
                expected: cluster,
            },
            (_, Some(node), _) if node != mark.node => MarkError::ForeignNode {
                path,
                found: mark.node,
                expected: node,
            },
            (_, _, Some(other)) => MarkError::Twice {
                path,
                other,
                uuid: mark.uuid,
            },
            _ => return (Ok(()), found),
        },
    };
    (Err(error), found)
}
