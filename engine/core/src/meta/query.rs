//! Linearizable reads and their replies.

use super::{
    BucketRef, BucketRow, ControlQuery, ControlReply, ManifestEntry, PartRow, Refusal, Stripe,
    UploadPartRow, UploadRow, VersionRow,
};
use engine_types::{BootId, BucketId, DataId, NodeId, ObjectKey, Stamp, UploadId, VersionId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A page of a listing. Strings, not [`ObjectKey`]s: prefixes and markers may be anything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListQuery {
    /// Only keys that begin with it.
    pub prefix: String,
    /// Roll up keys that share what lies between prefix and delimiter; empty: none.
    pub delimiter: String,
    /// Strictly after this key. If it ends with the delimiter it is (or may be) a common prefix:
    /// everything below it is skipped.
    pub after: Option<String>,
    /// Most entries + prefixes; 1-1,000.
    pub limit: u32,
}

/// Reads of a data partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Query {
    /// Control's.
    Control(ControlQuery),
    /// A bucket's row.
    Bucket(BucketId),
    /// A version (none: the current one) with the start of its body where `body`. A marker that is
    /// current answers `Marker` to `None`; one asked for by its id answers `Version`.
    Version {
        /// Bucket.
        bucket: BucketRef,
        /// Key.
        key: ObjectKey,
        /// Which.
        version: Option<VersionId>,
        /// Also where its bytes are.
        body: bool,
    },
    /// One part with stripes from `first` on, up to one chunk.
    Part {
        /// Bucket.
        bucket: BucketId,
        /// Key.
        key: ObjectKey,
        /// Part.
        data: DataId,
        /// First stripe wanted.
        first: u32,
    },
    /// Manifest entries from chunk `chunk`.
    Manifest {
        /// Bucket.
        bucket: BucketId,
        /// Key.
        key: ObjectKey,
        /// Upload that made it.
        upload: UploadId,
        /// Which chunk of [`super::MANIFEST_CHUNK_ENTRIES`].
        chunk: u32,
    },
    /// Current versions.
    List(BucketRef, ListQuery),
    /// All versions; `version_after` with `after`: strictly after that version of that key.
    ListVersions {
        /// Bucket.
        bucket: BucketRef,
        /// Page.
        page: ListQuery,
        /// Version marker.
        version_after: Option<VersionId>,
    },
    /// Open uploads; `upload_after` with `after`.
    ListUploads {
        /// Bucket.
        bucket: BucketRef,
        /// Page.
        page: ListQuery,
        /// Upload marker.
        upload_after: Option<UploadId>,
    },
    /// An upload.
    Upload {
        /// Bucket.
        bucket: BucketRef,
        /// Key.
        key: ObjectKey,
        /// Which.
        upload: UploadId,
    },
    /// Parts of an upload with number > `after`, up to `limit`.
    ListParts {
        /// Bucket.
        bucket: BucketRef,
        /// Key.
        key: ObjectKey,
        /// Which.
        upload: UploadId,
        /// After this number.
        after: u16,
        /// Most entries, ≤ 10,000.
        limit: u32,
    },
    /// Dead things older than a stamp, up to `limit`, after a cursor.
    Dead {
        /// Cursor: bucket, key, id.
        after: Option<(BucketId, ObjectKey, [u8; 16])>,
        /// Died before.
        before: Stamp,
        /// Most entries.
        limit: u32,
    },
    /// Is this data id referenced or dead? (Orphan look-up.)
    DataKnown {
        /// Bucket.
        bucket: BucketId,
        /// Key.
        key: ObjectKey,
        /// Part.
        data: DataId,
    },
    /// The partition's stamp and watermark.
    Clock,
    /// Parts in key order with their stripes (scrub, repair): after a cursor. Every stripe map of the
    /// partition, the packs' under [`super::PACKS`]; packed parts themselves come without stripes.
    ScanParts {
        /// Cursor: bucket, key, data.
        after: Option<(BucketId, ObjectKey, DataId)>,
        /// Most parts.
        limit: u32,
    },
    /// Counters by scope: see `engine-tenancy`; encoded keys and values.
    Counters,
    /// Boots that hold the watermark, or were fenced.
    Boots,
    /// About packs.
    Packs(super::PackQuery),
    /// Stripes committed with a slot missing, in key order.
    Repairs {
        /// Cursor: bucket, key, data, stripe.
        after: Option<(BucketId, ObjectKey, DataId, u32)>,
        /// Most stripes.
        limit: u32,
    },
}

/// A part and some of its stripes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartFound {
    /// Its id.
    pub data: DataId,
    /// Its row.
    pub row: PartRow,
    /// Sealed bytes, where inline.
    pub inline: Option<ByteBuf>,
    /// Stripes from the first asked for, up to a chunk's end. Of a packed part: its pack's stripe,
    /// where the pack was made in this partition.
    pub stripes: Vec<Stripe>,
}

