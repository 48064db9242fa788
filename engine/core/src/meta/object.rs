//! Versions, parts, stripes, uploads: the rows of a data partition.

use super::control::KeyVersionId;
use engine_types::{
    AccountId, ChargedTo, Checksum, ChecksumAlgorithm, ChecksumType, CopyToken, DataId, DriveId,
    ETag, Order, PackId, PartitionId, Stamp, StorageClass, UploadId, VersionId,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Stripes in one row of a part's stripe map.
pub const STRIPE_CHUNK: u32 = 64;
/// Parts in one row of a manifest.
pub const MANIFEST_CHUNK_ENTRIES: u32 = 256;

/// Whose key wraps the data key, as the client asked and as answers repeat it. Everything is
/// encrypted whatever this says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Encryption {
    /// The account's tenant key; `x-amz-server-side-encryption: AES256` is answered where asked.
    #[default]
    Tenant,
    /// Asked for with `AES256`.
    S3,
    /// A named key of the keyring.
    Kms {
        /// As the client gave it.
        key_id: String,
        /// `x-amz-server-side-encryption-context`, verbatim.
        context: Option<String>,
        /// `x-amz-server-side-encryption-bucket-key-enabled`.
        bucket_key: bool,
    },
    /// The client's key, of which only a salted HMAC is kept.
    Customer {
        /// Salt of the HMAC.
        salt: [u8; 16],
        /// HMAC-SHA256(salt, key).
        hmac: [u8; 32],
        /// MD5 of the key, base64, echoed in answers.
        key_md5: String,
    },
}

/// How a part's data key is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartKey {
    /// Key version that wraps it; none for a customer's key.
    pub version: Option<KeyVersionId>,
    /// Nonce, sealed key and tag (`crate::seal`).
    pub wrapped: ByteBuf,
    /// Digest of the encryption context that the wrapping is bound to. For whoever wraps anew and
    /// does not have the version's row; readers take the context of that row instead.
    pub context: Option<[u8; 32]>,
}

/// Object or delete marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VersionKind {
    /// Has bytes.
    Object,
    /// Hides what lies below.
    DeleteMarker,
}

/// What the writer decides of a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionAttributes {
    /// Object owner (ACL, listings).
    pub owner: AccountId,
    /// Who pays for its bytes.
    pub charged_to: ChargedTo,
    /// Storage class.
    pub class: StorageClass,
    /// System metadata (lower-case header name, value): content-type, cache-control, …
    pub headers: Vec<(String, String)>,
    /// User metadata, names without `x-amz-meta-`.
    pub user: Vec<(String, String)>,
    /// Object tags.
    pub tags: Vec<(String, String)>,
    /// Access control list in the gateway's own encoding; empty: private.
    pub acl: ByteBuf,
    /// Server-side encryption as asked.
    pub encryption: Encryption,
}

/// Where a version's bytes are described.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Body {
    /// A delete marker has none.
    None,
    /// One part.
    Part(DataId),
    /// Many, in `manifests` under the upload that made it.
    Manifest(UploadId),
}

/// One object version or delete marker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionRow {
    /// Its id.
    pub version: VersionId,
    /// Its place in apply order; `order.stamp` is `LastModified`.
    pub order: Order,
    /// Object or marker.
    pub kind: VersionKind,
    /// Plaintext bytes.
    pub size: u64,
    /// Entity tag; of no meaning for a marker.
    pub etag: ETag,
    /// Additional checksum, if one was sent or asked for.
    pub checksum: Option<Checksum>,
    /// The writer's part.
    pub attributes: VersionAttributes,
    /// Where the bytes are.
    pub body: Body,
    /// Bytes counted: plaintext + key + metadata + tags.
    pub counted: u64,
}

/// Where one shard's copy is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// Drive.
    pub drive: DriveId,
    /// Copy.
    pub token: CopyToken,
}

/// One stripe of a part's ciphertext and where its shards are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stripe {
    /// Erasure codec (`crate::erasure`).
    pub codec: u8,
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
    /// Bytes of ciphertext.
    pub length: u32,
    /// k+m slots in shard order; `None`: queued for repair.
    pub slots: Vec<Option<Slot>>,
}

/// Where a part's sealed bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Place {
    /// In `inline`.
    Inline,
    /// In stripes: that many, in rows of [`STRIPE_CHUNK`].
    Stripes(u32),
    /// In a pack (`super::pack`).
    Packed {
        /// The partition that made it and has its stripe map.
        maker: PartitionId,
        /// Which.
        pack: PackId,
        /// First byte of the sealed bytes in the pack.
        offset: u32,
        /// How many.
        length: u32,
    },
}

/// One part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartRow {
    /// Plaintext bytes.
    pub size: u64,
    /// MD5 of the plaintext.
    pub md5: [u8; 16],
    /// Its data key.
    pub key: PartKey,
    /// Its bytes.
    pub place: Place,
}

/// One part of a completed upload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Part number as uploaded, 1-10,000.
    pub number: u16,
    /// Its bytes.
    pub data: DataId,
    /// Plaintext bytes.
    pub size: u64,
    /// Offset of its first byte in the object.
    pub offset: u64,
    /// Its additional checksum, if the upload has one.
    pub checksum: Option<Vec<u8>>,
}

/// An open multipart upload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UploadRow {
    /// What the version will have.
    pub attributes: VersionAttributes,
    /// Who began it.
    pub initiator: AccountId,
    /// The access key id or name that began it, for listings.
    pub initiator_name: String,
    /// When.
    pub initiated: Stamp,
    /// Checksum asked for at creation.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    /// Bytes counted for the upload itself (key, metadata, tags).
    pub counted: u64,
}

/// One uploaded part of an open upload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UploadPartRow {
    /// Its bytes, in `parts`.
    pub data: DataId,
    /// Plaintext bytes.
    pub size: u64,
    /// MD5 of the plaintext.
    pub md5: [u8; 16],
    /// Additional checksum: what the object's is made of.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// The one the client sent, where that is of another algorithm: its Complete may name it again.
    pub declared: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// When it was committed.
    pub modified: Stamp,
    /// Who pays.
    pub charged_to: ChargedTo,
}

/// The version a change of its tags or its list was judged for. Where something else stands there by
/// now the change is refused with `Changed`: it would need another judgement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// Its id.
    pub version: VersionId,
    /// Its place in apply order: `null` names one version after another.
    pub order: Order,
    /// Its list, where the judgement rested on it.
    pub acl: Option<ByteBuf>,
    /// Its tags, where the judgement rested on them.
    pub tags: Option<Vec<(String, String)>>,
}

impl Judged {
    /// Whether `row` is still what was judged.
    pub fn is(&self, row: &VersionRow) -> bool {
        #[cfg(sabotage)]
        if engine_types::sabotage("change-unjudged") {
            return row.version == self.version;
        }
        let attributes = &row.attributes;
        row.version == self.version
            && row.order == self.order
            && self.acl.as_ref().is_none_or(|acl| *acl == attributes.acl)
            && (self.tags.as_ref()).is_none_or(|tags| *tags == attributes.tags)
    }
}
