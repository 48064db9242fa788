//! What of a bucket's configuration bears on access, parsed once per configuration.

use super::{
    Ownership, PolicyDocument, PublicAccessBlock, document, ownership, public_access_block,
};
use crate::acl::Acl;
use engine_core::meta::{BucketDocument, BucketRow};
use engine_node::Bucket;
use engine_types::BucketId;
use gateway_policy::{Lockout, Mismatch, Mode, Policy, is_public};
use s3s::S3Result;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most buckets whose rules are kept parsed; past it the cache begins anew.
pub(crate) const RULES_CACHED_MAX: usize = 1024;

/// A parsed bucket policy and what is asked of it often.
#[derive(Debug)]
pub(crate) struct CompiledPolicy {
    pub(crate) policy: Policy,
    pub(crate) public: bool,
    pub(crate) lockout: Lockout,
    /// Speaks of `s3:ExistingObjectTag`: the object must be looked at first.
    pub(crate) asks_object_tags: bool,
    /// Speaks of `s3:RequestObjectTag`: tags in a body must be read first.
    pub(crate) asks_request_tags: bool,
}

/// Whether there is a policy.
#[derive(Debug)]
pub(crate) enum PolicyState {
    None,
    Parsed(Box<CompiledPolicy>),
    /// Kept text that this build refuses: nobody but a repairing root gets in.
    Unreadable,
}

/// All that bears on access.
#[derive(Debug)]
pub(crate) struct BucketRules {
    pub(crate) acl: Acl,
    pub(crate) ownership: Ownership,
    pub(crate) block: PublicAccessBlock,
    pub(crate) policy: PolicyState,
}

impl BucketRules {
    /// Parses the rules of a row.
    ///
    /// # Errors
    /// `InternalError` for documents this build cannot read.
    pub(crate) fn of(row: &BucketRow) -> S3Result<Self> {
        let acl = row
            .documents
            .get(&BucketDocument::Acl)
            .map_or(&[][..], Vec::as_slice);
        Ok(Self {
            acl: Acl::from_row(acl, row.owner),
            ownership: ownership(row)?,
            block: public_access_block(row)?,
            policy: match document::<PolicyDocument>(row, BucketDocument::Policy)? {
                None => PolicyState::None,
                Some(kept) => compile(&kept, row.name.as_str()),
            },
        })
    }

    /// ACLs count.
    pub(crate) fn acls(&self) -> bool {
        self.ownership != Ownership::BucketOwnerEnforced
    }

    /// The owner's account may do everything, whatever object or circumstance.
    pub(crate) fn owner_alone_decides(&self) -> bool {
        !self.acls() && matches!(self.policy, PolicyState::None)
    }

    pub(crate) fn compiled(&self) -> Option<&CompiledPolicy> {
        match &self.policy {
            PolicyState::Parsed(compiled) => Some(compiled),
            PolicyState::None | PolicyState::Unreadable => None,
        }
    }
}

fn compile(kept: &PolicyDocument, bucket: &str) -> PolicyState {
    // What was accepted once stays accepted: only PUT judges whether actions fit resources.
    let mode = Mode::Bucket {
        bucket,
        mismatch: Mismatch::Accept,
    };
    let policy = match Policy::parse(&kept.text, mode) {
        Ok(policy) => policy,
        Err(error) => {
            tracing::error!(%error, bucket, "unreadable bucket policy");
            return PolicyState::Unreadable;
        }
    };
    // A mention anywhere is enough to look; JSON escapes could hide one, so they count as one.
    let text = kept.text.to_ascii_lowercase();
    let speaks_of = |key: &str| text.contains(key) || text.contains("\\u");
    PolicyState::Parsed(Box::new(CompiledPolicy {
        public: is_public(&policy),
        policy,
        lockout: if kept.lockout_confirmed {
            Lockout::Confirmed
        } else {
            Lockout::RootRepairs
        },
        asks_object_tags: speaks_of("existingobjecttag"),
        asks_request_tags: speaks_of("requestobjecttag"),
    }))
}

