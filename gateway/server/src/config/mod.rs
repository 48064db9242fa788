//! Every setting, from file, environment and flags, checked once into one struct.
//!
//! A later layer wins: defaults < file (TOML) < environment (`DATAMESH_…`) < flags. A wrong setting
//! is one line that names it, before any port opens.

mod accounts;
mod layers;
mod lock;
mod places;
mod secret;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use accounts::Account;
pub(crate) use layers::{Flags, load};
pub(crate) use lock::PASSPHRASE_BYTES_MIN;
pub(crate) use secret::SecretText;
pub(crate) use settings::{Kind, SETTINGS};

use engine_disk::options::SEGMENT_BYTES_MAX;
use engine_meta::service::MetaOptions;
use engine_node::{BUFFER_BUDGET_BYTES, BUFFER_BUDGET_BYTES_MIN};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Longest a shard may stay unread: damage gathers.
const SCRUB_DAYS_MAX: u64 = 365;
/// Snapshots more often than this would be most of what is written.
const SNAPSHOT_LOG_BYTES_MIN: u64 = 1 << 20;

/// A smaller segment would be a file for a handful of shards. The most is the disk's own limit.
const SEGMENT_BYTES_MIN: u64 = 16 << 20;

/// A setting is wrong: which, and what to do. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {problem}")]
pub(crate) struct ConfigError {
    /// Dotted name as in the file.
    pub(crate) setting: String,
    /// What is wrong and what would be right.
    pub(crate) problem: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &str, problem: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            problem: problem.into(),
        }
    }
}

/// How the S3 port speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsMode {
    /// Plain http.
    #[default]
    Off,
    /// https only.
    On,
    /// Either, told apart by the first byte.
    Both,
}

/// TLS of the S3 port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// Off, on, or both on one port.
    pub(crate) mode: TlsMode,
    /// PEM certificate chain; read again when it changes.
    pub(crate) cert: Option<PathBuf>,
    /// PEM private key.
    pub(crate) key: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Ownership of objects in new buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Ownership {
    /// ACLs off, the bucket owner owns all (AWS's default).
    #[default]
    BucketOwnerEnforced,
    /// The bucket owner owns what is written with `bucket-owner-full-control`.
    BucketOwnerPreferred,
    /// The writer owns.
    ObjectWriter,
}

/// All settings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// S3 port.
    pub(crate) listen: SocketAddr,
    /// Admin, health and metrics port; loopback unless you know why.
    pub(crate) admin_listen: SocketAddr,
    /// One directory a drive.
    pub(crate) drives: Vec<PathBuf>,
    /// Where the root key and the cluster id are kept, 0600, outside the drives.
    pub(crate) credentials_file: PathBuf,
    /// Key file that seals the keyring, 0600, outside the drives; made on first start.
    pub(crate) key_file: Option<PathBuf>,
    /// File with the passphrase that seals the keyring, instead of `key_file`; 0600.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The passphrase itself, instead of both; for `DATAMESH_PASSPHRASE`.
    pub(crate) passphrase: Option<SecretText>,
    /// Where one more voter lives when the drives are fewer than the voters; beside the credentials
    /// file unless set.
    pub(crate) witness_dir: Option<PathBuf>,
    /// Region that signatures and bucket locations name.
    pub(crate) region: String,
    /// Domains for virtual-hosted style: `bucket.DOMAIN`.
    pub(crate) domains: Vec<String>,
    /// Failure domain of this node.
    pub(crate) zone: String,
    /// TLS of the S3 port.
    pub(crate) tls: Tls,
    /// Text or JSON.
    pub(crate) log_format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or a tracing filter.
    pub(crate) log_level: String,
    /// How long running requests may go on after SIGTERM, seconds.
    pub(crate) shutdown_drain_s: u64,
    /// Addresses (CIDR) of proxies whose X-Forwarded-For / -Proto is believed.
    pub(crate) trusted_proxies: Vec<String>,
    /// Ownership of objects in new buckets.
    pub(crate) default_object_ownership: Ownership,
    /// Public access block on new buckets.
    pub(crate) block_public_access_default: bool,
    /// Take `SigV2` signatures in POST forms.
    pub(crate) post_form_sigv2: bool,
    /// Take customer keys over plain http.
    pub(crate) sse_c_over_http: bool,
    /// Storage class names beside STANDARD that are taken (and stored alike).
    pub(crate) storage_classes_extra: Vec<String>,
    /// Named keys that must exist; made at start.
    pub(crate) kms_keys: Vec<String>,
    /// Memory for uploads in flight, bytes.
    pub(crate) upload_buffer_bytes: u64,
    /// Size of a segment file, bytes.
    pub(crate) segment_bytes: u64,
    /// Room on each drive kept for log, snapshots and deletes, bytes; 0: 2 %, at least 1 GiB.
    pub(crate) reserve_bytes: u64,
    /// A partition's replica writes a snapshot once its log has grown by so many bytes (and by twice
    /// its tables, where they are larger).
    pub(crate) snapshot_log_bytes: u64,
    /// In so many days every shard is read once and compared.
    pub(crate) scrub_days: u64,
    /// … and no drive slower than so many bytes a second.
    pub(crate) scrub_bytes_per_s_min: u64,
    /// Small objects are packed when they are so old, seconds.
    pub(crate) pack_age_s: u64,
    /// … and come together to so many bytes; fewer wait an hour.
    pub(crate) pack_bytes_min: u64,
    /// Accounts beside root.
    pub(crate) accounts: Vec<Account>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 9000)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9001)),
            drives: Vec::new(),
            credentials_file: PathBuf::from("datamesh-credentials.json"),
            key_file: None,
            passphrase_file: None,
            passphrase: None,
            witness_dir: None,
            region: "us-east-1".into(),
            domains: Vec::new(),
            zone: "default".into(),
            tls: Tls::default(),
            log_format: LogFormat::Text,
            log_level: "info".into(),
            shutdown_drain_s: 25,
            trusted_proxies: Vec::new(),
            default_object_ownership: Ownership::BucketOwnerEnforced,
            block_public_access_default: true,
            post_form_sigv2: false,
            sse_c_over_http: false,
            storage_classes_extra: Vec::new(),
            kms_keys: Vec::new(),
            upload_buffer_bytes: BUFFER_BUDGET_BYTES as u64,
            segment_bytes: 256 << 20,
            reserve_bytes: 0,
            snapshot_log_bytes: MetaOptions::default().snapshot_bytes_min,
            scrub_days: 7,
            scrub_bytes_per_s_min: engine_node::scrub::SCRUB_BYTES_PER_S_MIN,
            pack_age_s: 60,
            pack_bytes_min: 1 << 20,
            accounts: Vec::new(),
        }
    }
}

