//! Default encryption of a bucket. Everything is encrypted whatever it says: it decides whose key
//! wraps where a write does not, and what answers then say.

use crate::checksum::check_document;
use crate::documents::{EncryptionDocument, named, to_row};
use crate::error::custom;
use crate::gateway::{Gateway, RequestContext};
use engine_core::meta::BucketDocument;
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// GetBucketEncryption.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    let kept: Option<EncryptionDocument> = gateway
        .kept(&cx, named!(request.input), BucketDocument::Encryption)
        .await?;
    let kept = kept.ok_or_else(|| {
        custom(
            "ServerSideEncryptionConfigurationNotFoundError",
            StatusCode::NOT_FOUND,
            "The server side encryption configuration was not found",
        )
    })?;
    let by_default = ServerSideEncryptionByDefault {
        kms_master_key_id: kept.kms_key,
        sse_algorithm: ServerSideEncryption::from(kept.algorithm),
    };
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(by_default),
        blocked_encryption_types: None,
        bucket_key_enabled: Some(kept.bucket_key.unwrap_or(false)),
    };
    let server_side_encryption_configuration =
        Some(ServerSideEncryptionConfiguration { rules: vec![rule] });
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration,
    }))
}

/// PutBucketEncryption.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let document = parse(&input.server_side_encryption_configuration)?;
    let bucket = gateway.named(&cx, named!(input)).await?;
    let row = Some(to_row(&document));
    gateway
        .keep(&cx, bucket, BucketDocument::Encryption, row)
        .await
}

pub(crate) fn parse(asked: &ServerSideEncryptionConfiguration) -> S3Result<EncryptionDocument> {
    let [rule] = asked.rules.as_slice() else {
        return Err(s3_error!(
            MalformedXML,
            "Exactly one encryption rule is allowed"
        ));
    };
    let blocks = rule
        .blocked_encryption_types
        .as_ref()
        .and_then(|b| b.encryption_type.as_deref());
    if blocks
        .unwrap_or_default()
        .iter()
        .any(|kind| kind.as_str() != "NONE")
    {
        return Err(s3_error!(
            NotImplemented,
            "Blocked encryption types are not built"
        ));
    }
    let Some(default) = &rule.apply_server_side_encryption_by_default else {
        return Err(s3_error!(
            MalformedXML,
            "ApplyServerSideEncryptionByDefault is missing"
        ));
    };
    let algorithm = default.sse_algorithm.as_str().to_owned();
    let kms_key = default
        .kms_master_key_id
        .clone()
        .filter(|id| !id.is_empty());
    match algorithm.as_str() {
        "AES256" if kms_key.is_some() => {
            return Err(s3_error!(
                InvalidArgument,
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms"
            ));
        }
        "AES256" | "aws:kms" => {}
        "aws:kms:dsse" => {
            return Err(s3_error!(
                NotImplemented,
                "Only AES256 and aws:kms are built"
            ));
        }
        _ => return Err(s3_error!(MalformedXML, "Unknown SSEAlgorithm")),
    }
    Ok(EncryptionDocument {
        algorithm,
        kms_key,
        bucket_key: rule.bucket_key_enabled,
    })
}

/// DeleteBucketEncryption.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
    let bucket = gateway.named(&cx, named!(request.input)).await?;
    gateway
        .keep(&cx, bucket, BucketDocument::Encryption, None)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        algorithm: &str,
        key: Option<&str>,
        bucket_key: Option<bool>,
    ) -> ServerSideEncryptionRule {
        ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: key.map(Into::into),
                sse_algorithm: ServerSideEncryption::from(algorithm.to_owned()),
            }),
            blocked_encryption_types: None,
            bucket_key_enabled: bucket_key,
        }
    }

    #[test]
    fn configurations_are_parsed_or_refused() {
        for (rules, expected) in [
            (vec![rule("AES256", None, None)], "ok"),
            (vec![rule("aws:kms", Some("k"), Some(true))], "ok"),
            (vec![rule("aws:kms", None, None)], "ok"),
            (vec![rule("AES256", Some("k"), None)], "InvalidArgument"),
            (vec![rule("aws:kms:dsse", None, None)], "NotImplemented"),
            (vec![rule("DES", None, None)], "MalformedXML"),
            (vec![], "MalformedXML"),
            (
                vec![rule("AES256", None, None), rule("AES256", None, None)],
                "MalformedXML",
            ),
        ] {
            let got = parse(&ServerSideEncryptionConfiguration {
                rules: rules.clone(),
            });
            let code = got.map_or_else(|e| e.code().as_str().to_owned(), |_| "ok".into());
            assert_eq!(code, expected, "{rules:?}");
        }
    }
}
