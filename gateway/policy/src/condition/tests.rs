//! Names of operators, and what each makes of values.

use super::*;

#[test]
fn operator_names() {
    let families = [
        "Equals",
        "NotEquals",
        "LessThan",
        "LessThanEquals",
        "GreaterThan",
    ];
    let mut names: Vec<String> = [
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
        "Bool",
        "BinaryEquals",
        "IpAddress",
        "NotIpAddress",
        "ArnEquals",
        "ArnLike",
        "ArnNotEquals",
        "ArnNotLike",
        "NumericGreaterThanEquals",
        "DateGreaterThanEquals",
    ]
    .map(String::from)
    .to_vec();
    names.extend(
        families
            .iter()
            .flat_map(|f| [format!("Numeric{f}"), format!("Date{f}")]),
    );
    for name in &names {
        for prefix in ["", "ForAllValues:", "ForAnyValue:"] {
            for suffix in ["", "IfExists"] {
                let whole = format!("{prefix}{name}{suffix}");
                let operator = Operator::parse(&whole).unwrap_or_else(|| panic!("{whole}"));
                assert_eq!(operator.if_exists, !suffix.is_empty());
                assert_eq!(operator.set.is_some(), !prefix.is_empty());
                assert_eq!(operator.negated, whole.contains("Not"), "{whole}");
            }
        }
    }
    for bad in [
        "NullIfExists",
        "ForAnyValue:Null",
        "StringEqual",
        "stringEquals",
        "Numeric",
        "Date",
        "ForSome:Bool",
        "",
        "IfExists",
        "BoolIfExistsIfExists",
        "NotBool",
    ] {
        assert!(Operator::parse(bad).is_none(), "{bad}");
    }
    assert!(Operator::parse("Null").is_some());
}

fn condition(operator: &str, key: &str, value: &str) -> Condition {
    let rules = ConditionRules {
        variables: true,
        known_keys_only: true,
    };
    let text = format!(r#"{{"{operator}":{{"{key}":"{value}"}}}}"#);
    let json = Json::parse(&text).unwrap();
    parse(&json, rules, &At::root()).unwrap().remove(0)
}

#[test]
fn two_tags_that_differ_in_case_grant_nothing_and_dodge_no_deny() {
    let tag = "s3:RequestObjectTag/sec";
    let mut context = Context::default();
    context.add("s3:RequestObjectTag/sec", "secret");
    context.add("s3:RequestObjectTag/Sec", "public");
    for operator in [
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLikeIfExists",
        "ForAnyValue:StringEquals",
        "ForAllValues:StringNotEquals",
    ] {
        for value in ["public", "secret", "other"] {
            let condition = condition(operator, tag, value);
            assert!(
                !condition.holds(Effect::Allow, &context),
                "{operator} {value}"
            );
            assert!(
                condition.holds(Effect::Deny, &context),
                "{operator} {value}"
            );
        }
    }
    // Many-valued by nature, and a tag alone in whatever case.
    context.add("s3:RequestObjectTagKeys", "sec");
    context.add("s3:RequestObjectTagKeys", "Sec");
    let keys = condition("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", "Sec");
    assert!(keys.holds(Effect::Allow, &context));
    let mut one = Context::default();
    one.add("s3:ExistingObjectTag/SEC", "public");
    let existing = condition("StringEquals", "s3:ExistingObjectTag/sec", "public");
    assert!(existing.holds(Effect::Allow, &one));
}

#[test]
fn values_at_the_limit_of_wildcards_and_one_past_it() {
    for (bytes, looked_at) in [
        (WILD_VALUE_BYTES_MAX, true),
        (WILD_VALUE_BYTES_MAX + 1, false),
    ] {
        let mut context = Context::default();
        context.add("aws:UserAgent", "a".repeat(bytes));
        let like = condition("StringLike", "aws:UserAgent", "a*");
        assert_eq!(like.holds(Effect::Allow, &context), looked_at);
        assert!(like.holds(Effect::Deny, &context));
        let other = condition("StringLike", "aws:UserAgent", "b*");
        assert_eq!(other.holds(Effect::Deny, &context), !looked_at);
        let whole = condition("StringNotEquals", "aws:UserAgent", "b");
        assert!(
            whole.holds(Effect::Allow, &context),
            "no wildcard, no bound"
        );
    }
}
