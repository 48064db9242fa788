//! One line of the access table: what an operation acts on, and what it takes.

use crate::acl::Permission;

/// What an operation acts on, and so how it is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum On {
    /// The caller's own account: every signer may.
    Account,
    /// The bucket.
    Bucket,
    /// A key, whatever stands there; the bucket's list may grant.
    Key,
    /// An object that must be there, whose own list, owner and tags count; a missing one is 404 only
    /// to those who may list.
    Object,
    /// An upload: its initiator may, beside those the policy lets.
    Upload,
    /// Many keys, judged one by one by the handler.
    Keys,
    /// Never allowed.
    Nobody,
    /// No action is documented or the operation is not S3's: the bucket owner's account alone, and
    /// what it then hears is the handler's 501.
    Owner,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// As s3s names it.
    pub(crate) operation: &'static str,
    pub(crate) on: On,
    /// Policy actions, all of which must be allowed.
    pub(crate) actions: &'static [&'static str],
    /// The same where `versionId` is given.
    pub(crate) versioned: &'static [&'static str],
    /// Permission that grants it too: of the object's list for [`On::Object`], else the bucket's.
    pub(crate) acl: Option<Permission>,
}

pub(super) const fn rule(
    operation: &'static str,
    on: On,
    actions: &'static [&'static str],
) -> Rule {
    Rule {
        operation,
        on,
        actions,
        versioned: actions,
        acl: None,
    }
}
pub(super) const fn bucket(operation: &'static str, actions: &'static [&'static str]) -> Rule {
    rule(operation, On::Bucket, actions)
}
pub(super) const fn owner(operation: &'static str) -> Rule {
    rule(operation, On::Owner, &[])
}

impl Rule {
    pub(super) const fn versioned(mut self, actions: &'static [&'static str]) -> Self {
        self.versioned = actions;
        self
    }
    pub(super) const fn or(mut self, permission: Permission) -> Self {
        self.acl = Some(permission);
        self
    }
}
