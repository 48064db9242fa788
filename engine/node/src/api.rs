//! The engine as the gateway sees it. One [`Engine`] a process; cheap to clone.
//!
//! A call carries what it needs; nothing is read from globals. Reads and lists see every write
//! acknowledged before they began. Dropping a future of a write leaves no visible change, or the
//! whole one where the commit was already under way.

use crate::{ByteStream, EngineError};
use engine_core::meta::{
    AccessKeyRow, AccessKeyState, AccountRow, Answer, BucketDocument, BucketNameRow, BucketRef, BucketRow,
    Condition, ControlReply, FoundVersion, KmsKeyRow, ListPage, ListQuery, PartsPage, Refusal, UploadPartRow,
    UploadRow, UploadsPage, VersionAttributes, VersionRow, VersionsPage, Versioning,
};
use engine_types::{
    AccountId, BucketName, ChargedTo, Checksum, ChecksumAlgorithm, ChecksumType, ETag, ObjectKey, UploadId,
    VersionId,
};
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Largest single PUT or part, bytes (S3: 5 GiB).
pub const PART_BYTES_MAX: u64 = 5 << 30;
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

/// What CreateBucket makes.
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
/// trailer checksums. Its error comes back in [`EngineError::Body`].
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
    /// How many are announced; more or fewer is [`EngineError::Length`].
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
        f.debug_struct("PutBody").field("length", &self.length).finish_non_exhaustive()
    }
}

/// PUT of an object (also copy and form). `attributes.encryption` says whose key wraps (`Customer`:
/// `body.customer_key` must be set; salt and HMAC are filled in by the engine, `key_md5` by the caller).
#[derive(Debug)]
pub struct PutRequest {
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
}

/// UploadPart, UploadPartCopy.
#[derive(Debug)]
pub struct PartRequest {
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
    /// Bytes.
    pub body: PutBody,
}

/// CompleteMultipartUpload as the client sent it.
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
    pub parts: Vec<(u16, Option<ETag>, Option<(ChecksumAlgorithm, Vec<u8>)>)>,
    /// Whole-object checksum sent along.
    pub checksum: Option<(ChecksumAlgorithm, Option<ChecksumType>, Vec<u8>)>,
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

/// Why a lookup found nothing.
#[derive(Debug)]
pub enum Lookup {
    /// There it is.
    Found(Box<Found>),
    /// A delete marker stands there: its id (404 with `x-amz-delete-marker` for the current version,
    /// 405 for a named one), and its LastModified in Unix ms.
    Marker(VersionId, u64),
    /// Nothing.
    Missing(Refusal),
}

/// Holds (partition, applied index) while it lives: `dead` data younger than it stays.
#[derive(Debug)]
pub struct Pin {
    _held: Option<Arc<()>>,
}

/// The engine of this process.
#[derive(Clone, Debug)]
pub struct Engine {
    _inner: Arc<()>,
}

macro_rules! pending {
    ($($arg:ident),*) => {{ $(let _ = $arg;)* Err(EngineError::Internal("not built yet".into())) }};
}

