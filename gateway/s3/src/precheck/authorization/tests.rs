//! Signatures of every wrong form.

use super::super::tests::{code, head};
use super::*;

const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, \
                    SignedHeaders=host;x-amz-date, Signature=00";
const MALFORMED: &str = "AuthorizationHeaderMalformed";
const WRONG_QUERY: &str = "AuthorizationQueryParametersError";
const NOON: (&str, &str) = ("x-amz-date", "20260101T120000Z");

fn with(value: &str, more: &[(&str, &str)]) -> String {
    let headers = [&[("authorization", value)], more].concat();
    code(&head("GET", "/b/k", &headers), Some(0))
}

#[test]
fn authorization_headers_get_awss_codes() {
    assert_eq!(with("", &[NOON]), "ok");
    for (value, expected) in [
        (GOOD, "ok"),
        ("AWS AK:sig", "InvalidRequest"),
        ("Bearer x", "InvalidArgument"),
        ("AWS4-HMAC-SHA256", MALFORMED),
        (
            "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0",
            MALFORMED,
        ),
    ] {
        assert_eq!(with(value, &[NOON]), expected, "{value}");
    }
    for (from, to, expected) in [
        ("AK/20260101/us-east-1/s3/aws4_request", "AK", MALFORMED),
        ("AK/", "/", MALFORMED),
        ("/20260101/", "/2026/", MALFORMED),
        ("/20260101/", "/20260102/", MALFORMED),
        ("aws4_request", "aws5_request", MALFORMED),
        ("/s3/", "/ec2/", MALFORMED),
        ("/s3/", "/iam/", "ok"),
        ("host;x-amz-date", "", MALFORMED),
        ("Signature=00", "Signature=", MALFORMED),
        ("Signature=00", "Signature=00, X=y", MALFORMED),
        ("host;x-amz-date", "x-amz-date", "AccessDenied"),
        ("host;x-amz-date", "host", "AccessDenied"),
        ("host;x-amz-date", "Host;X-Amz-Date", "ok"),
    ] {
        assert_eq!(
            with(&GOOD.replace(from, to), &[NOON]),
            expected,
            "{from}: {to}"
        );
    }
    let both = head("GET", "/b/k?X-Amz-Algorithm=x", &[("authorization", GOOD)]);
    assert_eq!(code(&both, Some(0)), "InvalidArgument");
    let two = head(
        "GET",
        "/b/k",
        &[("authorization", GOOD), ("authorization", "")],
    );
    assert_eq!(code(&two, Some(0)), "InvalidArgument");
    let old = head("GET", "/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", &[]);
    assert_eq!(code(&old, Some(0)), "InvalidRequest");
}

#[test]
fn a_date_there_must_be_and_date_alone_will_do() {
    let alone = GOOD.replace("host;x-amz-date", "date;host");
    for (more, expected) in [
        (&[][..], "AccessDenied"),
        (&[("x-amz-date", "")], "AccessDenied"),
        (&[("x-amz-date", "yesterday")], "AccessDenied"),
        (&[("x-amz-date", "2026-01-01T00:00:00Z")], "AccessDenied"),
        (&[("x-amz-date", "20260132T000000Z")], "AccessDenied"),
        (&[("date", "Thu, 01 Jan 2026 12:00:00 GMT")], "ok"),
        (&[("date", "20260101T120000Z")], "ok"),
        (&[("date", "noon")], "AccessDenied"),
        (&[("date", "Fri, 02 Jan 2026 12:00:00 GMT")], MALFORMED),
    ] {
        assert_eq!(with(&alone, more), expected, "{more:?}");
    }
}

#[test]
fn mending_says_the_date_where_s3s_looks_for_it() {
    let date = ("date", "Thu, 01 Jan 2026 12:00:00 GMT");
    let mut head = head("GET", "/b/k", &[("authorization", GOOD), date]);
    mend(&mut head);
    assert_eq!(head.headers["x-amz-date"], NOON.1);
    head.headers
        .insert("x-amz-date", HeaderValue::from_static("x"));
    mend(&mut head);
    assert_eq!(head.headers["x-amz-date"], "x");
    head.headers
        .insert(header::AUTHORIZATION, HeaderValue::from_static(""));
    mend(&mut head);
    assert!(!head.headers.contains_key(header::AUTHORIZATION));
}

#[test]
fn presigned_urls_get_awss_codes() {
    let good = "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256\
                &X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request\
                &X-Amz-Date=20260101T120000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host\
                &X-Amz-Signature=00";
    let of = |uri: &str, headers: &[(&str, &str)]| code(&head("GET", uri, headers), Some(0));
    assert_eq!(of(good, &[]), "ok");
    assert_eq!(of(good, &[NOON]), "AccessDenied");
    for name in PRESIGNED {
        assert_eq!(
            of(&good.replace(name, "X-Other"), &[]),
            WRONG_QUERY,
            "{name}"
        );
        assert_eq!(of(&format!("{good}&{name}=x"), &[]), WRONG_QUERY, "{name}");
    }
    for (from, to, expected) in [
        ("HMAC-SHA256", "HMAC-SHA1", WRONG_QUERY),
        ("2F20260101", "2F20260102", WRONG_QUERY),
        ("us-east-1", "us-east-2", WRONG_QUERY),
        ("2Fs3", "2Fec2", WRONG_QUERY),
        ("2Faws4_request", "2Faws5_request", WRONG_QUERY),
        ("20260101T120000Z", "20260101T120000", WRONG_QUERY),
        ("SignedHeaders=host", "SignedHeaders=", WRONG_QUERY),
        ("SignedHeaders=host", "SignedHeaders=range", "AccessDenied"),
    ] {
        assert_eq!(of(&good.replace(from, to), &[]), expected, "{from}: {to}");
    }
}

#[test]
fn the_scope_names_the_service() {
    let of = |value: &str| {
        let head = head("GET", "/", &[("authorization", value)]);
        scope_service(&head.headers).map(str::to_owned)
    };
    assert_eq!(of(GOOD).as_deref(), Some("s3"));
    let iam = "AWS4-HMAC-SHA256 Credential=AK/1//iam/aws4_request, x";
    assert_eq!(of(iam).as_deref(), Some("iam"));
    assert_eq!(of("AWS4-HMAC-SHA256 Credential=AK"), None);
}
