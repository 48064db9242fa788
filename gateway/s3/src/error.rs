//! An engine's refusal → an S3 code: the one place.
#![deny(clippy::wildcard_enum_match_arm)]

use crate::body::{BodyBroken, BodyTimeout};
use crate::checksum;
use crate::chunked::FramingError;
use engine_core::meta::Refusal;
use engine_node::{BodyError, EngineError};
use engine_types::{ChecksumAlgorithm, ChecksumType};
use http::StatusCode;
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{BodySizeLimitExceeded, S3Error, S3ErrorCode, s3_error};

/// A code s3s does not know, with its status.
pub(crate) fn custom(
    code: &'static str,
    status: StatusCode,
    message: impl Into<String>,
) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.into());
    error.set_status_code(status);
    error
}

/// Any error of the engine.
pub(crate) fn from_engine(error: EngineError) -> S3Error {
    match error {
        EngineError::Refused(refusal) => from_refusal(refusal),
        EngineError::Body(error) => from_body(error),
        EngineError::Length { announced, got } => s3_error!(
            IncompleteBody,
            "The request body ended at {got} of {announced} bytes"
        ),
        EngineError::TooLarge => s3_error!(
            EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed object size."
        ),
        EngineError::InvalidPart(number) => s3_error!(
            InvalidPart,
            "Part {number} could not be found. It may not have been uploaded, or its entity tag or \
             checksum does not match."
        ),
        EngineError::InvalidPartOrder => s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ),
        EngineError::PartTooSmall(number) => s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size (part {number})"
        ),
        EngineError::ChecksumMissing(number, algorithm) => checksum_missing(number, algorithm),
        EngineError::ChecksumOfAnother(algorithm, kind) => checksum_of_another(algorithm, kind),
        EngineError::ChecksumMismatch => s3_error!(
            BadDigest,
            "The checksum you specified did not match the calculated checksum."
        ),
        EngineError::SizeMismatch => s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match what was computed"
        ),
        EngineError::CustomerKey => s3_error!(
            InvalidRequest,
            "The object was stored using a form of Server Side Encryption. The correct parameters \
             must be provided to retrieve the object."
        ),
        EngineError::KeyUnavailable(key) => custom(
            "KMS.NotFoundException",
            StatusCode::BAD_REQUEST,
            format!("Key '{key}' does not exist or is not available"),
        ),
        EngineError::Unavailable(reason) => {
            S3Error::with_message(S3ErrorCode::ServiceUnavailable, reason)
        }
        EngineError::TooSlow => s3_error!(
            RequestTimeout,
            "Your request body came too slowly while others waited. Try again."
        ),
        EngineError::SlowDown => s3_error!(SlowDown, "Please reduce your request rate."),
        EngineError::Full => custom(
            "InsufficientStorage",
            StatusCode::INSUFFICIENT_STORAGE,
            "The storage is full. Deletes still work.",
        ),
        EngineError::DataLost(what) => {
            tracing::error!(what, "data lost");
            s3_error!(InternalError, "The object's data is damaged beyond repair.")
        }
        EngineError::Internal(what) => {
            tracing::error!(what, "internal error");
            s3_error!(
                InternalError,
                "We encountered an internal error. Please try again."
            )
        }
    }
}

fn checksum_missing(part: u16, algorithm: ChecksumAlgorithm) -> S3Error {
    s3_error!(
        InvalidRequest,
        "The upload was created using a {} checksum. The complete request must include the checksum \
         for each part. It was missing for part {part} in the request.",
        checksum::name(algorithm).to_ascii_lowercase()
    )
}

fn checksum_of_another(algorithm: ChecksumAlgorithm, kind: ChecksumType) -> S3Error {
    s3_error!(
        InvalidRequest,
        "The upload was created using the {} checksum mode of {}. The complete request must use the \
         same.",
        checksum::kind(kind).as_str(),
        checksum::name(algorithm)
    )
}

