//! What the admin API sends and takes, for the server and the command line alike. Fields are only
//! ever added: docs/ADMIN.md is a promise to programs.

use serde::{Deserialize, Serialize};

/// `GET /health/ready`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Readiness {
    /// `starting`, `ready`, `degraded` (some partitions' keys are not served), `failing` or `ending`.
    pub(crate) state: String,
    /// Why it is not ready, or not wholly, and what to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) reason: Option<String>,
    /// Drives out of service, paths left out, and replicas that partitions without a majority miss on
    /// drives that are in service; each with its reason.
    pub(crate) missing: Vec<String>,
}

/// `GET /v1/status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Cluster id.
    pub(crate) cluster: String,
    /// This release.
    pub(crate) version: String,
    /// Seconds since the process was ready.
    pub(crate) uptime_s: u64,
    /// Starts of this node so far.
    pub(crate) boot: u64,
    /// Region that signatures name.
    pub(crate) region: String,
    /// Address of the S3 port.
    pub(crate) s3_listen: String,
    /// `off`, `on` or `both`.
    pub(crate) s3_tls: String,
    /// As without authentication.
    pub(crate) readiness: Readiness,
    /// How stripes are cut with the drives of the layout, `k+m`.
    pub(crate) geometry: String,
    /// Drives of the layout.
    pub(crate) drives: Vec<DriveInfo>,
    /// Where one more voter lies, while the drives are fewer than the voters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) witness: Option<WitnessInfo>,
    /// Paths of the settings that are not in use, and why.
    pub(crate) left_out: Vec<String>,
    /// Partitions; 0 is control.
    pub(crate) partitions: Vec<Partition>,
    /// Rebuilding and re-striping.
    #[serde(default)]
    pub(crate) rebuild: Rebuild,
    /// What background work has before it.
    pub(crate) work: Vec<Work>,
}

/// One drive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DriveInfo {
    /// Its number.
    pub(crate) id: u32,
    /// In its mark.
    pub(crate) uuid: String,
    /// Where it is open, if it is.
    pub(crate) path: Option<String>,
    /// Failure domain.
    pub(crate) zone: String,
    /// `up`, `full`, `read-only` or `out`.
    pub(crate) state: String,
    /// Why it is out.
    pub(crate) reason: Option<String>,
    /// In the layout: `active`, `read-only`, `leaving`, `full` or `gone`.
    pub(crate) layout: String,
    /// Of the file system.
    pub(crate) capacity_bytes: u64,
    /// For shards.
    pub(crate) available_bytes: u64,
    /// Live shards.
    pub(crate) live_bytes: u64,
    /// Written in segments.
    pub(crate) written_bytes: u64,
    /// Replicas of partitions on it.
    pub(crate) replicas: u32,
    /// Of a drive that leaves or is gone: shards that stripes still have on it, as the last survey
    /// counted them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) shards_left: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) bytes_left: Option<u64>,
}

/// The witness.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct WitnessInfo {
    /// Its directory.
    pub(crate) path: String,
    /// `up`, `missing` (nothing is there) or `failing`.
    pub(crate) state: String,
    /// Why it is not up.
    pub(crate) reason: Option<String>,
    /// Replicas of partitions in it.
    pub(crate) replicas: u32,
}

/// How far rebuilding and re-striping are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rebuild {
    /// `idle`, `surveying` (counting what is to be done) or `rebuilding`.
    pub(crate) state: String,
    /// Stripes to be brought elsewhere or striped anew; while surveying: found so far.
    pub(crate) stripes_left: u64,
    /// Shards to be written.
    pub(crate) shards_left: u64,
    /// Their bytes.
    pub(crate) bytes_left: u64,
    /// Shards written since the survey.
    pub(crate) shards_done: u64,
    /// Their bytes.
    pub(crate) bytes_done: u64,
    /// Bytes written a second since the survey.
    pub(crate) bytes_per_s: u64,
    /// At this rate; none: not known.
    pub(crate) seconds_left: Option<u64>,
    /// Stripes that need something the drives do not allow now.
    pub(crate) blocked_stripes: u64,
    /// Walks over all stripes that came to their end since the process started.
    pub(crate) walks: u64,
}

/// One partition's replicas.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Partition {
    /// Its number.
    pub(crate) id: u32,
    /// The drive that leads it; none: no majority.
    pub(crate) leader: Option<u32>,
    /// Raised by every election.
    pub(crate) term: u64,
    /// Voters there should be, as the leader has it.
    pub(crate) voters: u32,
    /// Each replica here.
    pub(crate) replicas: Vec<ReplicaInfo>,
}

/// One replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ReplicaInfo {
    /// On this drive.
    pub(crate) drive: u32,
    /// It leads.
    pub(crate) leader: bool,
    /// Last index applied.
    pub(crate) applied: u64,
    /// Entries behind the leader's log.
    pub(crate) lag: u64,
    /// Bytes of its log not yet covered by snapshots.
    pub(crate) log_bytes: u64,
    /// Why it stopped, if it has.
    pub(crate) stopped: Option<String>,
}

/// Background work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    /// `repair`, `gc`, …
    pub(crate) name: String,
    /// What it does.
    pub(crate) what: String,
    /// Things that wait.
    pub(crate) waiting: u64,
    /// More wait than were counted.
    pub(crate) more: bool,
    /// Why it could not be counted.
    pub(crate) problem: Option<String>,
}

/// `POST /v1/drives`, `POST /v1/drives/{id}/replace`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrivePath {
    /// An empty directory, as the server sees it.
    pub(crate) path: String,
}

