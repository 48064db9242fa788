//! Bucket policies: put, get, delete, and whether they make the bucket public.

use crate::access::denied;
use crate::acl_ops::bucket_acl;
use crate::checksum::check_document;
use crate::documents::{
    BucketRules, PolicyDocument, PolicyState, document, named, public_access_block, to_row,
};
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext};
use engine_core::meta::BucketDocument;
use engine_node::Bucket;
use gateway_policy::{Named, Policy, Statement, is_public};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

/// Who is allowed but of another account is answered 405: a policy is the owner's account's alone.
fn own_account(cx: &RequestContext, bucket: &Bucket) -> S3Result<()> {
    if cx.identity.account() == Some(bucket.row.owner) {
        return Ok(());
    }
    Err(s3_error!(
        MethodNotAllowed,
        "The specified method is not allowed against this resource."
    ))
}

fn no_policy() -> S3Error {
    s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist")
}

/// PutBucketPolicy.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let bucket = gateway.named(&cx, named!(input)).await?;
    own_account(&cx, &bucket)?;
    let policy = Policy::bucket(&input.policy, bucket.row.name.as_str())
        .map_err(|error| s3_error!(MalformedPolicy, "{error}"))?;
    check_principals(gateway, &policy).await?;
    let public = is_public(&policy);
    let fits = |bucket: &Bucket| {
        if public && public_access_block(&bucket.row)?.block_public_policy {
            return Err(denied());
        }
        Ok(())
    };
    let lockout_confirmed = input.confirm_remove_self_bucket_access.unwrap_or(false);
    let row = Some(to_row(&PolicyDocument {
        text: input.policy,
        lockout_confirmed,
    }));
    gateway
        .keep_while(&cx, bucket, BucketDocument::Policy, row, fits)
        .await
}

/// Each principal of this system must exist: a typing error in an Allow would wait for whoever takes
/// the name later, in a Deny it would protect nothing.
async fn check_principals(gateway: &Gateway, policy: &Policy) -> S3Result<()> {
    let named = policy
        .statements()
        .iter()
        .flat_map(Statement::named_principals);
    for principal in named {
        let id = match principal {
            Named::Account(id) if is_ours(id) => id,
            Named::CanonicalUser(id) => id,
            // Users and roles are not built: none exists.
            Named::Arn(_) | Named::UniqueId(_) => return Err(invalid_principal()),
            Named::Account(_)
            | Named::Everyone { .. }
            | Named::Service(_)
            | Named::Federated(_) => continue,
        };
        let known = gateway
            .engine
            .account_by_canonical_id(id)
            .await
            .map_err(from_engine)?;
        if known.is_none() {
            return Err(invalid_principal());
        }
    }
    Ok(())
}

/// Of the forms AWS and this system give out: twelve digits, or a canonical id of 64 hex digits. A
/// name of another form, as other stores' policies carry, matches nobody and is kept.
fn is_ours(id: &str) -> bool {
    let digits = id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
    digits || (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn invalid_principal() -> S3Error {
    s3_error!(MalformedPolicy, "Invalid principal in policy")
}

/// GetBucketPolicy.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let input = request.input;
    let bucket = gateway.named(&cx, named!(input)).await?;
    own_account(&cx, &bucket)?;
    let kept: Option<PolicyDocument> = document(&bucket.row, BucketDocument::Policy)?;
    let kept = kept.ok_or_else(no_policy)?;
    Ok(S3Response::new(GetBucketPolicyOutput {
        policy: Some(kept.text),
    }))
}

/// DeleteBucketPolicy.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    let input = request.input;
    let bucket = gateway.named(&cx, named!(input)).await?;
    own_account(&cx, &bucket)?;
    gateway
        .keep(&cx, bucket, BucketDocument::Policy, None)
        .await
}

/// GetBucketPolicyStatus: whether policy or list, as far as they count, let everyone in.
pub(crate) async fn status(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let input = request.input;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let is_public = Some(is_open(&bucket)?);
    let policy_status = Some(PolicyStatus { is_public });
    Ok(S3Response::new(GetBucketPolicyStatusOutput {
        policy_status,
    }))
}

fn is_open(bucket: &Bucket) -> S3Result<bool> {
    let rules = BucketRules::of(&bucket.row)?;
    let by_list = !rules.block.ignore_public_acls && bucket_acl(bucket)?.is_public();
    let by_policy = match &rules.policy {
        PolicyState::Parsed(compiled) => compiled.public,
        PolicyState::None | PolicyState::Unreadable => false,
    };
    Ok(by_list || by_policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::canned;
    use crate::documents::{Ownership, PublicAccessBlock, testing};
    use BucketDocument::{Acl, Ownership as Own, Policy, PublicAccessBlock as Block};
    use engine_types::AccountId;

    #[test]
    fn forms_of_account_ids() {
        for (id, ours) in [
            ("111122223333", true),
            ("11112222333", false),
            ("s3tenant1", false),
            (&"a1".repeat(32), true),
            (&"g1".repeat(32), false),
        ] {
            assert_eq!(is_ours(id), ours, "{id}");
        }
    }

    #[test]
    fn lists_and_policies_make_public_as_far_as_they_count() {
        let owner = AccountId(1);
        let list = canned("authenticated-read", owner, owner)
            .expect("known")
            .to_row(owner);
        let open = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
            "Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"}]}"#;
        let policy = to_row(&PolicyDocument {
            text: open.into(),
            lockout_confirmed: false,
        });
        let block = to_row(&PublicAccessBlock {
            ignore_public_acls: true,
            ..PublicAccessBlock::default()
        });
        let enforced = to_row(&Ownership::BucketOwnerEnforced);
        for (documents, public) in [
            (vec![], false),
            (vec![(Acl, list.clone())], true),
            (vec![(Acl, list.clone()), (Block, block)], false),
            (vec![(Acl, list), (Own, enforced)], false),
            (vec![(Policy, policy)], true),
        ] {
            assert_eq!(
                is_open(&testing::bucket(owner, &documents)).ok(),
                Some(public),
                "{documents:?}"
            );
        }
    }
}
