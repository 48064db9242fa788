//! Canned lists, as the S3 User Guide tables them.

use super::{Acl, Grant, Grantee, Permission};
use engine_types::AccountId;

/// The list a canned name stands for; `None`: no such name.
pub(crate) fn canned(name: &str, owner: AccountId, bucket_owner: AccountId) -> Option<Acl> {
    let mut acl = Acl::private(owner);
    let mut grant = |grantee, permission| {
        acl.grants.push(Grant {
            grantee,
            permission,
        });
    };
    match name {
        "public-read" => grant(Grantee::AllUsers, Permission::Read),
        "public-read-write" => {
            grant(Grantee::AllUsers, Permission::Read);
            grant(Grantee::AllUsers, Permission::Write);
        }
        "authenticated-read" => grant(Grantee::AuthenticatedUsers, Permission::Read),
        "bucket-owner-read" if owner != bucket_owner => {
            grant(Grantee::Account(bucket_owner), Permission::Read);
        }
        "bucket-owner-full-control" if owner != bucket_owner => {
            grant(Grantee::Account(bucket_owner), Permission::FullControl);
        }
        // The owner has everything already.
        "private" | "bucket-owner-read" | "bucket-owner-full-control" => {}
        "log-delivery-write" => {
            grant(Grantee::LogDelivery, Permission::Write);
            grant(Grantee::LogDelivery, Permission::ReadAcp);
        }
        _ => return None,
    }
    Some(acl)
}