/// The rules of buckets lately asked for, parsed once per epoch.
#[derive(Debug, Default)]
pub(crate) struct RulesCache(Mutex<HashMap<BucketId, (u64, Arc<BucketRules>)>>);

impl RulesCache {
    /// The rules of a bucket as looked up.
    ///
    /// # Errors
    /// As [`BucketRules::of`].
    pub(crate) fn rules_of(&self, bucket: &Bucket) -> S3Result<Arc<BucketRules>> {
        let (id, epoch) = (bucket.row.id, bucket.row.epoch);
        {
            let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, rules)) = cache.get(&id)
                && *known == epoch
            {
                return Ok(Arc::clone(rules));
            }
        }
        let rules = Arc::new(BucketRules::of(&bucket.row)?);
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= RULES_CACHED_MAX && !cache.contains_key(&id) {
            cache.clear();
        }
        // An older epoch may be looked at while a newer one is cached: keep the newer.
        if cache.get(&id).is_none_or(|(known, _)| *known < epoch) {
            cache.insert(id, (epoch, Arc::clone(&rules)));
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{testing, to_row};
    use engine_types::AccountId;

    fn with_policy(text: &str) -> BucketRules {
        let kept = PolicyDocument {
            text: text.into(),
            lockout_confirmed: false,
        };
        let bucket = testing::bucket(AccountId(1), &[(BucketDocument::Policy, to_row(&kept))]);
        BucketRules::of(&bucket.row).expect("rules")
    }

    #[test]
    fn policies_are_compiled_and_unreadable_ones_lock() {
        let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
            "Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/a":"b"}}}]}"#;
        let rules = with_policy(text);
        let compiled = rules.compiled().expect("compiled");
        assert!(compiled.public && compiled.asks_object_tags && !compiled.asks_request_tags);
        assert!(!rules.owner_alone_decides());
        let hidden = with_policy(&text.replace("ExistingObject", "\\u0045xistingObject"));
        assert!(hidden.compiled().expect("compiled").asks_object_tags);
        assert!(matches!(with_policy("{}").policy, PolicyState::Unreadable));
    }

    #[test]
    fn the_owner_decides_alone_only_without_lists_and_policy() {
        let owner = AccountId(1);
        let bare = BucketRules::of(&testing::bucket(owner, &[]).row).expect("rules");
        assert!(bare.acls() && !bare.owner_alone_decides());
        let enforced = to_row(&Ownership::BucketOwnerEnforced);
        let bucket = testing::bucket(owner, &[(BucketDocument::Ownership, enforced)]);
        assert!(
            BucketRules::of(&bucket.row)
                .expect("rules")
                .owner_alone_decides()
        );
    }

    #[test]
    fn the_cache_holds_its_limit_and_follows_epochs() {
        let cache = RulesCache::default();
        let numbered = |id: u64, epoch: u64| {
            let mut bucket = testing::bucket(AccountId(1), &[]);
            let mut row = (*bucket.row).clone();
            (row.id, row.epoch) = (BucketId(id), epoch);
            bucket.row = Arc::new(row);
            bucket
        };
        let held = || cache.0.lock().expect("lock").len();
        for id in 0..RULES_CACHED_MAX as u64 {
            cache.rules_of(&numbered(id, 1)).expect("rules");
        }
        assert_eq!(held(), RULES_CACHED_MAX);
        cache.rules_of(&numbered(9_999, 1)).expect("rules");
        assert_eq!(held(), 1);
        let newer = cache.rules_of(&numbered(9_999, 3)).expect("rules");
        cache.rules_of(&numbered(9_999, 2)).expect("rules");
        assert!(Arc::ptr_eq(
            &newer,
            &cache.rules_of(&numbered(9_999, 3)).expect("rules")
        ));
    }
}
