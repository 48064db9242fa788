//! Ids and values of the DataMesh engine, parsed once; no I/O, no clock, no randomness.
//!
//! Everything here is a value that crosses a port or lands on a drive. What is serialised with
//! serde is **format** (docs/FORMATS.md): fields are only ever appended behind a version byte.
#![forbid(unsafe_code)]

mod charge;
mod checksum;
mod etag;
mod ids;
mod name;
mod time;

pub use charge::{AccountId, ByteCount, ChargedTo, KeyId, StorageClass, StorageClassError};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumType};
pub use etag::{ETag, ETagParseError};
pub use ids::{
    BirthId, BootId, BucketId, ClusterId, CommandId, CopyToken, DataId, DriveId, DriveUuid,
    GroupId, IdParseError, ManifestId, NodeId, PackId, PartitionId, UploadId,
};
pub use name::{
    BUCKET_NAME_BYTES_MAX, BUCKET_NAME_BYTES_MIN, BucketName, NameError, OBJECT_KEY_BYTES_MAX,
    ObjectKey,
};
pub use time::{Order, Stamp, VersionId, VersionIdParseError};

/// True when the sabotage of this name was chosen at run time (`DATAMESH_SABOTAGE`).
///
/// Exists only in builds with `--cfg sabotage`, so a shipped binary cannot be broken by it.
#[cfg(sabotage)]
pub fn sabotage(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN
        .get_or_init(|| std::env::var("DATAMESH_SABOTAGE").ok())
        .as_deref()
        == Some(name)
}
