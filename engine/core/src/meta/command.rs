//! Commands and answers.

use super::{
    BucketDocument, BucketRef, BucketRow, ControlChange, Judged, ManifestEntry, PartKey, Refusal,
    Stripe, VersionAttributes, VersionRow, Versioning,
};
use engine_types::{
    BootId, BucketId, Checksum, ChecksumAlgorithm, ChecksumType, CommandId, DataId, ETag, NodeId,
    ObjectKey, Stamp, UploadId, VersionId,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// One change, proposed once or many times under one id, applied at most once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Its id; its birth is the partition's stamp as the proposer last saw it.
    pub id: CommandId,
    /// What to do.
    pub change: Change,
}

/// Entity tags a condition names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EtagMatch {
    /// `*`
    Any,
    /// Any of these.
    Tags(Vec<ETag>),
}

/// Conditions judged inside apply against the current version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Condition {
    /// The current version must exist and match, else `NoSuchKey` / `PreconditionFailed`.
    pub if_match: Option<EtagMatch>,
    /// The current version must not exist or not match, else `PreconditionFailed`.
    pub if_none_match: Option<EtagMatch>,
    /// The current version is still the one at this place in apply order, else `Changed`. Used by
    /// read-modify-write of the node (metadata-only copy). Not its version id: `null` names one
    /// version after another.
    pub unchanged: Option<engine_types::Order>,
}

/// A new part's bytes, durable already where in stripes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewPart {
    /// Its data id; refused when born before the watermark.
    pub data: DataId,
    /// Plaintext bytes.
    pub size: u64,
    /// MD5 of the plaintext.
    pub md5: [u8; 16],
    /// Data key.
    pub key: PartKey,
    /// Bytes or where they are.
    pub place: NewPlace,
}

/// Where a new part's sealed bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NewPlace {
    /// Here.
    Inline(ByteBuf),
    /// On drives.
    Stripes(Vec<Stripe>),
}

/// PUT, copy, form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PutVersion {
    /// Bucket.
    pub bucket: BucketRef,
    /// Key.
    pub key: ObjectKey,
    /// Conditions.
    pub condition: Condition,
    /// Attributes.
    pub attributes: VersionAttributes,
    /// Entity tag.
    pub etag: ETag,
    /// Additional checksum.
    pub checksum: Option<Checksum>,
    /// Bytes.
    pub part: NewPart,
}

/// DELETE of one key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delete {
    /// Bucket.
    pub bucket: BucketRef,
    /// Key.
    pub key: ObjectKey,
    /// One version for good; none: marker or removal, as versioning says.
    pub version: Option<VersionId>,
    /// Conditions.
    pub condition: Condition,
    /// Owner of a marker.
    pub owner: engine_types::AccountId,
    /// Who pays for a marker.
    pub charged_to: engine_types::ChargedTo,
}

/// `CreateMultipartUpload`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreateUpload {
    /// Bucket.
    pub bucket: BucketRef,
    /// Key.
    pub key: ObjectKey,
    /// Its id.
    pub upload: UploadId,
    /// What the version will have.
    pub attributes: VersionAttributes,
    /// Name for listings.
    pub initiator_name: String,
    /// Who.
    pub initiator: engine_types::AccountId,
    /// Checksum asked for.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// `UploadPart`, `UploadPartCopy`. Replaces an earlier part of the same number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PutPart {
    /// Bucket.
    pub bucket: BucketRef,
    /// Key.
    pub key: ObjectKey,
    /// Upload.
    pub upload: UploadId,
    /// 1-10,000.
    pub number: u16,
    /// Bytes.
    pub part: NewPart,
    /// Additional checksum.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// The one the client sent, where that is of another algorithm.
    pub declared: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// Who pays.
    pub charged_to: engine_types::ChargedTo,
}

/// `CompleteMultipartUpload`. The node has read the parts, checked order, sizes, tags and checksums
/// and computed the sums; apply checks that each part still has the data id named, else `Changed`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompleteUpload {
    /// Bucket.
    pub bucket: BucketRef,
    /// Key.
    pub key: ObjectKey,
    /// Upload.
    pub upload: UploadId,
    /// Conditions.
    pub condition: Condition,
    /// Chosen parts, ascending.
    pub parts: Vec<ManifestEntry>,
    /// Plaintext bytes in all.
    pub size: u64,
    /// MD5 of MD5s with count.
    pub etag: ETag,
    /// Additional checksum.
    pub checksum: Option<Checksum>,
}

