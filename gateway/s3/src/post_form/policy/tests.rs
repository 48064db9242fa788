//! Policies over tables.

use super::*;
use serde_json::json;

const NOW: &str = "2026-01-02T03:04:05Z";

fn parse(policy: &Value) -> S3Result<Policy> {
    Policy::parse(&STANDARD.encode(policy.to_string()))
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in list {
        fields.add(name, (*value).to_owned()).expect("once");
    }
    fields
}

/// `ok` or the code of the error.
fn judge(conditions: &Value, form: &[(&str, &str)], length: u64) -> String {
    let policy = json!({"expiration": "2026-01-02T03:05:00Z", "conditions": conditions});
    let now = NOW.parse().expect("time");
    let verdict = parse(&policy).and_then(|p| p.check(&fields(form), "b", length, now));
    verdict.map_or_else(|e| e.code().as_str().to_owned(), |()| "ok".into())
}

#[test]
fn documents_are_parsed_strictly() {
    let fine = "2026-01-02T03:05:00.000Z";
    for (policy, valid) in [
        (json!({"expiration": fine, "conditions": []}), true),
        (json!({"expiration": fine, "conditions": [{}]}), false),
        (json!({"expiration": fine}), false),
        (json!({"conditions": []}), false),
        (json!({"EXPIRATION": fine, "conditions": []}), false),
        (json!({"expiration": fine, "CONDITIONS": []}), false),
        (
            json!({"expiration": "2026-01-02 03:05:00.123+00:00", "conditions": []}),
            false,
        ),
        (
            json!({"expiration": "2026-01-02T03:05:00+00:00", "conditions": []}),
            false,
        ),
        (
            json!({"expiration": fine, "conditions": [["content-length-range", 0]]}),
            false,
        ),
        (
            json!({"expiration": fine, "conditions": [["content-length-range", -1, 0]]}),
            false,
        ),
        (
            json!({"expiration": fine, "conditions": [["content-length-range", 2, 1]]}),
            false,
        ),
        (
            json!({"expiration": fine, "conditions": [["content-length-range", "0", "5"]]}),
            true,
        ),
        (
            json!({"expiration": fine, "conditions": [["eq", "key", "a"]]}),
            false,
        ),
        (
            json!({"expiration": fine, "conditions": [["ends-with", "$key", "a"]]}),
            false,
        ),
        (json!([]), false),
    ] {
        assert_eq!(parse(&policy).is_ok(), valid, "{policy}");
    }
    assert!(Policy::parse("no base64!").is_err());
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn conditions_hold_or_fail_as_aws_has_it() {
    let key = |more: Value| {
        let mut list = vec![
            json!({"bUcKeT": "b"}),
            json!(["StArTs-WiTh", "$KeY", "foo"]),
        ];
        list.extend(more.as_array().cloned().unwrap_or_default());
        Value::Array(list)
    };
    let foo = ("key", "foo.txt");
    for (conditions, form, length, expected) in [
        (key(json!([])), vec![foo], 3, "ok"),
        (key(json!([])), vec![("key", "bar")], 3, "AccessDenied"),
        (
            key(json!([])),
            vec![foo, ("acl", "private")],
            3,
            "AccessDenied",
        ),
        (
            key(json!([{"acl": "private"}])),
            vec![foo, ("aCl", "private")],
            3,
            "ok",
        ),
        (
            key(json!([])),
            vec![
                foo,
                ("x-ignore-a", "1"),
                ("policy", "p"),
                ("signature", "s"),
            ],
            3,
            "ok",
        ),
        (
            key(json!([])),
            vec![foo, ("x-amz-checksum-sha256", "x")],
            3,
            "ok",
        ),
        (
            key(json!([["eq", "$x-amz-meta-a", ""]])),
            vec![foo, ("x-amz-meta-a", "b")],
            3,
            "AccessDenied",
        ),
        (
            key(json!([["starts-with", "$x-amz-meta-a", "bar"]])),
            vec![foo],
            3,
            "AccessDenied",
        ),
        (
            key(json!([["starts-with", "$tagging", ""]])),
            vec![foo],
            3,
            "ok",
        ),
        (
            key(json!([["content-length-range", 3, 3]])),
            vec![foo],
            3,
            "ok",
        ),
        (
            key(json!([["content-length-range", 3, 3]])),
            vec![foo],
            4,
            "EntityTooLarge",
        ),
        (
            key(json!([["content-length-range", 3, 3]])),
            vec![foo],
            2,
            "EntityTooSmall",
        ),
        (
            key(json!([["starts-with", "$content-type", "image/"]])),
            vec![foo, ("content-type", "image/a, text/b")],
            3,
            "AccessDenied",
        ),
        (
            key(json!([["starts-with", "$content-type", "image/"]])),
            vec![foo, ("content-type", "image/a, image/b")],
            3,
            "ok",
        ),
        (
            key(json!([])),
            vec![foo, ("bucket", "c")],
            3,
            "AccessDenied",
        ),
        (
            json!([{"bucket": "c"}, ["eq", "$key", "foo.txt"]]),
            vec![foo],
            3,
            "AccessDenied",
        ),
        (
            json!([["eq", "$key", "foo.txt"]]),
            vec![foo],
            3,
            "AccessDenied",
        ),
        (
            json!([["starts-with", "$bucket", ""], ["eq", "$key", "foo.txt"]]),
            vec![foo, ("bucket", "c")],
            3,
            "AccessDenied",
        ),
    ] {
        assert_eq!(
            judge(&conditions, &form, length),
            expected,
            "{conditions} {form:?}"
        );
    }
}

#[test]
fn a_policy_ends_with_its_expiration() {
    for (now, expected) in [
        ("2026-01-02T03:04:59Z", true),
        ("2026-01-02T03:05:00Z", false),
    ] {
        let policy = json!({"expiration": "2026-01-02T03:05:00Z", "conditions": [{"bucket": "b"}]});
        let policy = parse(&policy).expect("parses");
        let verdict = policy.check(&fields(&[]), "b", 0, now.parse().expect("time"));
        assert_eq!(verdict.is_ok(), expected, "{now}");
    }
}
