//! Owner and list of what is about to be made; whether a list may be set at all.

use super::{Acl, AclRequest, requested};
use crate::documents::{Ownership, PublicAccessBlock};
use crate::identity::Identity;
use engine_node::{Bucket, Engine};
use engine_types::AccountId;
use s3s::{S3Error, S3Result, s3_error};

/// AWS's refusal of lists where the bucket's owner owns everything.
pub(crate) fn lists_are_off() -> S3Error {
    s3_error!(
        AccessControlListNotSupported,
        "The bucket does not allow ACLs"
    )
}

/// Where lists are off, asking for what is the case anyway is no error: full control of the bucket's
/// owner. `private` asks for its writer's, and AWS refuses it even where they are the same.
pub(crate) fn asks_nothing_new(request: &AclRequest) -> bool {
    let canned = request.canned.as_deref();
    request.grants.is_empty() && matches!(canned, None | Some("bucket-owner-full-control"))
}

/// Refuses a list open to all where the bucket blocks such lists.
pub(crate) fn check_public(acl: &Acl, block: PublicAccessBlock) -> S3Result<()> {
    #[cfg(sabotage)]
    if engine_types::sabotage("skip-block-public-acls") {
        return Ok(());
    }
    if block.block_public_acls && acl.is_public() {
        return Err(s3_error!(
            AccessDenied,
            "User is not authorized because public ACLs are prevented by the BlockPublicAcls setting in \
             S3 Block Public Access."
        ));
    }
    Ok(())
}

/// Owner and list of a new object. Who writes owns, except: where lists are off, and where the
/// bucket's owner is preferred and is given full control by the canned list of that name.
pub(crate) async fn for_new_object(
    engine: &Engine,
    bucket: &Bucket,
    who: &Identity,
    request: &AclRequest,
    (ownership, block): (Ownership, PublicAccessBlock),
) -> S3Result<(AccountId, Acl)> {
    let bucket_owner = bucket.row.owner;
    if ownership == Ownership::BucketOwnerEnforced {
        return if asks_nothing_new(request) {
            Ok((bucket_owner, Acl::private(bucket_owner)))
        } else {
            Err(lists_are_off())
        };
    }
    if request.canned.as_deref() == Some("log-delivery-write") {
        return Err(s3_error!(
            InvalidArgument,
            "log-delivery-write is for buckets"
        ));
    }
    let owner = new_owner(who.writer(bucket), bucket_owner, ownership, request);
    let acl = requested(engine, request, owner, bucket_owner).await?;
    let acl = acl.unwrap_or_else(|| Acl::private(owner));
    check_public(&acl, block)?;
    Ok((owner, acl))
}

fn new_owner(
    writer: AccountId,
    bucket_owner: AccountId,
    ownership: Ownership,
    request: &AclRequest,
) -> AccountId {
    let handed_over = request.canned.as_deref() == Some("bucket-owner-full-control");
    match ownership {
        Ownership::BucketOwnerEnforced => bucket_owner,
        Ownership::BucketOwnerPreferred if handed_over => bucket_owner,
        Ownership::BucketOwnerPreferred | Ownership::ObjectWriter => writer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::canned;

    #[test]
    fn owners_of_new_objects() {
        let (writer, bucket_owner) = (AccountId(2), AccountId(1));
        let full = "bucket-owner-full-control";
        for (ownership, canned, owner) in [
            (Ownership::BucketOwnerEnforced, None, bucket_owner),
            (Ownership::BucketOwnerPreferred, None, writer),
            (Ownership::BucketOwnerPreferred, Some(full), bucket_owner),
            (Ownership::BucketOwnerPreferred, Some("private"), writer),
            (Ownership::ObjectWriter, Some(full), writer),
            (Ownership::ObjectWriter, None, writer),
        ] {
            let request = AclRequest {
                canned: canned.map(Into::into),
                grants: Vec::new(),
            };
            assert_eq!(
                new_owner(writer, bucket_owner, ownership, &request),
                owner,
                "{ownership:?} {canned:?}"
            );
        }
    }

    #[test]
    fn where_lists_are_off_only_the_state_of_things_may_be_asked() {
        for (canned, fine) in [
            (None, true),
            (Some("private"), false),
            (Some("bucket-owner-full-control"), true),
            (Some("public-read"), false),
        ] {
            let request = AclRequest {
                canned: canned.map(Into::into),
                grants: Vec::new(),
            };
            assert_eq!(asks_nothing_new(&request), fine, "{canned:?}");
        }
        let grants = vec![(crate::acl::Permission::Read, "id=1".to_owned())];
        assert!(!asks_nothing_new(&AclRequest {
            canned: None,
            grants
        }));
    }

    #[test]
    fn public_lists_are_refused_where_blocked() {
        let owner = AccountId(1);
        let public = canned("public-read", owner, owner).expect("known");
        assert!(check_public(&public, PublicAccessBlock::default()).is_ok());
        assert!(check_public(&public, PublicAccessBlock::ALL).is_err());
        assert!(check_public(&Acl::private(owner), PublicAccessBlock::ALL).is_ok());
    }
}
