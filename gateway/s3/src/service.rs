//! Operation → file: one line each. An operation that has no line is answered by s3s with 501
//! NotImplemented, which is what we owe for what is not built.

use crate::gateway::{Gateway, RequestContext};
use crate::{
    acl_ops, bucket, copy, cors_ops, delete, delete_many, encryption_ops, get_object, list,
    list_versions, multipart, multipart_list, object_attributes, ownership, part_copy, policy_ops,
    public_access, put_object, tagging, unconfigured, versioning,
};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

macro_rules! operations {
    ($($name:ident => $handler:path, $input:ident, $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Gateway {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let cx = RequestContext::of(&request.extensions)?;
                $handler(self, cx, request).await
            })*
        }
    };
}

operations! {
    list_buckets => bucket::list, ListBucketsInput, ListBucketsOutput;
    create_bucket => bucket::create, CreateBucketInput, CreateBucketOutput;
    head_bucket => bucket::head, HeadBucketInput, HeadBucketOutput;
    delete_bucket => bucket::delete, DeleteBucketInput, DeleteBucketOutput;
    get_bucket_location => bucket::location, GetBucketLocationInput, GetBucketLocationOutput;
    put_bucket_versioning => versioning::put, PutBucketVersioningInput, PutBucketVersioningOutput;
    get_bucket_versioning => versioning::get, GetBucketVersioningInput, GetBucketVersioningOutput;

    put_object => put_object::put, PutObjectInput, PutObjectOutput;
    get_object => get_object::get, GetObjectInput, GetObjectOutput;
    head_object => get_object::head, HeadObjectInput, HeadObjectOutput;
    get_object_attributes => object_attributes::get, GetObjectAttributesInput, GetObjectAttributesOutput;
    delete_object => delete::delete, DeleteObjectInput, DeleteObjectOutput;
    delete_objects => delete_many::delete, DeleteObjectsInput, DeleteObjectsOutput;
    copy_object => copy::copy, CopyObjectInput, CopyObjectOutput;

    list_objects => list::v1, ListObjectsInput, ListObjectsOutput;
    list_objects_v2 => list::v2, ListObjectsV2Input, ListObjectsV2Output;
    list_object_versions => list_versions::list, ListObjectVersionsInput, ListObjectVersionsOutput;

    create_multipart_upload => multipart::create, CreateMultipartUploadInput, CreateMultipartUploadOutput;
    upload_part => multipart::upload_part, UploadPartInput, UploadPartOutput;
    upload_part_copy => part_copy::copy, UploadPartCopyInput, UploadPartCopyOutput;
    complete_multipart_upload => multipart::complete, CompleteMultipartUploadInput, CompleteMultipartUploadOutput;
    abort_multipart_upload => multipart::abort, AbortMultipartUploadInput, AbortMultipartUploadOutput;
    list_parts => multipart_list::parts, ListPartsInput, ListPartsOutput;
    list_multipart_uploads => multipart_list::uploads, ListMultipartUploadsInput, ListMultipartUploadsOutput;

    get_object_tagging => tagging::get_object, GetObjectTaggingInput, GetObjectTaggingOutput;
    put_object_tagging => tagging::put_object, PutObjectTaggingInput, PutObjectTaggingOutput;
    delete_object_tagging => tagging::delete_object, DeleteObjectTaggingInput, DeleteObjectTaggingOutput;
    get_bucket_tagging => tagging::get_bucket, GetBucketTaggingInput, GetBucketTaggingOutput;
    put_bucket_tagging => tagging::put_bucket, PutBucketTaggingInput, PutBucketTaggingOutput;
    delete_bucket_tagging => tagging::delete_bucket, DeleteBucketTaggingInput, DeleteBucketTaggingOutput;

    get_bucket_acl => acl_ops::get_bucket, GetBucketAclInput, GetBucketAclOutput;
    put_bucket_acl => acl_ops::put_bucket, PutBucketAclInput, PutBucketAclOutput;
    get_object_acl => acl_ops::get_object, GetObjectAclInput, GetObjectAclOutput;
    put_object_acl => acl_ops::put_object, PutObjectAclInput, PutObjectAclOutput;
    get_bucket_cors => cors_ops::get, GetBucketCorsInput, GetBucketCorsOutput;
    put_bucket_cors => cors_ops::put, PutBucketCorsInput, PutBucketCorsOutput;
    delete_bucket_cors => cors_ops::delete, DeleteBucketCorsInput, DeleteBucketCorsOutput;
    get_bucket_encryption => encryption_ops::get, GetBucketEncryptionInput, GetBucketEncryptionOutput;
    put_bucket_encryption => encryption_ops::put, PutBucketEncryptionInput, PutBucketEncryptionOutput;
    delete_bucket_encryption => encryption_ops::delete, DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput;
    get_bucket_ownership_controls => ownership::get, GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput;
    put_bucket_ownership_controls => ownership::put, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput;
    delete_bucket_ownership_controls => ownership::delete, DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput;
    get_bucket_policy => policy_ops::get, GetBucketPolicyInput, GetBucketPolicyOutput;
    put_bucket_policy => policy_ops::put, PutBucketPolicyInput, PutBucketPolicyOutput;
    delete_bucket_policy => policy_ops::delete, DeleteBucketPolicyInput, DeleteBucketPolicyOutput;
    get_bucket_policy_status => policy_ops::status, GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput;
    get_public_access_block => public_access::get, GetPublicAccessBlockInput, GetPublicAccessBlockOutput;
    put_public_access_block => public_access::put, PutPublicAccessBlockInput, PutPublicAccessBlockOutput;
    delete_public_access_block => public_access::delete, DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput;

    get_bucket_accelerate_configuration => unconfigured::accelerate, GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput;
    get_bucket_analytics_configuration => unconfigured::analytics, GetBucketAnalyticsConfigurationInput, GetBucketAnalyticsConfigurationOutput;
    get_bucket_intelligent_tiering_configuration => unconfigured::tiering, GetBucketIntelligentTieringConfigurationInput, GetBucketIntelligentTieringConfigurationOutput;
    get_bucket_inventory_configuration => unconfigured::inventory, GetBucketInventoryConfigurationInput, GetBucketInventoryConfigurationOutput;
    get_bucket_lifecycle_configuration => unconfigured::lifecycle, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput;
    get_bucket_logging => unconfigured::logging, GetBucketLoggingInput, GetBucketLoggingOutput;
    get_bucket_metrics_configuration => unconfigured::metrics, GetBucketMetricsConfigurationInput, GetBucketMetricsConfigurationOutput;
    get_bucket_notification_configuration => unconfigured::notification, GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput;
    get_bucket_replication => unconfigured::replication, GetBucketReplicationInput, GetBucketReplicationOutput;
    get_bucket_request_payment => unconfigured::request_payment, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput;
    get_bucket_website => unconfigured::website, GetBucketWebsiteInput, GetBucketWebsiteOutput;
    get_object_legal_hold => unconfigured::legal_hold, GetObjectLegalHoldInput, GetObjectLegalHoldOutput;
    get_object_lock_configuration => unconfigured::object_lock, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput;
    get_object_retention => unconfigured::retention, GetObjectRetentionInput, GetObjectRetentionOutput;
    list_bucket_analytics_configurations => unconfigured::list_analytics, ListBucketAnalyticsConfigurationsInput, ListBucketAnalyticsConfigurationsOutput;
    list_bucket_intelligent_tiering_configurations => unconfigured::list_tiering, ListBucketIntelligentTieringConfigurationsInput, ListBucketIntelligentTieringConfigurationsOutput;
    list_bucket_inventory_configurations => unconfigured::list_inventory, ListBucketInventoryConfigurationsInput, ListBucketInventoryConfigurationsOutput;
    list_bucket_metrics_configurations => unconfigured::list_metrics, ListBucketMetricsConfigurationsInput, ListBucketMetricsConfigurationsOutput;
    delete_bucket_lifecycle => unconfigured::delete_lifecycle, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput;
    delete_bucket_replication => unconfigured::delete_replication, DeleteBucketReplicationInput, DeleteBucketReplicationOutput;
    delete_bucket_website => unconfigured::delete_website, DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput;
}
