//! Limits of documents at the limit and one past it, and parsers that never panic.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use gateway_policy::{
    BUCKET_POLICY_BYTES_MAX, ErrorKind, GROUP_INLINE_CHARS_MAX, MANAGED_POLICY_CHARS_MAX, Mode,
    Policy, Principal, ROLE_INLINE_CHARS_MAX, Request, SESSION_POLICY_CHARS_MAX, Source,
    TEXT_BYTES_MAX, TRUST_POLICY_CHARS_MAX, USER_INLINE_CHARS_MAX, Version, evaluate, is_public,
    non_blank_chars,
};
use proptest::prelude::*;

const BUCKET: &str = r#"{"Version":"2012-10-17","Id":"x","Statement":{"Sid":"one","Effect":"Allow","Principal":{"AWS":["111122223333","*"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*","Condition":{"StringLike":{"aws:Referer":["a*","${aws:username, 'x'}"]},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"},"NumericLessThan":{"s3:max-keys":10}}}}"#;
const IDENTITY: &str =
    r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"},"Id":"x"}"#;
const TRUST: &str =
    r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*"},"Id":"x"}"#;

/// The document with its Id lengthened until `count` answers `target`.
fn padded(document: &str, target: usize, count: fn(&str) -> usize) -> String {
    let missing = target - count(document);
    document.replacen(
        r#""Id":"x"#,
        &format!(r#""Id":"x{}"#, "y".repeat(missing)),
        1,
    )
}

fn limit(document: &str, max: usize, count: fn(&str) -> usize, mode: Mode<'_>) {
    assert!(Policy::parse(&padded(document, max, count), mode).is_ok());
    let error = Policy::parse(&padded(document, max + 1, count), mode).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
}

#[test]
fn limits_of_size() {
    let bytes: fn(&str) -> usize = str::len;
    let bucket = Mode::Bucket {
        bucket: "b",
        mismatch: gateway_policy::Mismatch::Refuse,
    };
    limit(BUCKET, BUCKET_POLICY_BYTES_MAX, bytes, bucket);
    limit(IDENTITY, SESSION_POLICY_CHARS_MAX, bytes, Mode::Session);
    limit(TRUST, TRUST_POLICY_CHARS_MAX, non_blank_chars, Mode::Trust);
    for chars_max in [
        USER_INLINE_CHARS_MAX,
        GROUP_INLINE_CHARS_MAX,
        ROLE_INLINE_CHARS_MAX,
        MANAGED_POLICY_CHARS_MAX,
    ] {
        limit(
            IDENTITY,
            chars_max,
            non_blank_chars,
            Mode::Identity { chars_max },
        );
    }
}

#[test]
fn white_space_counts_only_where_aws_counts_it() {
    let blanks = |count: usize| format!("{IDENTITY}{}", " ".repeat(count));
    assert!(Policy::identity(&blanks(MANAGED_POLICY_CHARS_MAX)).is_ok());
    assert!(Policy::identity(&blanks(TEXT_BYTES_MAX - IDENTITY.len())).is_ok());
    let error = Policy::identity(&blanks(TEXT_BYTES_MAX - IDENTITY.len() + 1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(Policy::parse(&blanks(SESSION_POLICY_CHARS_MAX), Mode::Session).is_err());
}

#[test]
fn what_was_written_can_be_read() {
    let policy = Policy::bucket(BUCKET, "b").unwrap();
    assert_eq!(policy.version(), Version::V2012);
    assert_eq!(policy.id(), Some("x"));
    let statement = &policy.statements()[0];
    assert_eq!(statement.sid(), Some("one"));
    assert_eq!(statement.named_principals().len(), 2);
    assert_eq!(
        Policy::identity(IDENTITY).unwrap().version(),
        Version::V2008
    );
}

/// Whatever parses can be evaluated.
fn exercise(text: &str) {
    let bucket = Mode::Bucket {
        bucket: "b",
        mismatch: gateway_policy::Mismatch::Refuse,
    };
    let identity = Mode::Identity {
        chars_max: MANAGED_POLICY_CHARS_MAX,
    };
    for mode in [bucket, identity, Mode::Session, Mode::Trust] {
        match Policy::parse(text, mode) {
            Ok(policy) => {
                let request =
                    Request::new(Principal::Anonymous, "s3:GetObject", "arn:aws:s3:::b/k")
                        .with("aws:Referer", "a")
                        .with("aws:SourceIp", "::1")
                        .with("aws:CurrentTime", "2024-02-30")
                        .with("s3:max-keys", "x");
                let _ = evaluate(
                    &[Source {
                        name: "p",
                        policy: &policy,
                    }],
                    &request,
                );
                let _ = is_public(&policy);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// JSON of about the right form: names that mean something in random places.
fn nearly_policies() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "Version",
        "Statement",
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "AWS",
        "StringLike",
        "IpAddress",
        "ForAllValues:StringNotEqualsIfExists",
        "Null",
        "DateEquals",
        "ArnLike",
        "BinaryEquals",
        "aws:SourceIp",
        "Allow",
        "Deny",
        "*",
        "s3:*",
        "arn:aws:s3:::b/*",
        "2012-10-17",
        "${aws:username",
        "${a:b,'c'}",
        "10.0.0.0/8",
        "true",
    ]);
    let text = word.clone().prop_map(|word| format!("\"{word}\""));
    let leaf = prop_oneof![6 => text, 1 => Just("1".to_owned()), 1 => Just("null".to_owned())];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec((word.clone(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn parsers_never_panic_on_text(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn parsers_never_panic_on_nearly_policies(text in nearly_policies()) {
        exercise(&text);
    }

    #[test]
    fn parsers_never_panic_on_damaged_policies(
        at in 0..BUCKET.len(),
        length in 0usize..12,
        with in "[\"{}\\[\\]:,a*$/0-9\\\\]{0,6}",
    ) {
        let end = (at + length).min(BUCKET.len());
        exercise(&format!("{}{with}{}", &BUCKET[..at], &BUCKET[end..]));
    }
}

#[test]
fn question_marks_at_the_limit_and_one_past_it() {
    for (count, good) in [
        (gateway_policy::ONES_MAX, true),
        (gateway_policy::ONES_MAX + 1, false),
    ] {
        // Escaped ones count as much as plain ones.
        let pattern = format!("{}\\u003f", "?".repeat(count - 1));
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::bucket/*","Condition":{{"StringLike":{{"aws:UserAgent":"*{pattern}b*"}}}}}}]}}"#
        );
        assert_eq!(Policy::bucket(&text, "bucket").is_ok(), good, "{count}");
    }
}
