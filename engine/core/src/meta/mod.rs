//! Values of the replicated metadata: rows (what tables hold), commands (what changes them),
//! queries (what reads them). Pure data; `engine/meta` applies and answers, `engine/node` proposes.
//!
//! **Format.** All of it is written with postcard behind a version byte ([`encode`], [`decode`]).
//! Enum variants and struct fields are only ever appended under a new version, never re-ordered.

mod bucket;
mod command;
mod control;
mod control_query;
mod object;
mod pack;
mod query;
mod refusal;

pub use bucket::{BucketDocument, BucketRef, BucketRow, Versioning};
pub use command::{
    Answer, Change, Command, CompleteUpload, Condition, CreateUpload, Delete, EtagMatch, NewPart,
    NewPlace, PutPart, PutVersion,
};
pub use control::{
    AccessKeyRow, AccessKeyState, AccountRow, Bootstrap, BucketName as BucketNameRow, BucketState,
    ControlChange, KeyVersionId, KmsKeyRow,
};
pub use control_query::{ControlQuery, ControlReply};
pub use object::{
    Body, Encryption, Judged, MANIFEST_CHUNK_ENTRIES, ManifestEntry, PartKey, PartRow, Place,
    STRIPE_CHUNK, Slot, Stripe, UploadPartRow, UploadRow, VersionAttributes, VersionKind,
    VersionRow,
};
pub use pack::{
    Contents, NewPack, PACK_BYTES_MAX, PACK_LIVE_PERCENT, PACK_MEMBERS_MAX, PACK_PAGE_MAX, PACKS,
    PackMember, PackQuery, PackReply, PackRow, UnpackedRow, pack_data, pack_key, shard_owner,
    shard_place,
};
pub use query::{
    BodyStart, BootRow, DeadRow, DeadThing, FoundVersion, ListPage, ListQuery, ListedUpload,
    ListedVersion, PartFound, PartsPage, Query, Reply, UploadsPage, VersionsPage,
};
pub use refusal::Refusal;

use serde::{Serialize, de::DeserializeOwned};

/// The version this build writes.
pub const META_VERSION: u8 = 1;

/// Most values fit in so many bytes: one allocation each.
const ROW_BYTES: usize = 256;

/// Stored bytes that this build cannot read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer build.
    #[error("written in metadata version {0}; this build reads up to {META_VERSION}")]
    Newer(u8),
    /// Not what any build wrote.
    #[error("malformed metadata: {0}")]
    Malformed(String),
}

/// The bytes of `value`: version byte, then postcard.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ROW_BYTES);
    bytes.push(META_VERSION);
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "postcard to a growing Vec fails only on unsized maps; ours are sized"
    )]
    postcard::to_extend(value, bytes).expect("metadata value serialises")
}

/// What [`encode`] wrote; refuses newer versions, trailing bytes and anything malformed.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((&META_VERSION, rest)) => {
            let (value, left) = postcard::take_from_bytes(rest)
                .map_err(|e| DecodeError::Malformed(e.to_string()))?;
            if left.is_empty() {
                Ok(value)
            } else {
                Err(DecodeError::Malformed("trailing bytes".into()))
            }
        }
        Some((&version, _)) if version > META_VERSION => Err(DecodeError::Newer(version)),
        _ => Err(DecodeError::Malformed("no version".into())),
    }
}
