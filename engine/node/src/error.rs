//! What callers of the engine can get wrong or have to wait for: few kinds, by what to do.

use bytes::Bytes;
use engine_core::meta::Refusal;
use engine_core::ports::MetaError;
use engine_types::{ChecksumAlgorithm, ChecksumType};
use futures::stream::BoxStream;

/// A request body, pulled as it is stored; not longer than announced.
pub type ByteStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a body ended early or must not be stored: the caller's own error, handed back unchanged in
/// [`EngineError::Body`] (downcast it).
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Errors of the engine. Nothing is stored when one is returned, except as said.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The metadata refused: no such key, precondition and so on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The body's own error, or the verdict of [`verify`](crate::PutBody::verify).
    #[error("body: {0}")]
    Body(BodyError),
    /// Fewer or more bytes than announced.
    #[error("body ended at {got} of {announced} bytes")]
    Length {
        /// As announced.
        announced: u64,
        /// As come.
        got: u64,
    },
    /// More than one PUT or part may hold.
    #[error("object too large")]
    TooLarge,
    /// A part named in Complete is not there or has another tag or checksum.
    #[error("part {0} not found or changed")]
    InvalidPart(u16),
    /// Parts not in ascending order.
    #[error("parts out of order")]
    InvalidPartOrder,
    /// A part other than the last is below 5 MiB.
    #[error("part {0} is too small")]
    PartTooSmall(u16),
    /// Complete must name this part's checksum: the object's is composed of those.
    #[error("the checksum of part {0} is not named")]
    ChecksumMissing(u16, ChecksumAlgorithm),
    /// Complete speaks of another checksum than the upload has.
    #[error("the upload's checksum is {0:?}, {1:?}")]
    ChecksumOfAnother(ChecksumAlgorithm, ChecksumType),
    /// The object's checksum, as sent with Complete, is not that of its parts.
    #[error("checksum does not match")]
    ChecksumMismatch,
    /// The size sent with Complete (`x-amz-mp-object-size`) is not that of the parts.
    #[error("size does not match")]
    SizeMismatch,
    /// SSE-C: no key or another key was sent.
    #[error("customer key missing or wrong")]
    CustomerKey,
    /// No such named key, or it is disabled or destroyed.
    #[error("key {0} is not available")]
    KeyUnavailable(String),
    /// Too few drives, no majority: 503 with the reason; try again later.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The body came so slowly that others were given its room in memory. Try again.
    #[error("the body came too slowly")]
    TooSlow,
    /// Too much at once: slow down.
    #[error("overloaded")]
    SlowDown,
    /// No room: deletes still work.
    #[error("storage is full")]
    Full,
    /// More shards are damaged or lost than the code can bear.
    #[error("data lost: {0}")]
    DataLost(String),
    /// A bug or damage: a human must look.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<MetaError> for EngineError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Unavailable(why) | MetaError::NoMajority(why) => Self::Unavailable(why),
            MetaError::Overloaded => Self::SlowDown,
            MetaError::Closed => Self::Unavailable("shutting down".into()),
            MetaError::Damaged(what) => Self::Internal(what),
        }
    }
}

impl EngineError {
    /// An answer of another kind than was asked for: a bug of one side.
    pub(crate) fn unexpected(what: &str) -> Self {
        Self::Internal(format!("unexpected answer to {what}"))
    }
}