/// A refusal of the metadata.
fn from_refusal(refusal: Refusal) -> S3Error {
    match refusal {
        Refusal::StaleBucket | Refusal::BucketBusy | Refusal::Changed => s3_error!(
            OperationAborted,
            "A conflicting conditional operation is currently in progress against this resource. \
             Try again."
        ),
        Refusal::NoSuchBucket => s3_error!(NoSuchBucket, "The specified bucket does not exist"),
        Refusal::BucketNotEmpty => {
            s3_error!(
                BucketNotEmpty,
                "The bucket you tried to delete is not empty"
            )
        }
        Refusal::BucketExists { owned: true } => s3_error!(
            BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it."
        ),
        Refusal::BucketExists { owned: false } => s3_error!(
            BucketAlreadyExists,
            "The requested bucket name is not available. The bucket namespace is shared by all \
             users of the system. Please select a different name and try again."
        ),
        Refusal::NoSuchKey => s3_error!(NoSuchKey, "The specified key does not exist."),
        Refusal::NoSuchVersion => s3_error!(NoSuchVersion, "The specified version does not exist."),
        Refusal::NoSuchUpload => s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may \
             have been aborted or completed."
        ),
        Refusal::PreconditionFailed => s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        ),
        // The gateway was too slow or thought dead; the client's retry begins anew.
        Refusal::TooOld | Refusal::Fenced => s3_error!(ServiceUnavailable, "Please try again."),
        Refusal::NoSuchAccount | Refusal::NoSuchAccessKey => s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ),
        Refusal::AccessKeyExists
        | Refusal::OtherCluster
        | Refusal::WrongPartition
        | Refusal::NeedsCopy
        | Refusal::EmailTaken
        | Refusal::Layout(_) => {
            tracing::error!(%refusal, "refusal that S3 cannot cause");
            s3_error!(
                InternalError,
                "We encountered an internal error. Please try again."
            )
        }
    }
}

/// Why a request body ended early: our own verdict unchanged, or what s3s or the socket said.
pub(crate) fn from_body(error: BodyError) -> S3Error {
    let error = match error.downcast::<S3Error>() {
        Ok(verdict) => return *verdict,
        Err(error) => error,
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if let Some(answer) = known_body_error(error) {
            return answer;
        }
        cause = error.source();
    }
    tracing::debug!(%error, "body ended early");
    incomplete()
}

