//! What calls of the [`crate::Engine`] take and give. The calls stand in a file for each verb.

use crate::ByteStream;
use crate::pins::Pin;
use crate::rejudge::Rejudge;
use engine_core::meta::{
    AccessKeyRow, AccountRow, BucketDocument, BucketRef, BucketRow, Condition, FoundVersion,
    Refusal, VersionAttributes,
};
use engine_types::{
    AccountId, BucketName, ChargedTo, ChecksumAlgorithm, ChecksumType, ETag, ObjectKey, UploadId,
    VersionId,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Largest single PUT or part, bytes (S3: 5 GiB).
pub const PART_BYTES_MAX: u64 = engine_core::stripes::PART_BYTES_MAX;
/// Smallest part that is not the last, bytes (S3: 5 MiB).
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Most parts of an upload (S3: 10,000).
pub const PARTS_MAX: u16 = 10_000;

/// A signer: key, secret, account.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The key's row.
    pub key: AccessKeyRow,
    /// Its account.
    pub account: AccountRow,
    /// Its secret.
    pub secret: Secret,
}

/// A secret that prints as nothing and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(pub Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A bucket as looked up: its row and the reference requests carry.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Row at its home.
    pub row: Arc<BucketRow>,
    /// As of that row.
    pub reference: BucketRef,
}

/// What `CreateBucket` makes.
#[derive(Clone, Debug)]
pub struct NewBucket {
    /// Name.
    pub name: BucketName,
    /// Owner.
    pub owner: AccountId,
    /// Documents from the first moment (ACL, ownership, region …).
    pub documents: Vec<(BucketDocument, Vec<u8>)>,
}

/// Digests of a body, as computed while it was stored.
#[derive(Clone, Debug, Default)]
pub struct BodyDigests {
    /// MD5 of the plaintext.
    pub md5: [u8; 16],
    /// The asked algorithms' values, in the order asked.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
    /// Plaintext bytes.
    pub length: u64,
}

/// Judges a body once it is whole and before anything is committed: Content-MD5, header and
/// trailer checksums. Its error comes back in [`Body`](crate::EngineError::Body).
pub type Verify = Box<dyn FnOnce(&BodyDigests) -> Result<(), crate::BodyError> + Send>;

/// An SSE-C key of a request.
#[derive(Clone)]
pub struct CustomerKey(pub Zeroizing<[u8; 32]>);

impl std::fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerKey")
    }
}

/// A body to store.
pub struct PutBody {
    /// The bytes.
    pub stream: ByteStream,
    /// How many are announced; more or fewer is [`Length`](crate::EngineError::Length).
    pub length: u64,
    /// Checksums to compute beside MD5.
    pub algorithms: Vec<ChecksumAlgorithm>,
    /// Verdict before the commit.
    pub verify: Verify,
    /// Wraps the data key instead of the account's, for SSE-C.
    pub customer_key: Option<CustomerKey>,
}

impl std::fmt::Debug for PutBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutBody")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// PUT of an object (also copy and form). `attributes.encryption` says whose key wraps (`Customer`:
/// `body.customer_key` must be set; salt and HMAC are filled in by the engine, `key_md5` by the caller).
#[derive(Debug)]
pub struct PutRequest<'a> {
    /// Bucket as looked up.
    pub bucket: Bucket,
    /// Key.
    pub key: ObjectKey,
    /// Conditions, judged in the commit.
    pub condition: Condition,
    /// Attributes.
    pub attributes: VersionAttributes,
    /// The algorithm whose value is stored with the version (one of `body.algorithms`), if any.
    pub stored_checksum: Option<ChecksumAlgorithm>,
    /// Bytes.
    pub body: PutBody,
    /// Where the bucket's configuration moves meanwhile: attributes anew. Their `encryption` does not
    /// count: the bytes are sealed by then.
    pub rejudge: Rejudge<'a, VersionAttributes>,
}

/// `UploadPart`, `UploadPartCopy`.
#[derive(Debug)]
pub struct PartRequest<'a> {
    /// Bucket as looked up.
    pub bucket: Bucket,
    /// Key.
    pub key: ObjectKey,
    /// Upload.
    pub upload: UploadId,
    /// 1-10,000.
    pub number: u16,
    /// Who pays.
    pub charged_to: ChargedTo,
    /// The algorithm whose value is stored with the part.
    pub stored_checksum: Option<ChecksumAlgorithm>,
    /// The algorithm of the checksum the client sent, where it is another: kept for its Complete.
    pub declared_checksum: Option<ChecksumAlgorithm>,
    /// Bytes.
    pub body: PutBody,
    /// Where the bucket's configuration moves meanwhile.
    pub rejudge: Rejudge<'a, ()>,
}

/// The checksum of an upload that named none, as AWS has it.
pub const DEFAULT_CHECKSUM: (ChecksumAlgorithm, ChecksumType) =
    (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject);

/// A part as Complete names it: number, tag, checksum.
pub type NamedPart = (u16, Option<ETag>, Option<(ChecksumAlgorithm, Vec<u8>)>);

/// What Complete says of the object's checksum: each must be as the upload has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChecksumSaid {
    /// `x-amz-checksum-algorithm`.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// `x-amz-checksum-type`.
    pub kind: Option<ChecksumType>,
    /// The value, of this algorithm.
    pub value: Option<(ChecksumAlgorithm, Vec<u8>)>,
}

/// `CompleteMultipartUpload` as the client sent it.
#[derive(Debug)]
pub struct CompleteRequest {
    /// Bucket as looked up.
    pub bucket: Bucket,
    /// Key.
    pub key: ObjectKey,
    /// Upload.
    pub upload: UploadId,
    /// Conditions.
    pub condition: Condition,
    /// Number, tag, checksum of each part as listed by the client.
    pub parts: Vec<NamedPart>,
    /// What is said of the object's checksum.
    pub checksum: ChecksumSaid,
    /// The customer's key, if it was sent: must be the upload's. Must be sent where the upload has a
    /// customer's key and named a checksum, as AWS has it.
    pub customer_key: Option<CustomerKey>,
    /// `x-amz-mp-object-size`.
    pub size: Option<u64>,
}

/// A version found, and a pin that keeps its bytes while it is held.
#[derive(Debug)]
pub struct Found {
    /// What was found.
    pub found: FoundVersion,
    /// Of this bucket.
    pub bucket: Bucket,
    /// Key.
    pub key: ObjectKey,
    /// Keeps dead data readable.
    pub pin: Pin,
}

/// What of a version the judgement of a change rested on, beside which version it is: where that has
/// changed by the commit, the change is refused with [`Refusal::Changed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RestsOn {
    /// Its list.
    pub acl: bool,
    /// Its tags.
    pub tags: bool,
}

/// Why a lookup found nothing.
#[derive(Debug)]
pub enum Lookup {
    /// There it is.
    Found(Box<Found>),
    /// A delete marker stands there: its id (404 with `x-amz-delete-marker` for the current version,
    /// 405 for a named one), and its `LastModified` in Unix ms.
    Marker(VersionId, u64),
    /// Nothing.
    Missing(Refusal),
}
