//! Whom a stored thing is counted against, and the charges of one command gathered.

use crate::counter::Delta;
use engine_types::{AccountId, BucketId, ChargedTo, KeyId, StorageClass};
use std::collections::BTreeMap;

/// What a counter counts. Every stored thing is counted once in each scope it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// The bucket owner's account: always.
    Account(AccountId),
    /// The writer's key, where it is of that account.
    Key(KeyId),
    /// The bucket.
    Bucket(BucketId),
}

/// Changes of counters, summed per scope and class, in a fixed order: a command that replaces one
/// version by another of the same size touches no row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Charges(BTreeMap<(Scope, StorageClass), Delta>);

impl Charges {
    /// Counts `delta` in every scope of a thing in `bucket` that `to` pays for.
    pub fn add(&mut self, bucket: BucketId, to: ChargedTo, class: &StorageClass, delta: Delta) {
        let key = to.key.map(Scope::Key);
        let scopes = [
            Some(Scope::Account(to.account)),
            key,
            Some(Scope::Bucket(bucket)),
        ];
        for scope in scopes.into_iter().flatten() {
            *self.0.entry((scope, class.clone())).or_default() += delta;
        }
    }

    /// What changes, without what cancelled out.
    pub fn into_changes(self) -> impl Iterator<Item = (Scope, StorageClass, Delta)> {
        let kept = self.0.into_iter().filter(|(_, delta)| !delta.is_zero());
        kept.map(|((scope, class), delta)| (scope, class, delta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_each_scope_once_and_drops_what_cancels() {
        let (bucket, class) = (BucketId(7), StorageClass::standard());
        let keyed = ChargedTo {
            account: AccountId(1),
            key: Some(KeyId(2)),
        };
        let plain = ChargedTo {
            account: AccountId(1),
            key: None,
        };
        let mut charges = Charges::default();
        charges.add(bucket, keyed, &class, Delta::object(10));
        charges.add(bucket, plain, &class, -Delta::object(10));
        let found: Vec<_> = charges.into_changes().collect();
        assert_eq!(found, [(Scope::Key(KeyId(2)), class, Delta::object(10))]);
    }

    #[test]
    fn classes_are_apart() {
        let to = ChargedTo {
            account: AccountId(1),
            key: None,
        };
        let cold = StorageClass::parse("GLACIER_IR").unwrap();
        let mut charges = Charges::default();
        charges.add(BucketId(7), to, &StorageClass::standard(), Delta::bytes(1));
        charges.add(BucketId(7), to, &cold, Delta::bytes(2));
        assert_eq!(charges.into_changes().count(), 4);
    }
}