fn known_body_error(error: &(dyn std::error::Error + 'static)) -> Option<S3Error> {
    if error.is::<BodyTimeout>() {
        return Some(s3_error!(
            RequestTimeout,
            "Your socket connection to the server was not read from or written to within the \
             timeout period. Idle connections will be closed."
        ));
    }
    if error.is::<BodyBroken>() {
        return Some(incomplete());
    }
    if let Some(error) = error.downcast_ref::<FramingError>() {
        return Some(from_framing(*error));
    }
    if error.is::<BodySizeLimitExceeded>() {
        return Some(from_engine(EngineError::TooLarge));
    }
    if let Some(error) = error.downcast_ref::<UploadStreamError>() {
        return match error {
            UploadStreamError::Sha256Mismatch => Some(sha256_mismatch()),
            UploadStreamError::LengthMismatch | UploadStreamError::Incomplete => Some(incomplete()),
            UploadStreamError::Underlying(_) => None,
        };
    }
    match error.downcast_ref::<AwsChunkedStreamError>()? {
        AwsChunkedStreamError::SignatureMismatch => Some(s3_error!(
            SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided. Check \
             your key and signing method."
        )),
        AwsChunkedStreamError::ChunkMetaTooLarge(..)
        | AwsChunkedStreamError::ChunkDataTooLarge(..) => Some(custom(
            "InvalidChunkSizeError",
            StatusCode::BAD_REQUEST,
            "Only chunks of at most 8 MiB are taken",
        )),
        AwsChunkedStreamError::TrailersTooLarge(..)
        | AwsChunkedStreamError::TooManyTrailerHeaders(..) => Some(malformed_trailer()),
        AwsChunkedStreamError::FormatError
        | AwsChunkedStreamError::Incomplete
        | AwsChunkedStreamError::LengthMismatch => Some(incomplete()),
        AwsChunkedStreamError::Underlying(_) => None,
    }
}

fn from_framing(error: FramingError) -> S3Error {
    match error {
        FramingError::Incomplete | FramingError::Malformed => incomplete(),
        FramingError::SmallChunk => custom(
            "InvalidChunkSizeError",
            StatusCode::BAD_REQUEST,
            "Only the last chunk is allowed to have a size less than 8192 bytes",
        ),
        FramingError::Trailer => malformed_trailer(),
    }
}

/// A document that says nothing of what it should.
pub(crate) fn malformed_xml() -> S3Error {
    s3_error!(
        MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema"
    )
}

/// `IncompleteBody`.
pub(crate) fn incomplete() -> S3Error {
    s3_error!(
        IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header"
    )
}

/// A document longer than any may be.
pub(crate) fn message_too_long() -> S3Error {
    custom(
        "MaxMessageLengthExceeded",
        StatusCode::BAD_REQUEST,
        "Your request was too big.",
    )
}

/// The body is not the one that was signed.
pub(crate) fn sha256_mismatch() -> S3Error {
    custom(
        "XAmzContentSHA256Mismatch",
        StatusCode::BAD_REQUEST,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
}

/// An announced trailer is missing or unreadable.
pub(crate) fn malformed_trailer() -> S3Error {
    custom(
        "MalformedTrailerError",
        StatusCode::BAD_REQUEST,
        "The request contained trailing data that was not well-formed or did not conform to our \
         published schema.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses() {
        for (error, code, status) in [
            (EngineError::Refused(Refusal::NoSuchKey), "NoSuchKey", 404),
            (
                EngineError::Refused(Refusal::StaleBucket),
                "OperationAborted",
                409,
            ),
            (
                EngineError::Refused(Refusal::BucketExists { owned: true }),
                "BucketAlreadyOwnedByYou",
                409,
            ),
            (
                EngineError::Refused(Refusal::PreconditionFailed),
                "PreconditionFailed",
                412,
            ),
            (
                EngineError::Refused(Refusal::TooOld),
                "ServiceUnavailable",
                503,
            ),
            (
                EngineError::Unavailable("two drives".into()),
                "ServiceUnavailable",
                503,
            ),
            (EngineError::TooSlow, "RequestTimeout", 400),
            (EngineError::SlowDown, "SlowDown", 503),
            (EngineError::Full, "InsufficientStorage", 507),
            (EngineError::TooLarge, "EntityTooLarge", 400),
            (EngineError::PartTooSmall(2), "EntityTooSmall", 400),
            (
                EngineError::Length {
                    announced: 2,
                    got: 1,
                },
                "IncompleteBody",
                400,
            ),
            (
                EngineError::KeyUnavailable("k".into()),
                "KMS.NotFoundException",
                400,
            ),
            (EngineError::Internal("x".into()), "InternalError", 500),
            (EngineError::DataLost("x".into()), "InternalError", 500),
        ] {
            let answer = from_engine(error);
            assert_eq!(answer.code().as_str(), code);
            assert_eq!(
                answer.status_code().map(|s| s.as_u16()),
                Some(status),
                "{code}"
            );
        }
    }

    /// The documents quote it: `docs/S3.md` and `docs/OPERATIONS.md`.
    #[test]
    fn lost_data_is_told_in_the_words_of_the_documents() {
        let answer = from_engine(EngineError::DataLost("stripe 0".into()));
        let message = answer.message().expect("a message");
        for document in [
            include_str!("../../../docs/S3.md"),
            include_str!("../../../docs/OPERATIONS.md"),
        ] {
            assert!(
                document.contains(message.trim_end_matches('.')),
                "{message}"
            );
        }
    }

    #[test]
    fn body_errors_keep_their_meaning_however_deep() {
        let deep: BodyError = Box::new(UploadStreamError::Underlying(Box::new(BodyTimeout)));
        let chunk: BodyError = Box::new(AwsChunkedStreamError::SignatureMismatch);
        let verdict: BodyError = Box::new(s3_error!(BadDigest));
        let framing = AwsChunkedStreamError::Underlying(Box::new(FramingError::SmallChunk));
        for (error, code) in [
            (deep, "RequestTimeout"),
            (chunk, "SignatureDoesNotMatch"),
            (verdict, "BadDigest"),
            (Box::new(framing), "InvalidChunkSizeError"),
            (Box::new(FramingError::Trailer), "MalformedTrailerError"),
            (
                Box::new(UploadStreamError::Sha256Mismatch),
                "XAmzContentSHA256Mismatch",
            ),
            (
                Box::new(AwsChunkedStreamError::ChunkDataTooLarge(2, 1)),
                "InvalidChunkSizeError",
            ),
            (Box::new(std::io::Error::other("reset")), "IncompleteBody"),
        ] {
            assert_eq!(from_engine(EngineError::Body(error)).code().as_str(), code);
        }
    }
}