impl Config {
    /// Checks what types cannot.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.drives.is_empty() {
            return Err(ConfigError::new(
                "drives",
                "name at least one directory (drives = [\"/data/1\"] or --drive PATH)",
            ));
        }
        self.one_lock()?;
        check_region(&self.region)?;
        self.apart()?;
        self.ports()?;
        if self.tls.mode != TlsMode::Off {
            for (name, file) in [("tls.cert", &self.tls.cert), ("tls.key", &self.tls.key)] {
                let file = file
                    .as_ref()
                    .ok_or_else(|| ConfigError::new(name, "needed when tls.mode is on or both"))?;
                std::fs::File::open(file).map_err(|e| {
                    ConfigError::new(name, format!("cannot read {}: {e}", file.display()))
                })?;
            }
        }
        accounts::check(&self.accounts)?;
        let segments = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        if !segments.contains(&self.segment_bytes) || !self.segment_bytes.is_multiple_of(4096) {
            return Err(ConfigError::new(
                "segment_bytes",
                "16 MiB to 4 GiB, and a multiple of 4096",
            ));
        }
        if self.snapshot_log_bytes < SNAPSHOT_LOG_BYTES_MIN {
            return Err(ConfigError::new("snapshot_log_bytes", "at least 1 MiB"));
        }
        if !(1..=SCRUB_DAYS_MAX).contains(&self.scrub_days) {
            return Err(ConfigError::new(
                "scrub_days",
                format!("1 to {SCRUB_DAYS_MAX}"),
            ));
        }
        if self.upload_buffer_bytes < BUFFER_BUDGET_BYTES_MIN as u64 {
            return Err(ConfigError::new("upload_buffer_bytes", "at least 32 MiB"));
        }
        Ok(())
    }

    /// The witness's directory.
    pub(crate) fn witness_path(&self) -> PathBuf {
        let beside = || self.credentials_file.with_file_name("witness");
        self.witness_dir.clone().unwrap_or_else(beside)
    }
}

/// 3-128 printable characters of access key, 8-128 of secret: what every client can send.
pub(crate) fn check_key_pair(setting: &str, access: &str, secret: &str) -> Result<(), ConfigError> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if !(3..=128).contains(&access.len())
        || !access
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return Err(ConfigError::new(
            setting,
            "access key: 3-128 of A-Z a-z 0-9 - _",
        ));
    }
    if !(8..=128).contains(&secret.len()) || !plain(secret) {
        return Err(ConfigError::new(
            setting,
            "secret key: 8-128 printable ASCII characters",
        ));
    }
    Ok(())
}

/// Longest name of a region.
pub(crate) const REGION_BYTES_MAX: usize = 64;

/// What fits into a signature's scope, where `/` separates, and what AWS's own look like.
fn check_region(region: &str) -> Result<(), ConfigError> {
    let fit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = region.starts_with('-') || region.ends_with('-');
    if region.is_empty() || region.len() > REGION_BYTES_MAX || ends || !region.bytes().all(fit) {
        let text = format!("1-{REGION_BYTES_MAX} of a-z 0-9 -, such as us-east-1");
        return Err(ConfigError::new("region", text));
    }
    Ok(())
}
