//! Who asks, as the signature proved it.

use engine_node::{Bucket, Credential};
use engine_types::{AccountId, ChargedTo};
use std::sync::Arc;

/// The signer of a request. Put into the request's extensions by the access check.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Nobody signed.
    Anonymous,
    /// An account, with the key that signed.
    Account(Arc<Credential>),
}

impl Identity {
    /// The account, if any.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Anonymous => None,
            Self::Account(credential) => Some(credential.account.id),
        }
    }
    /// Who pays for bytes stored into `bucket`: its owner always, the key where it is the owner's.
    pub(crate) fn charged_to(&self, bucket: &Bucket) -> ChargedTo {
        let account = bucket.row.owner;
        let key = match self {
            Self::Account(c) if c.account.id == account => Some(c.key.id),
            Self::Account(_) | Self::Anonymous => None,
        };
        ChargedTo { account, key }
    }
    /// Owner of what is made without an ACL's say; anonymous writes fall to the bucket's owner.
    pub(crate) fn writer(&self, bucket: &Bucket) -> AccountId {
        self.account().unwrap_or(bucket.row.owner)
    }
}