/// Where a body begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BodyStart {
    /// One part.
    Part(PartFound),
    /// First chunk of a manifest.
    Manifest(Vec<ManifestEntry>),
}

/// A version found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FoundVersion {
    /// Its row.
    pub row: VersionRow,
    /// It is the current one.
    pub latest: bool,
    /// Where its bytes begin, if asked for.
    pub body: Option<BodyStart>,
}

/// Keys and rolled-up prefixes in one byte order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListPage {
    /// Current versions.
    pub objects: Vec<(ObjectKey, VersionRow)>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// Last key or prefix of the page, where more follow: the next page's `after`.
    pub next: Option<String>,
}

/// One version in a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedVersion {
    /// Key.
    pub key: ObjectKey,
    /// Row.
    pub row: VersionRow,
    /// Is current.
    pub latest: bool,
}

/// A page of versions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VersionsPage {
    /// Key order, newest first within a key.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// Next markers, where more follow.
    pub next: Option<(String, Option<VersionId>)>,
}

/// One open upload in a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedUpload {
    /// Key.
    pub key: ObjectKey,
    /// Id.
    pub upload: UploadId,
    /// Row.
    pub row: UploadRow,
}

/// A page of uploads: key order, then by age.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UploadsPage {
    /// Uploads.
    pub uploads: Vec<ListedUpload>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// Next markers, where more follow.
    pub next: Option<(String, Option<UploadId>)>,
}

/// An upload and a page of its parts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartsPage {
    /// The upload.
    pub upload: UploadRow,
    /// Number and part.
    pub parts: Vec<(u16, UploadPartRow)>,
    /// More follow.
    pub more: bool,
}

/// What a dead row points at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DeadThing {
    /// A part, by its data id.
    Part(DataId),
    /// All parts of a completed upload's manifest, or of an aborted upload. Nothing to free by
    /// itself: `Change::Freed` turns it, a bounded number at a time, into dead parts.
    Manifest(UploadId),
    /// A copy replaced by `MoveStripe`: its slot.
    Copy(super::Slot),
}

impl DeadThing {
    /// What `Change::Freed` and the cursor of `Query::Dead` call it.
    pub fn id(&self) -> [u8; 16] {
        match self {
            Self::Part(data) => data.0,
            Self::Manifest(upload) => upload.0,
            Self::Copy(slot) => slot.token.0,
        }
    }
}

/// Something replaced or deleted, whose bytes are still on drives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadRow {
    /// What.
    pub thing: DeadThing,
    /// Since when.
    pub since: Stamp,
    /// Applied at this index: readers pinned below it may still read.
    pub index: u64,
}

/// A node's newest boot as the partition knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BootRow {
    /// Which start.
    pub boot: BootId,
    /// This boot is fenced: its reports are refused and it holds nothing.
    pub fenced: bool,
    /// Stamp of its last report.
    pub reported: Stamp,
    /// It promised then: no open birth, and none to come, is older than this.
    pub holds: Stamp,
}

/// Answers to [`Query`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Control`.
    Control(ControlReply),
    /// Not there, stale and so on.
    Refused(Refusal),
    /// The current version is a delete marker (its id).
    Marker(VersionId, Stamp),
    /// To `Bucket`.
    Bucket(Option<Box<BucketRow>>),
    /// To `Version`.
    Version(Box<FoundVersion>),
    /// To `Part`; none: freed.
    Part(Option<Box<PartFound>>),
    /// To `Manifest`.
    Manifest(Vec<ManifestEntry>),
    /// To `List`.
    List(ListPage),
    /// To `ListVersions`.
    Versions(VersionsPage),
    /// To `ListUploads`.
    Uploads(UploadsPage),
    /// To `Upload`.
    Upload(Box<UploadRow>),
    /// To `ListParts`.
    Parts(Box<PartsPage>),
    /// To `Dead`: bucket, key, row.
    Dead(Vec<(BucketId, ObjectKey, DeadRow)>),
    /// To `DataKnown`.
    Known(bool),
    /// To `Clock`.
    Clock {
        /// Stamp of the last applied entry.
        stamp: Stamp,
        /// Watermark.
        watermark: Stamp,
        /// Last applied index.
        applied: u64,
    },
    /// To `ScanParts`.
    ScannedParts(Vec<(BucketId, ObjectKey, PartFound)>),
    /// To `Counters`.
    Counters(Vec<(Vec<u8>, Vec<u8>)>),
    /// To `Boots`.
    Boots(Vec<(NodeId, BootRow)>),
    /// To `Packs`.
    Packs(super::PackReply),
    /// To `Repairs`.
    Repairs(Vec<(BucketId, ObjectKey, DataId, u32)>),
}
