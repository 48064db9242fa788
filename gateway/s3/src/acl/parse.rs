//! Lists from requests: canned name, `x-amz-grant-*` headers, or an XML body.

use super::{
    ALL_USERS, AUTHENTICATED_USERS, Acl, GRANTS_MAX, Grant, Grantee, LOG_DELIVERY, Permission,
    canned,
};
use crate::error::from_engine;
use crate::seams::AclAsked;
use engine_node::Engine;
use engine_types::AccountId;
use s3s::dto::AccessControlPolicy;
use s3s::{S3Result, s3_error};

/// What a request says of the list it wants; all may be absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct AclRequest {
    /// Name of a canned list.
    pub(crate) canned: Option<String>,
    /// Values of grant headers with the permission each gives.
    pub(crate) grants: Vec<(Permission, String)>,
}

impl From<&AclAsked> for AclRequest {
    fn from(asked: &AclAsked) -> Self {
        let of =
            |permission, value: &Option<String>| value.clone().map(|value| (permission, value));
        let grants = [
            of(Permission::FullControl, &asked.full_control),
            of(Permission::Read, &asked.read),
            of(Permission::Write, &asked.write),
            of(Permission::ReadAcp, &asked.read_acp),
            of(Permission::WriteAcp, &asked.write_acp),
        ];
        Self {
            canned: asked.canned.clone(),
            grants: grants.into_iter().flatten().collect(),
        }
    }
}

impl AclRequest {
    /// Nothing asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.canned.is_none() && self.grants.is_empty()
    }
}

/// The list a request asks for; `None`: it asks for nothing. Canned and grants exclude each other.
pub(crate) async fn requested(
    engine: &Engine,
    request: &AclRequest,
    owner: AccountId,
    bucket_owner: AccountId,
) -> S3Result<Option<Acl>> {
    match (&request.canned, request.grants.is_empty()) {
        (None, true) => Ok(None),
        (Some(_), false) => Err(s3_error!(
            InvalidRequest,
            "Specifying both Canned ACLs and Header Grants is not allowed"
        )),
        (Some(name), true) => canned(name, owner, bucket_owner)
            .map(Some)
            .ok_or_else(|| s3_error!(InvalidArgument, "unknown canned ACL {name}")),
        (None, false) => {
            let mut acl = Acl::default();
            for (permission, value) in &request.grants {
                for (kind, who) in grantees(value)? {
                    let grantee = find(engine, kind, &who).await?;
                    acl.grants.push(Grant {
                        grantee,
                        permission: *permission,
                    });
                }
            }
            bounded(acl).map(Some)
        }
    }
}

/// The list of an `AccessControlPolicy` body; its owner must be the thing's owner.
pub(crate) async fn from_policy(
    engine: &Engine,
    policy: AccessControlPolicy,
    owner: AccountId,
) -> S3Result<Acl> {
    if let Some(id) = policy.owner.and_then(|o| o.id) {
        let named = engine
            .account_by_canonical_id(&id)
            .await
            .map_err(from_engine)?;
        if named.is_none_or(|account| account.id != owner) {
            return Err(s3_error!(
                AccessDenied,
                "the owner of an ACL cannot be changed"
            ));
        }
    }
    let mut acl = Acl::default();
    for grant in policy.grants.unwrap_or_default() {
        let malformed = || s3_error!(MalformedACLError);
        let grantee = grant.grantee.ok_or_else(malformed)?;
        let permission = grant
            .permission
            .as_ref()
            .and_then(|p| Permission::parse(p.as_str()))
            .ok_or_else(malformed)?;
        let (kind, who) = match (
            grantee.type_.as_str(),
            grantee.id,
            grantee.email_address,
            grantee.uri,
        ) {
            ("CanonicalUser", Some(id), _, _) => ("id", id),
            ("AmazonCustomerByEmail", _, Some(email), _) => ("emailAddress", email),
            ("Group", _, _, Some(uri)) => ("uri", uri),
            _ => return Err(malformed()),
        };
        acl.grants.push(Grant {
            grantee: find(engine, kind, &who).await?,
            permission,
        });
    }
    bounded(acl)
}

fn bounded(acl: Acl) -> S3Result<Acl> {
    if acl.grants.len() > GRANTS_MAX {
        return Err(s3_error!(
            MalformedACLError,
            "more than {GRANTS_MAX} grants"
        ));
    }
    Ok(acl)
}

/// `id="…", emailAddress="…", uri="…"` into kinds and values.
pub(crate) fn grantees(value: &str) -> S3Result<Vec<(&str, String)>> {
    let mut found = Vec::new();
    for one in value.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let (kind, who) = one
            .split_once('=')
            .ok_or_else(|| s3_error!(InvalidArgument, "Argument format not recognized"))?;
        let who = who.trim().trim_matches('"').to_owned();
        let kind = kind.trim();
        if !["id", "emailAddress", "uri"].contains(&kind) || who.is_empty() {
            return Err(s3_error!(InvalidArgument, "Argument format not recognized"));
        }
        found.push((kind, who));
    }
    Ok(found)
}

async fn find(engine: &Engine, kind: &str, who: &str) -> S3Result<Grantee> {
    let account = match kind {
        "uri" => {
            return match who {
                ALL_USERS => Ok(Grantee::AllUsers),
                AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
                LOG_DELIVERY => Ok(Grantee::LogDelivery),
                _ => Err(s3_error!(InvalidArgument, "Invalid group uri")),
            };
        }
        "emailAddress" => engine.account_by_email(who).await,
        _ => engine.account_by_canonical_id(who).await,
    };
    match (account.map_err(from_engine)?, kind) {
        (Some(account), _) => Ok(Grantee::Account(account.id)),
        (None, "emailAddress") => Err(s3_error!(
            UnresolvableGrantByEmailAddress,
            "no account has that e-mail address"
        )),
        (None, _) => Err(s3_error!(InvalidArgument, "Invalid id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_so_many_grants_and_no_more() {
        let grant = Grant {
            grantee: Grantee::AllUsers,
            permission: Permission::Read,
        };
        let of = |count: usize| {
            let mut acl = Acl::private(AccountId(1));
            acl.grants = vec![grant; count];
            bounded(acl).map(|acl| acl.grants.len())
        };
        assert_eq!(of(GRANTS_MAX).ok(), Some(GRANTS_MAX));
        let refused = of(GRANTS_MAX + 1).expect_err("one past the limit");
        assert_eq!(*refused.code(), s3s::S3ErrorCode::MalformedACLError);
    }

    #[test]
    fn grant_headers_are_read_with_and_without_quotes() {
        let parsed = grantees(r#"id="abc", emailAddress=a@b.c,uri="http://x""#).expect("parses");
        assert_eq!(
            parsed,
            [
                ("id", "abc".into()),
                ("emailAddress", "a@b.c".into()),
                ("uri", "http://x".into())
            ]
        );
        for bad in ["abc", "name=x", "id=", "id=\"\""] {
            assert!(grantees(bad).is_err(), "{bad}");
        }
    }
}
