//! AWS's "meaning of public" for bucket policies.
//!
//! A policy is public unless every Allow is to fixed principals, or is narrowed to fixed values (no
//! wildcard, no variable) of a key that says where a request comes from. Used by
//! `GetBucketPolicyStatus`, `BlockPublicPolicy` and `RestrictPublicBuckets`.
//!
//! Narrowing conditions count only if they hold for nobody else: `…IfExists`, `ForAllValues:` and
//! negated operators hold for requests without the key, so they do not count.

use crate::arn::ArnPattern;
use crate::condition::{Comparison, Condition, Expected, Operator, Set};
use crate::document::{Effect, Policy, Statement};
use crate::pattern::Template;
use crate::principal::{Named, PrincipalRule};

/// Keys whose fixed values make a grant non-public, in lower case. `aws:SourceIp` and
/// `s3:DataAccessPointArn` have rules of their own below.
const NARROWING: &[&str] = &[
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

/// What `aws:userid` says of a request that nobody signed.
const ANONYMOUS: &str = "anonymous";

/// Does the policy grant anything to the public?
pub fn is_public(policy: &Policy) -> bool {
    #[cfg(sabotage)]
    if engine_types::sabotage("policy-never-public") {
        return false;
    }
    policy.statements().iter().any(grants_to_public)
}

fn grants_to_public(statement: &Statement) -> bool {
    let open = match &statement.principals {
        PrincipalRule::Attached => false,
        PrincipalRule::AllBut(_) => true,
        PrincipalRule::Only(named) => {
            // An identity provider lets in whoever it pleases: AWS's first example of "public".
            named
                .iter()
                .any(|one| matches!(one, Named::Everyone { .. } | Named::Federated(_)))
        }
    };
    statement.effect == Effect::Allow && open && !statement.conditions.iter().any(narrows)
}

fn narrows(condition: &Condition) -> bool {
    let Operator {
        set,
        comparison,
        negated,
        if_exists,
    } = condition.operator;
    if negated || if_exists || set == Some(Set::All) {
        return false;
    }
    let of_nobody = |template: &Template| {
        condition.key == "aws:userid" && template.literal_start().eq_ignore_ascii_case(ANONYMOUS)
    };
    let fixed = |expected: &Expected| match expected {
        Expected::Text(template) if of_nobody(template) => false,
        // AWS looks at the characters, not at what the operator makes of them.
        Expected::Text(template) => template.is_plain(),
        Expected::Arn(pattern) => pattern.is_fixed(),
        _ => false,
    };
    let texts = matches!(
        comparison,
        Comparison::Equals | Comparison::EqualsIgnoreCase | Comparison::Like | Comparison::Arn
    );
    match condition.key.as_str() {
        "aws:sourceip" => condition
            .values
            .iter()
            .all(|value| matches!(value, Expected::Network(network) if !network.is_broad())),
        // The access point's name may vary as long as its account does not.
        "s3:dataaccesspointarn" => condition.values.iter().all(|value| match value {
            Expected::Arn(pattern) => pattern.fixed_account(),
            Expected::Text(_) => texts && fixed_access_point_account(value),
            _ => false,
        }),
        key if NARROWING.contains(&key) => texts && condition.values.iter().all(fixed),
        _ => false,
    }
}

fn fixed_access_point_account(value: &Expected) -> bool {
    match value {
        Expected::Text(template) => {
            ArnPattern::of_text(template).is_some_and(|arn| arn.fixed_account())
        }
        _ => false,
    }
}