impl Engine {
    /// An access key with its secret opened; `None`: unknown. Disabled keys are returned (the
    /// caller answers as AWS does). Cached; a change takes effect within 2 s.
    pub async fn credential(&self, access_key: &str) -> Result<Option<Arc<Credential>>, EngineError> {
        pending!(access_key)
    }
    /// An account by number.
    pub async fn account(&self, id: AccountId) -> Result<Option<AccountRow>, EngineError> {
        pending!(id)
    }
    /// An account by canonical id.
    pub async fn account_by_canonical_id(&self, id: &str) -> Result<Option<AccountRow>, EngineError> {
        pending!(id)
    }
    /// An account by e-mail.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<AccountRow>, EngineError> {
        pending!(email)
    }
    /// A named key.
    pub async fn kms_key(&self, name: &str) -> Result<Option<KmsKeyRow>, EngineError> {
        pending!(name)
    }
    /// A live bucket by name; `Refused(NoSuchBucket)` otherwise. Cached by epoch: callers that get
    /// `Refused(StaleBucket)` from any call below look it up again with [`Engine::refresh_bucket`].
    pub async fn bucket(&self, name: &str) -> Result<Bucket, EngineError> {
        pending!(name)
    }
    /// Looks a bucket up past the cache.
    pub async fn refresh_bucket(&self, name: &str) -> Result<Bucket, EngineError> {
        pending!(name)
    }
    /// Claims the name, makes the bucket at its home, marks it live. `Refused(BucketExists)` where
    /// the name is taken.
    pub async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, EngineError> {
        pending!(new)
    }
    /// Deletes an empty bucket; its open uploads die with it.
    pub async fn delete_bucket(&self, bucket: &Bucket) -> Result<(), EngineError> {
        pending!(bucket)
    }
    /// Live buckets of an account by name; `true`: more follow.
    pub async fn list_buckets(
        &self,
        owner: AccountId,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<(BucketName, BucketNameRow)>, bool), EngineError> {
        pending!(owner, prefix, after, limit)
    }
    /// Sets the versioning state.
    pub async fn set_versioning(&self, bucket: &Bucket, to: Versioning) -> Result<(), EngineError> {
        pending!(bucket, to)
    }
    /// Sets or removes one configuration document.
    pub async fn set_document(
        &self,
        bucket: &Bucket,
        kind: BucketDocument,
        content: Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        pending!(bucket, kind, content)
    }
    /// Stores an object; the version committed. 200 may be answered once it returns.
    pub async fn put(&self, request: PutRequest) -> Result<VersionRow, EngineError> {
        pending!(request)
    }
    /// Finds a version (none: the current one). `body`: also where its bytes are, for [`Engine::read`].
    pub async fn find(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        body: bool,
    ) -> Result<Lookup, EngineError> {
        pending!(bucket, key, version, body)
    }
    /// Streams `range` (within the size) of a version found with its body. The key is checked before
    /// the stream is returned; an error inside the stream means the connection must be cut.
    pub async fn read(
        &self,
        found: Found,
        range: Range<u64>,
        customer_key: Option<CustomerKey>,
    ) -> Result<ByteStream, EngineError> {
        pending!(found, range, customer_key)
    }
    /// Is `key` the key this SSE-C object or upload was written with?
    pub fn customer_key_fits(encryption: &engine_core::meta::Encryption, key: Option<&CustomerKey>) -> bool {
        let _ = (encryption, key);
        false
    }
    /// Byte range and count of part `number` of a version (`?partNumber`): of a plain object part 1
    /// is the whole of it. `None`: no such part. Also the parts in all.
    pub async fn part_range(&self, found: &Found, number: u16) -> Result<Option<(Range<u64>, u16)>, EngineError> {
        pending!(found, number)
    }
    /// Manifest entries with part number > `after` (GetObjectAttributes); `true`: more follow.
    pub async fn object_parts(
        &self,
        found: &Found,
        after: u16,
        limit: u32,
    ) -> Result<(Vec<engine_core::meta::ManifestEntry>, bool), EngineError> {
        pending!(found, after, limit)
    }
    /// Deletes: a marker, the object, or one version. [`Answer::Deleted`]'s fields.
    pub async fn delete(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        condition: Condition,
        by: (AccountId, ChargedTo),
    ) -> Result<(Option<VersionId>, bool), EngineError> {
        pending!(bucket, key, version, condition, by)
    }
    /// New attributes for the current version, same bytes, where the bucket's versioning allows it
    /// (`None`: it does not; copy the bytes).
    pub async fn reattribute(
        &self,
        found: &Found,
        condition: Condition,
        attributes: VersionAttributes,
        checksum: Option<Checksum>,
    ) -> Result<Option<VersionRow>, EngineError> {
        pending!(found, condition, attributes, checksum)
    }
    /// Replaces all tags of a version.
    pub async fn set_tags(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Vec<(String, String)>,
    ) -> Result<VersionRow, EngineError> {
        pending!(bucket, key, version, tags)
    }
    /// Replaces the ACL of a version.
    pub async fn set_acl(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        acl: Vec<u8>,
    ) -> Result<VersionRow, EngineError> {
        pending!(bucket, key, version, acl)
    }
    /// Current versions.
    pub async fn list(&self, bucket: &Bucket, page: ListQuery) -> Result<ListPage, EngineError> {
        pending!(bucket, page)
    }
    /// All versions.
    pub async fn list_versions(
        &self,
        bucket: &Bucket,
        page: ListQuery,
        version_after: Option<VersionId>,
    ) -> Result<VersionsPage, EngineError> {
        pending!(bucket, page, version_after)
    }
    /// Begins an upload. For SSE-C `customer_key` fills salt and HMAC.
    pub async fn create_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        attributes: VersionAttributes,
        initiator: (AccountId, String),
        checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
        customer_key: Option<CustomerKey>,
    ) -> Result<UploadId, EngineError> {
        pending!(bucket, key, attributes, initiator, checksum, customer_key)
    }
    /// An open upload.
    pub async fn upload(&self, bucket: &Bucket, key: &ObjectKey, upload: UploadId) -> Result<UploadRow, EngineError> {
        pending!(bucket, key, upload)
    }
    /// Stores a part; encryption follows the upload.
    pub async fn put_part(&self, request: PartRequest) -> Result<UploadPartRow, EngineError> {
        pending!(request)
    }
    /// Parts of an upload.
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        after: u16,
        limit: u32,
    ) -> Result<PartsPage, EngineError> {
        pending!(bucket, key, upload, after, limit)
    }
    /// Open uploads.
    pub async fn list_uploads(
        &self,
        bucket: &Bucket,
        page: ListQuery,
        upload_after: Option<UploadId>,
    ) -> Result<UploadsPage, EngineError> {
        pending!(bucket, page, upload_after)
    }
    /// Ends an upload; the version committed. Repeated after success: the same version.
    pub async fn complete(&self, request: CompleteRequest) -> Result<VersionRow, EngineError> {
        pending!(request)
    }
    /// Aborts an upload.
    pub async fn abort(&self, bucket: &Bucket, key: &ObjectKey, upload: UploadId) -> Result<(), EngineError> {
        pending!(bucket, key, upload)
    }
    /// Makes or updates an account (from configuration).
    pub async fn put_account(&self, canonical_id: &str, name: &str, email: &str) -> Result<AccountRow, EngineError> {
        pending!(canonical_id, name, email)
    }
    /// Makes an access key, or updates its secret.
    pub async fn put_access_key(
        &self,
        account: AccountId,
        access_key: &str,
        secret: &Secret,
        description: &str,
    ) -> Result<AccessKeyRow, EngineError> {
        pending!(account, access_key, secret, description)
    }
    /// Enables, disables or (none) deletes an access key.
    pub async fn set_access_key(&self, access_key: &str, state: Option<AccessKeyState>) -> Result<(), EngineError> {
        pending!(access_key, state)
    }
    /// All access keys.
    pub async fn access_keys(&self) -> Result<Vec<AccessKeyRow>, EngineError> {
        pending!()
    }
    /// Makes a named key if there is none of that name.
    pub async fn create_kms_key(&self, name: &str) -> Result<KmsKeyRow, EngineError> {
        pending!(name)
    }
}

const _: fn(Answer, ControlReply) = |_, _| ();