/// What came of `POST /v1/drives`, `POST /v1/drives/{id}/replace` (the new drive) and
/// `DELETE /v1/drives/{id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DriveAdded {
    /// The drive.
    pub(crate) drive: DriveInfo,
    /// What is left to do for the operator.
    pub(crate) notes: Vec<String>,
}

/// `GET /v1/object`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Explained {
    /// Bucket.
    pub(crate) bucket: String,
    /// Key.
    pub(crate) key: String,
    /// Version id.
    pub(crate) version: String,
    /// It is the current one.
    pub(crate) latest: bool,
    /// Plaintext bytes.
    pub(crate) size_bytes: u64,
    /// Entity tag.
    pub(crate) etag: String,
    /// `LastModified`, Unix ms.
    pub(crate) modified_ms: u64,
    /// Storage class.
    pub(crate) storage_class: String,
    /// Partition that holds its rows.
    pub(crate) partition: u32,
    /// Drives that may be lost now with nothing lost; negative: bytes cannot be read now.
    pub(crate) losses_tolerated: i32,
    /// Its parts in order.
    pub(crate) parts: Vec<PartInfo>,
    /// More stripes than are told: ask for fewer with `part`.
    pub(crate) truncated: bool,
}

/// One part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PartInfo {
    /// As uploaded; 1 for a plain PUT.
    pub(crate) number: u16,
    /// Names its bytes.
    pub(crate) data: String,
    /// Plaintext bytes.
    pub(crate) size_bytes: u64,
    /// `inline`, `stripes` or `pack ID`.
    pub(crate) place: String,
    /// Its stripes.
    pub(crate) stripes: Vec<StripeInfo>,
}

/// One stripe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct StripeInfo {
    /// Of the part, from 0.
    pub(crate) index: u32,
    /// Data shards.
    pub(crate) k: u8,
    /// Parity shards.
    pub(crate) m: u8,
    /// Bytes of ciphertext.
    pub(crate) bytes: u32,
    /// Drives that may be lost now; negative: it cannot be read now.
    pub(crate) losses_tolerated: i32,
    /// k+m shards in order.
    pub(crate) shards: Vec<ShardInfo>,
}

/// One shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ShardInfo {
    /// Of the stripe, from 0.
    pub(crate) index: u8,
    /// Its drive; none: queued for repair.
    pub(crate) drive: Option<u32>,
    /// Names the copy.
    pub(crate) token: Option<String>,
    /// `present`, `verified` (read whole just now), `damaged`, `missing`, `queued`, `drive out`.
    pub(crate) state: String,
    /// When its bytes were last read whole and found right, Unix ms, where that is known.
    pub(crate) verified_ms: Option<u64>,
}

/// One access key; never its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct KeyInfo {
    /// What clients send.
    pub(crate) access_key: String,
    /// Name of its account.
    pub(crate) account: String,
    /// `active` or `disabled`.
    pub(crate) state: String,
    /// Unix ms.
    pub(crate) created_ms: u64,
    /// A note.
    pub(crate) description: String,
}

/// `POST /v1/keys`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewKey {
    /// Name or canonical id of its account; none: root.
    pub(crate) account: Option<String>,
    /// A note.
    pub(crate) description: String,
}

/// What came of it: the secret is told this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyMade {
    /// The key.
    pub(crate) key: KeyInfo,
    /// Its secret.
    pub(crate) secret_key: String,
}

/// One version of a key of the keyring; never its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct KeyVersionInfo {
    /// Its number, hex.
    pub(crate) id: String,
    /// `system`, `account NAME` or `name NAME`.
    pub(crate) owner: String,
    /// `current`, `retired` or `destroyed`.
    pub(crate) state: String,
    /// Unix ms.
    pub(crate) created_ms: u64,
    /// Of a retired one: how far the data keys that it wrapped are wrapped anew.
    pub(crate) rewrap: Option<Rewrap>,
    /// Of a destroyed one: drives that have yet to erase it, before they are used again.
    pub(crate) not_erased: Vec<u32>,
}

/// Since the server's start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Rewrap {
    /// `waiting`, `walking` or `done`.
    pub(crate) phase: String,
    /// Parts wrapped anew by the current version.
    pub(crate) moved: u64,
    /// Parts of the pass under way, or the last one, that could not be; the log says why.
    pub(crate) left: u64,
}

/// `POST /v1/keyring/names`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyName {
    /// As requests name it.
    pub(crate) name: String,
}

/// Whose key: exactly one is set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeyOf {
    /// A named key.
    pub(crate) name: Option<String>,
    /// An account's tenant key, by name or canonical id.
    pub(crate) account: Option<String>,
}

/// `POST /v1/keyring/export`, and with `keyring` `POST /v1/keyring/import`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sealed {
    /// Seals or opens the export.
    pub(crate) passphrase: String,
    /// The export, base64.
    pub(crate) keyring: String,
}

/// What an import brought.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Imported {
    /// Key versions that were unknown here.
    pub(crate) new: usize,
}

/// What came of `POST /v1/keyring/destroy`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Destroyed {
    /// Every drive has erased it; false: a majority has, the others do before they rejoin.
    pub(crate) everywhere: bool,
    /// The others.
    pub(crate) not_erased: Vec<u32>,
}

/// One account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AccountInfo {
    /// Its number.
    pub(crate) id: u64,
    /// Display name.
    pub(crate) name: String,
    /// As ACLs show it.
    pub(crate) canonical_id: String,
    /// It may use this API.
    pub(crate) root: bool,
}
