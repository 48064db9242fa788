//! The `Condition` element.
//!
//! All conditions of a statement must hold; of one condition's values any may match (for a negated
//! operator: none may). Where a key is absent, a positive operator fails, a negated one holds,
//! `…IfExists` holds, `ForAllValues` holds and `ForAnyValue` fails, all as AWS documents.
//!
//! A key with several values under an operator without a set prefix: AWS leaves it open. Here a
//! positive operator holds if any value matches, a negated one if none does.
//!
//! Tags have one value; several are tags whose keys differ in case alone, which condition keys cannot
//! tell apart. Which one is meant is open, and a value too long for a wildcard is not looked at: in
//! both cases a Deny holds and an Allow does not, whatever the operator.
//!
//! A comparison can be undecidable: a variable without value, or a request value that is no number,
//! date or address. A positive operator then fails. A negated one must not grant anything for that
//! reason: it fails in an Allow and holds in a Deny. So does `IpAddress`: the address is what a proxy
//! passes on, and whoever sends what cannot be read must not dodge a Deny by it.

use std::net::IpAddr;

use crate::arn::ArnPattern;
use crate::condition_keys;
use crate::document::Effect;
use crate::error::{At, PolicyError};
use crate::json::Json;
use crate::literal::{Decimal, Moment, Network, base64};
use crate::pattern::{Syntax, Template};
use crate::request::Context;

/// Longest value of a request that is compared with wildcards, bytes; twice the longest object key. With
/// [`crate::ONES_MAX`] it bounds what a request can cost: the work of a pattern with `?` is the product
/// of its length and the value's.
pub const WILD_VALUE_BYTES_MAX: usize = 2_048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    /// `true`: the key is absent.
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    All,
    Any,
}

/// An operator by its name: `ForAnyValue:StringNotLikeIfExists` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) set: Option<Set>,
    pub(crate) comparison: Comparison,
    pub(crate) negated: bool,
    pub(crate) if_exists: bool,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (set, plain) = match name.split_once(':') {
            Some(("ForAllValues", plain)) => (Some(Set::All), plain),
            Some(("ForAnyValue", plain)) => (Some(Set::Any), plain),
            Some(_) => return None,
            None => (None, name),
        };
        let (plain, if_exists) = match plain.strip_suffix("IfExists") {
            Some(plain) => (plain, true),
            None => (plain, false),
        };
        let (comparison, negated) = comparison(plain)?;
        // Null asks for presence itself: neither suffix nor prefix has a meaning with it.
        if comparison == Comparison::Null && (if_exists || set.is_some()) {
            return None;
        }
        Some(Self {
            set,
            comparison,
            negated,
            if_exists,
        })
    }
}

fn comparison(name: &str) -> Option<(Comparison, bool)> {
    Some(match name {
        "StringEquals" => (Comparison::Equals, false),
        "StringNotEquals" => (Comparison::Equals, true),
        "StringEqualsIgnoreCase" => (Comparison::EqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Comparison::EqualsIgnoreCase, true),
        "StringLike" => (Comparison::Like, false),
        "StringNotLike" => (Comparison::Like, true),
        "Bool" => (Comparison::Bool, false),
        "BinaryEquals" => (Comparison::Binary, false),
        "IpAddress" => (Comparison::Address, false),
        "NotIpAddress" => (Comparison::Address, true),
        "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
        "Null" => (Comparison::Null, false),
        _ => {
            let (kind, order): (fn(Order) -> Comparison, _) = match name.strip_prefix("Numeric") {
                Some(order) => (Comparison::Number, order),
                None => (Comparison::Date, name.strip_prefix("Date")?),
            };
            let (order, negated) = match order {
                "Equals" => (Order::Equal, false),
                "NotEquals" => (Order::Equal, true),
                "LessThan" => (Order::Less, false),
                "LessThanEquals" => (Order::LessOrEqual, false),
                "GreaterThan" => (Order::Greater, false),
                "GreaterThanEquals" => (Order::GreaterOrEqual, false),
                _ => return None,
            };
            (kind(order), negated)
        }
    })
}

/// A value of the policy, parsed as its operator needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    Text(Template),
    Arn(ArnPattern),
    Number(Decimal),
    Date(Moment),
    Bytes(Vec<u8>),
    Network(Network),
    Absent(bool),
}

impl Expected {
    fn parse(comparison: Comparison, text: &str, variables: bool) -> Result<Self, String> {
        let bad = |what: &str| format!("`{text}` is not {what}");
        let flag = || match text {
            _ if text.eq_ignore_ascii_case("true") => Ok(true),
            _ if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(bad("true or false")),
        };
        let template = |wildcards| {
            Template::parse(
                text,
                Syntax {
                    wildcards,
                    variables,
                },
            )
        };
        Ok(match comparison {
            Comparison::Equals | Comparison::EqualsIgnoreCase => Self::Text(template(false)?),
            Comparison::Like => Self::Text(template(true)?),
            Comparison::Arn => Self::Arn(ArnPattern::condition(text, variables)?),
            Comparison::Bool => {
                let template = template(false)?;
                if !template.has_variables() {
                    flag()?;
                }
                Self::Text(template)
            }
            Comparison::Null => Self::Absent(flag()?),
            Comparison::Number(_) => {
                Self::Number(Decimal::parse(text).ok_or_else(|| bad("a number"))?)
            }
            Comparison::Date(_) => Self::Date(
                Moment::parse(text)
                    .ok_or_else(|| bad("a date (ISO 8601 with offset, or epoch)"))?,
            ),
            Comparison::Binary => Self::Bytes(base64(text).ok_or_else(|| bad("base64"))?),
            Comparison::Address => Self::Network(
                Network::parse(text).ok_or_else(|| bad("an IP address or a CIDR range"))?,
            ),
        })
    }

