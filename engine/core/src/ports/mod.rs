//! The ports: dyn traits through which `node`, `disk`, `meta` and `net` meet. Signatures only; each
//! has one contract suite in `engine/sim`, run on the real implementation and on the fake.

mod drive_files;
mod entropy;
mod metadata;
mod shard_bytes;
mod shard_store;

pub use drive_files::{ASIDE, DriveFiles, LogFile};
pub use entropy::{Clock, Entropy};
pub use metadata::{MetaError, Metadata};
pub use shard_bytes::{ShardBuffer, ShardBytes};
pub use shard_store::{
    DriveError, DriveUsage, FooterCheck, SegmentCheck, SegmentUse, ShardEntry, ShardStore,
    SpaceAccount, StoredShard,
};