/// Everything that can change a partition. Variants are only ever appended (**format**).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// Only the stamp moves.
    Tick,
    /// Control's.
    Control(ControlChange),
    /// At home: makes the bucket. Repeated with the same id: done already.
    CreateBucket(Box<BucketRow>),
    /// At home: checks that no version is left, else `BucketNotEmpty` and it stays open; closes the
    /// bucket to writes; open uploads do not count and die with it. Answers `Done` when the bucket
    /// is gone, `Bucket` while more uploads are to be aborted. Of a bucket that is gone: `Done`.
    DeleteBucket {
        /// Which.
        id: BucketId,
    },
    /// At home: versioning state.
    SetVersioning {
        /// Which.
        id: BucketId,
        /// The configuration the change was judged by; another one answers `StaleBucket`.
        epoch: u64,
        /// To what.
        versioning: Versioning,
    },
    /// At home: one configuration document; `None` removes it.
    SetDocument {
        /// Which.
        id: BucketId,
        /// The configuration the change was judged by; another one answers `StaleBucket`.
        epoch: u64,
        /// Kind.
        kind: BucketDocument,
        /// New content.
        content: Option<ByteBuf>,
    },
    /// A new version.
    PutVersion(Box<PutVersion>),
    /// A deletion.
    Delete(Box<Delete>),
    /// A new upload.
    CreateUpload(Box<CreateUpload>),
    /// A part.
    PutPart(Box<PutPart>),
    /// The end of an upload.
    CompleteUpload(Box<CompleteUpload>),
    /// `AbortMultipartUpload`.
    AbortUpload {
        /// Bucket.
        bucket: BucketRef,
        /// Key.
        key: ObjectKey,
        /// Upload.
        upload: UploadId,
    },
    /// Replaces the tags of a version.
    SetTags {
        /// Bucket.
        bucket: BucketRef,
        /// Key.
        key: ObjectKey,
        /// Version.
        judged: Box<Judged>,
        /// All tags.
        tags: Vec<(String, String)>,
    },
    /// Replaces the ACL of a version.
    SetAcl {
        /// Bucket.
        bucket: BucketRef,
        /// Key.
        key: ObjectKey,
        /// Version.
        judged: Box<Judged>,
        /// The list.
        acl: ByteBuf,
    },
    /// Copy of the current version onto itself: the `null` version replaced by one with new
    /// attributes and the same bytes; `condition.unchanged` names the version read. Where the copy
    /// would be a second version (enabled, or suspended above another id) it answers `NeedsCopy`:
    /// bytes are never shared by two versions.
    Reattribute {
        /// Bucket.
        bucket: BucketRef,
        /// Key.
        key: ObjectKey,
        /// Conditions.
        condition: Condition,
        /// New attributes.
        attributes: Box<VersionAttributes>,
        /// New checksum, if it changed.
        checksum: Option<Checksum>,
    },
    /// Compare-and-set of one stripe's map: repair, rebalance, re-striping.
    MoveStripe {
        /// Owner bucket.
        bucket: BucketId,
        /// Key.
        key: ObjectKey,
        /// Part.
        data: DataId,
        /// Which stripe.
        index: u32,
        /// As it was read; anything else answers `Changed`.
        from: Box<Stripe>,
        /// As it shall be.
        to: Box<Stripe>,
    },
    /// Every drive that held a copy has acknowledged the free durably (or left): the dead row and
    /// what it describes go. Of a dead manifest or upload nothing is on drives: `Freed` takes its
    /// next parts out of it, as dead rows of their own with the same age; repeat until it is gone.
    Freed {
        /// Owner bucket.
        bucket: BucketId,
        /// Key.
        key: ObjectKey,
        /// Dead row's id (data id or upload id bytes).
        dead: [u8; 16],
    },
    /// A boot's report: its oldest open birth (none: nothing open). Keeps it unfenced.
    Report {
        /// Node.
        node: NodeId,
        /// Boot.
        boot: BootId,
        /// Oldest birth among its open writes.
        oldest: Option<Stamp>,
    },
    /// A boot is dead: it no longer holds the watermark, its reports are refused.
    Fence {
        /// Node.
        node: NodeId,
        /// This boot and all before it.
        boot: BootId,
    },
    /// W = min(oldest open birth of unfenced boots, stamp − 60 s), never back.
    AdvanceWatermark,
    /// Compare-and-set of how a part's data key is wrapped: after a key was rotated.
    Rewrap {
        /// Owner bucket.
        bucket: BucketId,
        /// Key.
        key: ObjectKey,
        /// Part.
        data: DataId,
        /// As it was read; anything else answers `Changed`.
        from: Box<PartKey>,
        /// The same data key, wrapped anew.
        to: Box<PartKey>,
    },
    /// Names the members of a durable pack.
    Pack(Box<super::NewPack>),
    /// To a pack's maker: another partition begins (before a key range moves there) or ceases to have
    /// rows that point into the pack. Done already: `Done`. To begin on a pack that is dead or
    /// unknown is refused with `Changed`.
    PackOwner {
        /// Which pack.
        pack: engine_types::PackId,
        /// Who.
        owner: engine_types::PartitionId,
        /// It begins.
        holds: bool,
    },
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Done, nothing to say.
    Done,
    /// Not done; nothing changed.
    Refused(Refusal),
    /// The version written or changed; its headers, user metadata, tags and ACL left out, because
    /// answers are kept for ten minutes and the proposer has them.
    Version(Box<VersionRow>),
    /// A deletion: the version removed or marker made.
    Deleted {
        /// Id of the marker made or of the version removed; none in an unversioned bucket.
        version: Option<VersionId>,
        /// It is (or was) a delete marker.
        marker: bool,
    },
    /// A bucket's row after the change. To `DeleteBucket`: closed, but more uploads are to be
    /// aborted: propose it again under a new id until it answers `Done`.
    Bucket(Box<BucketRow>),
    /// A claimed name.
    Claimed(super::BucketNameRow),
    /// An account.
    Account(super::AccountRow),
    /// An access key.
    AccessKey(super::AccessKeyRow),
    /// An uploaded part.
    Part(super::UploadPartRow),
    /// The watermark now.
    Watermark(Stamp),
    /// To `AllotDrive`: the number.
    Drive(engine_types::DriveId),
    /// To `Pack`.
    Packed {
        /// Members whose rows now point into it.
        packed: u32,
        /// Those left out: they changed since they were read.
        left_out: u32,
    },
}
