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
