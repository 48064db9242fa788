//! Access control lists: what they say, how they are kept, whom they let do what.
//!
//! Source: Amazon S3 User Guide, "Access control list (ACL) overview". Grantees are kept by account
//! number, so a renamed account keeps its grants; names and canonical ids are looked up for answers.

mod assign;
mod canned;
mod parse;
mod render;

pub(crate) use assign::{asks_nothing_new, check_public, for_new_object, lists_are_off};
pub(crate) use canned::canned;
pub(crate) use parse::{AclRequest, from_policy, grantees, requested};
pub(crate) use render::{grants_dto, owner_dto};

use engine_core::meta::{decode, encode};
use engine_types::AccountId;
use gateway_policy::AclGrant;
use serde::{Deserialize, Serialize};

/// Most grants of one list (S3: 100).
pub(crate) const GRANTS_MAX: usize = 100;

/// Group URIs as S3 writes them.
pub(crate) const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
/// Anyone with an account.
pub(crate) const AUTHENTICATED_USERS: &str =
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
/// The log delivery group.
pub(crate) const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// To whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Grantee {
    Account(AccountId),
    AllUsers,
    AuthenticatedUsers,
    LogDelivery,
}

/// What. Only appended to (**format**).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Permission {
    FullControl,
    Read,
    Write,
    ReadAcp,
    WriteAcp,
}

impl Permission {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::FullControl => "FULL_CONTROL",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::FullControl,
            Self::Read,
            Self::Write,
            Self::ReadAcp,
            Self::WriteAcp,
        ]
        .into_iter()
        .find(|p| p.as_str() == text)
    }
}

/// One line of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) grantee: Grantee,
    pub(crate) permission: Permission,
}

/// The grants of a bucket or an object; its owner stands in the row.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Acl {
    pub(crate) grants: Vec<Grant>,
}

impl Acl {
    /// Only the owner, with everything: what every new thing has unless asked otherwise.
    pub(crate) fn private(owner: AccountId) -> Self {
        let grantee = Grantee::Account(owner);
        Self {
            grants: vec![Grant {
                grantee,
                permission: Permission::FullControl,
            }],
        }
    }

    /// As kept in a row; empty bytes are a private list.
    pub(crate) fn from_row(bytes: &[u8], owner: AccountId) -> Self {
        if bytes.is_empty() {
            return Self::private(owner);
        }
        // Bytes this build cannot read grant nothing rather than something.
        decode(bytes).unwrap_or_default()
    }

    /// As kept in a row.
    pub(crate) fn to_row(&self, owner: AccountId) -> Vec<u8> {
        if *self == Self::private(owner) {
            Vec::new()
        } else {
            encode(self)
        }
    }

    /// What the list grants `who` (none: anonymous) of `permission`. The owner may always read and
    /// write the list itself. `ignore_public`: grants to groups count for nothing.
    pub(crate) fn grants(
        &self,
        owner: AccountId,
        who: Option<AccountId>,
        permission: Permission,
        ignore_public: bool,
    ) -> AclGrant {
        let of_list = matches!(permission, Permission::ReadAcp | Permission::WriteAcp);
        if who == Some(owner) && of_list {
            return AclGrant::Account;
        }
        let says =
            |g: &&Grant| g.permission == permission || g.permission == Permission::FullControl;
        let mut best = AclGrant::None;
        for grant in self.grants.iter().filter(says) {
            match grant.grantee {
                Grantee::Account(id) if who == Some(id) => return AclGrant::Account,
                Grantee::AllUsers if !ignore_public => best = AclGrant::Group,
                Grantee::AuthenticatedUsers if !ignore_public && who.is_some() => {
                    best = AclGrant::Group;
                }
                _ => {}
            }
        }
        best
    }

    /// Does it grant anything to everyone or to everyone with an account?
    pub(crate) fn is_public(&self) -> bool {
        self.grants
            .iter()
            .any(|g| matches!(g.grantee, Grantee::AllUsers | Grantee::AuthenticatedUsers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: AccountId = AccountId(1);
    const OTHER: AccountId = AccountId(2);

    #[test]
    fn a_private_list_takes_no_bytes_and_lets_only_the_owner_in() {
        let acl = Acl::private(OWNER);
        assert!(acl.to_row(OWNER).is_empty());
        assert_eq!(Acl::from_row(&[], OWNER), acl);
        for permission in [
            Permission::Read,
            Permission::Write,
            Permission::ReadAcp,
            Permission::WriteAcp,
        ] {
            assert_eq!(
                acl.grants(OWNER, Some(OWNER), permission, false),
                AclGrant::Account
            );
            assert_eq!(
                acl.grants(OWNER, Some(OTHER), permission, false),
                AclGrant::None
            );
            assert_eq!(acl.grants(OWNER, None, permission, false), AclGrant::None);
        }
    }

    #[test]
    fn an_owner_without_grants_may_still_mend_the_list() {
        let acl = Acl::default();
        assert_eq!(
            acl.grants(OWNER, Some(OWNER), Permission::Read, false),
            AclGrant::None
        );
        assert_eq!(
            acl.grants(OWNER, Some(OWNER), Permission::WriteAcp, false),
            AclGrant::Account
        );
    }

    #[test]
    fn groups_count_unless_ignored() {
        let acl = canned("public-read", OWNER, OWNER).expect("known");
        assert!(acl.is_public());
        assert_eq!(
            acl.grants(OWNER, None, Permission::Read, false),
            AclGrant::Group
        );
        assert_eq!(
            acl.grants(OWNER, None, Permission::Read, true),
            AclGrant::None
        );
        assert_eq!(
            acl.grants(OWNER, None, Permission::Write, false),
            AclGrant::None
        );
        let acl = canned("authenticated-read", OWNER, OWNER).expect("known");
        assert_eq!(
            acl.grants(OWNER, None, Permission::Read, false),
            AclGrant::None
        );
        assert_eq!(
            acl.grants(OWNER, Some(OTHER), Permission::Read, false),
            AclGrant::Group
        );
    }

    #[test]
    fn unreadable_bytes_grant_nothing() {
        let acl = Acl::from_row(&[9, 9, 9], OWNER);
        assert_eq!(
            acl.grants(OWNER, Some(OTHER), Permission::Read, false),
            AclGrant::None
        );
        let kept = canned("public-read-write", OWNER, OWNER).expect("known");
        assert_eq!(Acl::from_row(&kept.to_row(OWNER), OWNER), kept);
    }
}
