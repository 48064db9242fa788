//! Versioning state of a bucket.

use crate::checksum::check_document;
use crate::gateway::{Gateway, RequestContext, fresh};
use engine_core::meta::Versioning;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// What a request may set.
pub(crate) fn asked(configuration: &VersioningConfiguration) -> S3Result<Versioning> {
    if configuration
        .mfa_delete
        .as_ref()
        .is_some_and(|mfa| mfa.as_str() == "Enabled")
    {
        return Err(s3_error!(NotImplemented, "MFA delete is not built"));
    }
    match configuration
        .status
        .as_ref()
        .map(BucketVersioningStatus::as_str)
    {
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        Some(_) => Err(s3_error!(MalformedXML)),
        None => Err(s3_error!(
            IllegalVersioningConfigurationException,
            "The Versioning element must be specified"
        )),
    }
}

/// PutBucketVersioning.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let to = asked(&input.versioning_configuration)?;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    fresh!(
        gateway,
        &cx,
        bucket,
        gateway.engine.set_versioning(&bucket, to).await
    )?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// GetBucketVersioning.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let input = request.input;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let status = match bucket.row.versioning {
        Versioning::Unversioned => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput {
        mfa_delete: None,
        status,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let of = |status: Option<&str>, mfa: Option<&str>| {
            asked(&VersioningConfiguration {
                status: status.map(|s| s.to_owned().into()),
                mfa_delete: mfa.map(|m| m.to_owned().into()),
            })
        };
        assert_eq!(of(Some("Enabled"), None).ok(), Some(Versioning::Enabled));
        assert_eq!(
            of(Some("Suspended"), Some("Disabled")).ok(),
            Some(Versioning::Suspended)
        );
        for (status, mfa, code) in [
            (None, None, "IllegalVersioningConfigurationException"),
            (Some("enabled"), None, "MalformedXML"),
            (Some("Enabled"), Some("Enabled"), "NotImplemented"),
        ] {
            assert_eq!(of(status, mfa).expect_err("refused").code().as_str(), code);
        }
    }
}
