//! Reads of configuration that cannot be set yet: AWS's answer where there is none. Deleting it is
//! done already. Setting it is 501, by having no line in `service`.

use crate::error::custom;
use crate::gateway::{Gateway, RequestContext};
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

/// `name: Input => Output, answer`: the bucket must be there, then the answer.
macro_rules! answers {
    ($($name:ident: $input:ident => $output:ident, $answer:expr;)*) => {
        $(pub(crate) async fn $name(
            gateway: &Gateway,
            cx: RequestContext,
            request: S3Request<$input>,
        ) -> S3Result<S3Response<$output>> {
            let input = &request.input;
            gateway.bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
            let answer: S3Result<$output> = $answer;
            answer.map(S3Response::new)
        })*
    };
}

fn no_such_configuration() -> S3Error {
    custom(
        "NoSuchConfiguration",
        StatusCode::NOT_FOUND,
        "The specified configuration does not exist.",
    )
}

fn no_object_lock() -> S3Error {
    s3_error!(
        InvalidRequest,
        "Bucket is missing Object Lock Configuration"
    )
}

answers! {
    accelerate: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput, Ok(GetBucketAccelerateConfigurationOutput::default());
    analytics: GetBucketAnalyticsConfigurationInput => GetBucketAnalyticsConfigurationOutput, Err(no_such_configuration());
    tiering: GetBucketIntelligentTieringConfigurationInput => GetBucketIntelligentTieringConfigurationOutput, Err(no_such_configuration());
    inventory: GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput, Err(no_such_configuration());
    lifecycle: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput,
        Err(s3_error!(NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"));
    logging: GetBucketLoggingInput => GetBucketLoggingOutput, Ok(GetBucketLoggingOutput::default());
    metrics: GetBucketMetricsConfigurationInput => GetBucketMetricsConfigurationOutput, Err(no_such_configuration());
    notification: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, Ok(GetBucketNotificationConfigurationOutput::default());
    replication: GetBucketReplicationInput => GetBucketReplicationOutput,
        Err(s3_error!(ReplicationConfigurationNotFoundError, "The replication configuration was not found"));
    request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput,
        Ok(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) });
    website: GetBucketWebsiteInput => GetBucketWebsiteOutput,
        Err(s3_error!(NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration"));
    legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput, Err(no_object_lock());
    retention: GetObjectRetentionInput => GetObjectRetentionOutput, Err(no_object_lock());
    object_lock: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput,
        Err(s3_error!(ObjectLockConfigurationNotFoundError, "Object Lock configuration does not exist for this bucket"));
    list_analytics: ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput, Ok(ListBucketAnalyticsConfigurationsOutput::default());
    list_tiering: ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput, Ok(ListBucketIntelligentTieringConfigurationsOutput::default());
    list_inventory: ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput, Ok(ListBucketInventoryConfigurationsOutput::default());
    list_metrics: ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput, Ok(ListBucketMetricsConfigurationsOutput::default());
    delete_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput, Ok(DeleteBucketLifecycleOutput::default());
    delete_replication: DeleteBucketReplicationInput => DeleteBucketReplicationOutput, Ok(DeleteBucketReplicationOutput::default());
    delete_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput, Ok(DeleteBucketWebsiteOutput::default());
}