    /// Does the request's value match? `None`: undecidable.
    fn matches(&self, comparison: Comparison, actual: &str, context: &Context) -> Option<bool> {
        match self {
            Self::Text(template) if comparison == Comparison::Like => {
                template.matches(actual, context).ok()
            }
            Self::Text(template) => {
                let wanted = template.render(context).ok()?;
                Some(match comparison {
                    Comparison::Equals => wanted == actual,
                    Comparison::Bool => wanted.eq_ignore_ascii_case(actual),
                    _ => wanted.to_lowercase() == actual.to_lowercase(),
                })
            }
            Self::Arn(pattern) => pattern.matches(actual, context).ok(),
            Self::Number(wanted) => match comparison {
                Comparison::Number(order) => Some(order.holds(Decimal::parse(actual)?.cmp(wanted))),
                _ => None,
            },
            Self::Date(wanted) => match comparison {
                Comparison::Date(order) => Some(order.holds(Moment::parse(actual)?.cmp(wanted))),
                _ => None,
            },
            Self::Bytes(wanted) => Some(base64(actual)? == *wanted),
            Self::Network(network) => Some(network.contains(actual.parse::<IpAddr>().ok()?)),
            Self::Absent(_) => None,
        }
    }
}

/// One operator applied to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) operator: Operator,
    /// In lower case.
    pub(crate) key: String,
    /// At least one.
    pub(crate) values: Vec<Expected>,
}

impl Condition {
    pub(crate) fn holds(&self, effect: Effect, context: &Context) -> bool {
        let actual = context.values(&self.key);
        let Operator {
            set,
            comparison,
            negated,
            if_exists,
        } = self.operator;
        if comparison == Comparison::Null {
            return self.values.contains(&Expected::Absent(actual.is_empty()));
        }
        let two_tags = condition_keys::is_of_a_tag(&self.key) && actual.len() > 1;
        if two_tags || self.is_too_long_for(actual) {
            return effect == Effect::Deny;
        }
        // AWS: for the set operators a set of nothing but empty strings is an empty set.
        let nothing = actual.is_empty() || (set.is_some() && actual.iter().all(String::is_empty));
        if nothing {
            return match set {
                _ if if_exists && actual.is_empty() => true,
                Some(Set::All) => true,
                Some(Set::Any) => false,
                None => negated,
            };
        }
        let passes = |value: &String| match (self.any_matches(value, context), negated) {
            (Some(hit), negated) => hit != negated,
            (None, false) => {
                effect == Effect::Deny && matches!(self.operator.comparison, Comparison::Address)
            }
            (None, true) => effect == Effect::Deny,
        };
        match (set, negated) {
            (Some(Set::All), _) | (None, true) => actual.iter().all(passes),
            (Some(Set::Any), _) | (None, false) => actual.iter().any(passes),
        }
    }

    fn is_too_long_for(&self, actual: &[String]) -> bool {
        matches!(self.operator.comparison, Comparison::Like | Comparison::Arn)
            && actual
                .iter()
                .any(|value| value.len() > WILD_VALUE_BYTES_MAX)
    }

    /// `None` if no value matches and one is undecidable.
    fn any_matches(&self, actual: &str, context: &Context) -> Option<bool> {
        let mut decided = true;
        for expected in &self.values {
            match expected.matches(self.operator.comparison, actual, context) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => decided = false,
            }
        }
        decided.then_some(false)
    }
}

/// What the kind of document allows in its conditions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConditionRules {
    pub(crate) variables: bool,
    /// Refuse `aws:` and `s3:` keys that do not exist, as S3 does for bucket policies.
    pub(crate) known_keys_only: bool,
}

/// Parses the whole `Condition` element. An empty object holds always.
pub(crate) fn parse(
    json: &Json,
    rules: ConditionRules,
    at: &At,
) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, keys) in json.object(at)? {
        let at = at.field(name);
        let operator = Operator::parse(name)
            .ok_or_else(|| at.malformed(format!("Invalid Condition type : {name}")))?;
        let keys = keys.object(&at)?;
        if keys.is_empty() {
            return Err(at.malformed("a condition operator without a condition key"));
        }
        for (key, values) in keys {
            conditions.push(parse_one(operator, key, values, rules, &at.field(key))?);
        }
    }
    Ok(conditions)
}

fn parse_one(
    operator: Operator,
    key: &str,
    values: &Json,
    rules: ConditionRules,
    at: &At,
) -> Result<Condition, PolicyError> {
    let known = !rules.known_keys_only || condition_keys::is_known(key);
    if !condition_keys::is_well_formed(key) || !known {
        return Err(at.malformed(format!("Policy has an invalid condition key : {key}")));
    }
    let mut parsed = Vec::new();
    for (at, value) in values.one_or_list(at) {
        let text = match value {
            Json::Text(text) | Json::Number(text) => text.as_str(),
            Json::Bool(true) => "true",
            Json::Bool(false) => "false",
            other => {
                return Err(at.malformed(format!("expected a value, found {}", other.kind())));
            }
        };
        parsed.push(
            Expected::parse(operator.comparison, text, rules.variables)
                .map_err(|message| at.malformed(message))?,
        );
    }
    if parsed.is_empty() {
        return Err(at.malformed("a condition key without values"));
    }
    Ok(Condition {
        operator,
        key: key.to_lowercase(),
        values: parsed,
    })
}

#[cfg(test)]
mod tests;
