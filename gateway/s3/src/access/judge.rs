//! The judge of one request: who asks, of which bucket, under which rules and circumstances. Made by
//! the access check, kept in the request's extensions, asked again by handlers that learn of more
//! keys (DeleteObjects, the source of a copy, tags in a body). Pure.

use super::circumstances::{self, Pairs};
use super::table::LIST;
use crate::acl::{Acl, Permission};
use crate::documents::{BucketRules, PolicyState};
use crate::identity::Identity;
use engine_core::meta::VersionAttributes;
use engine_node::Bucket;
use engine_types::AccountId;
use gateway_policy::{AclGrant, Decision, Inputs, Principal, Request, RootAccount, Source, decide};
use s3s::{S3Error, S3Result, s3_error};
use std::sync::Arc;

/// Stands for "some other account": no account id looks like it.
const ANOTHER_ACCOUNT: &str = "\0another";

/// What is known of an object that is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectFacts<'a> {
    pub(crate) owner: AccountId,
    /// Its list as kept in the row.
    pub(crate) acl: &'a [u8],
    pub(crate) tags: &'a [(String, String)],
}

impl<'a> ObjectFacts<'a> {
    pub(crate) fn of(attributes: &'a VersionAttributes) -> Self {
        Self {
            owner: attributes.owner,
            acl: &attributes.acl,
            tags: &attributes.tags,
        }
    }
}

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) identity: Identity,
    pub(crate) bucket: Bucket,
    pub(crate) rules: Arc<BucketRules>,
    pub(crate) circumstances: Arc<Pairs>,
}

/// The answer S3 gives to all who may not.
pub(crate) fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

/// `Ok` if allowed.
pub(crate) fn verdict(decision: &Decision) -> S3Result<()> {
    if decision.is_allow() {
        Ok(())
    } else {
        Err(denied())
    }
}

impl Judge {
    /// The caller's account owns the bucket.
    pub(crate) fn same_account(&self) -> bool {
        self.identity.account() == Some(self.bucket.row.owner)
    }

    fn principal(&self) -> Principal {
        match &self.identity {
            Identity::Anonymous => Principal::Anonymous,
            // An account's id in ARNs is its canonical id: there is no other that outlives renaming.
            Identity::Account(credential) => Principal::Root(RootAccount {
                account: credential.account.canonical_id.clone(),
                canonical_id: credential.account.canonical_id.clone(),
            }),
        }
    }

    fn resource(&self, key: Option<&str>) -> String {
        let bucket = self.bucket.row.name.as_str();
        match key {
            None => format!("arn:aws:s3:::{bucket}"),
            Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
        }
    }

    /// The account a resource belongs to, as [`Inputs`] wants it.
    fn account_of(&self, owner: AccountId) -> &str {
        match &self.identity {
            Identity::Account(credential) if credential.account.id == owner => {
                &credential.account.canonical_id
            }
            Identity::Account(_) | Identity::Anonymous => ANOTHER_ACCOUNT,
        }
    }

    /// What the bucket's list grants; nothing where lists are off.
    pub(crate) fn bucket_grant(&self, permission: Option<Permission>) -> AclGrant {
        match permission {
            Some(permission) => self.grant(&self.rules.acl, self.bucket.row.owner, permission),
            None => AclGrant::None,
        }
    }

    fn grant(&self, acl: &Acl, owner: AccountId, permission: Permission) -> AclGrant {
        if !self.rules.acls() {
            return AclGrant::None;
        }
        let ignore_public = self.rules.block.ignore_public_acls;
        acl.grants(owner, self.identity.account(), permission, ignore_public)
    }

    /// Judges an action on the bucket (no key) or on a key that is the bucket owner's to give.
    pub(crate) fn decide(
        &self,
        action: &str,
        key: Option<&str>,
        acl: AclGrant,
        more: &[(String, String)],
    ) -> Decision {
        let request = self.request(action, key, more);
        self.combine(&request, self.bucket.row.owner, acl, true)
    }

    fn request(&self, action: &str, key: Option<&str>, more: &[(String, String)]) -> Request {
        let request = Request::new(self.principal(), action, self.resource(key));
        let added = |name: &String| more.iter().any(|(known, _)| known == name);
        // What the caller adds takes the place of what the head said.
        let head = self.circumstances.iter().filter(|(name, _)| !added(name));
        head.chain(more).fold(request, |request, (name, value)| {
            request.with(name, value.as_str())
        })
    }

    fn combine(
        &self,
        request: &Request,
        owner: AccountId,
        acl: AclGrant,
        policy: bool,
    ) -> Decision {
        let mut inputs = Inputs::new(request, self.account_of(owner));
        inputs.acl = acl;
        match &self.rules.policy {
            PolicyState::Parsed(compiled) if policy => {
                inputs.resource = Some(Source {
                    name: "bucket policy",
                    policy: &compiled.policy,
                });
                inputs.restrict_public =
                    self.rules.block.restrict_public_buckets && compiled.public;
                inputs.lockout = compiled.lockout;
            }
            PolicyState::Unreadable => {
                // It may hold any Deny. Root's repair is the one thing that does not depend on it.
                let decision = decide(&inputs);
                return match decision {
                    Decision::Allow(gateway_policy::Reason::PolicyRepair) => decision,
                    _ => Decision::ImplicitDeny(gateway_policy::Missing::Resource),
                };
            }
            PolicyState::Parsed(_) | PolicyState::None => {}
        }
        decide(&inputs)
    }

    /// Judges an action on an object that is there. Its owner decides over it; where that is not the
    /// bucket's owner, the bucket's policy can only forbid.
    pub(crate) fn decide_object(
        &self,
        action: &str,
        key: &str,
        permission: Option<Permission>,
        object: ObjectFacts<'_>,
    ) -> Decision {
        let tags = circumstances::object_tags(object.tags);
        let request = self.request(action, Some(key), &tags);
        let acl = match permission {
            Some(permission) => self.grant(
                &Acl::from_row(object.acl, object.owner),
                object.owner,
                permission,
            ),
            None => AclGrant::None,
        };
        let bucket_owner = self.bucket.row.owner;
        if !self.rules.acls() || object.owner == bucket_owner {
            return self.combine(&request, bucket_owner, acl, true);
        }
        match self.combine(&request, bucket_owner, AclGrant::None, true) {
            denied @ Decision::ExplicitDeny(_) => denied,
            _ => self.combine(&request, object.owner, acl, false),
        }
    }

    /// May the caller list the bucket at `key`? Then it may also know that nothing is there.
    pub(crate) fn may_list(&self, key: &str) -> bool {
        let prefix = [("s3:prefix".to_owned(), key.to_owned())];
        self.decide(
            LIST,
            None,
            self.bucket_grant(Some(Permission::Read)),
            &prefix,
        )
        .is_allow()
    }

    /// May the caller delete this key, or this version of it?
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn may_delete(&self, key: &str, version: Option<&str>) -> S3Result<()> {
        let (action, acl, more) = match version {
            None => (
                "s3:DeleteObject",
                self.bucket_grant(Some(Permission::Write)),
                Vec::new(),
            ),
            Some(version) => (
                "s3:DeleteObjectVersion",
                AclGrant::None,
                vec![("s3:VersionId".to_owned(), version.to_owned())],
            ),
        };
        verdict(&self.decide(action, Some(key), acl, &more))
    }
}
