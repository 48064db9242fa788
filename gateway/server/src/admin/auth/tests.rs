//! What is believed, and everything that is not. Signed by AWS's own library.

use super::*;
use bench::client::{Client, Payload, Target};
use bytes::Bytes;
use http::Method;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "a secret of some length";

fn target(region: &str) -> Target {
    Target {
        address: "127.0.0.1:9001".into(),
        access_key: "ROOT".into(),
        secret_key: SECRET.into(),
        region: region.into(),
    }
}

fn when() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())
}

/// Signed by AWS's own library.
fn head(client: &Client, path: &str, payload: Payload) -> Parts {
    let body = Bytes::from_static(b"{\"name\":\"x\"}");
    let headers = [("content-type", "application/json")];
    let request = client.signed(&Method::POST, path, &headers, body, (payload, when()));
    request.expect("signed").into_parts().0
}

fn good(path: &str) -> Parts {
    head(
        &Client::for_service(target("us-east-1"), SERVICE),
        path,
        Payload::Signed,
    )
}

fn judged(head: &Parts) -> Result<(), AuthError> {
    let claim = Claim::parse(head)?;
    claim.check("us-east-1", NOW)?;
    claim.verify(head, SECRET)?;
    claim.covers_body(b"{\"name\":\"x\"}")
}

#[test]
fn what_awss_library_signs_is_believed() {
    for path in [
        "/v1/status",
        "/v1/object?key=a%20b%2Fc%2B%C3%A9&bucket=x&flag",
        "/v1/x?b=2&a=1&a=0",
    ] {
        assert_eq!(judged(&good(path)), Ok(()), "{path}");
    }
}

#[test]
fn whatever_is_tampered_with_is_refused() {
    let mut method = good("/v1/status");
    method.method = Method::DELETE;
    let mut path = good("/v1/status");
    path.uri = "/v1/drives".parse().expect("uri");
    let mut query = good("/v1/object?bucket=a");
    query.uri = "/v1/object?bucket=b".parse().expect("uri");
    let mut host = good("/v1/status");
    host.headers
        .insert("host", "elsewhere:9001".parse().expect("value"));
    let mut hash = good("/v1/status");
    hash.headers
        .insert(PAYLOAD, "0".repeat(64).parse().expect("value"));
    for head in [method, path, query, host, hash] {
        assert_eq!(
            judged(&head),
            Err(AuthError::Signature),
            "{} {}",
            head.method,
            head.uri
        );
    }
    let head = good("/v1/status");
    let claim = Claim::parse(&head).expect("parsed");
    assert_eq!(
        claim.verify(&head, "another secret"),
        Err(AuthError::Signature)
    );
    assert_eq!(
        claim.covers_body(b"{\"name\":\"y\"}"),
        Err(AuthError::Payload)
    );
}

#[test]
fn another_service_or_region_is_refused() {
    let s3 = head(
        &Client::new(target("us-east-1")),
        "/v1/status",
        Payload::Signed,
    );
    assert!(matches!(judged(&s3), Err(AuthError::Scope { .. })));
    let far = Client::for_service(target("eu-west-1"), SERVICE);
    assert!(matches!(
        judged(&head(&far, "/v1/status", Payload::Signed)),
        Err(AuthError::Scope { .. })
    ));
}

#[test]
fn fifteen_minutes_of_skew_are_borne_and_no_second_more() {
    let claim = Claim::parse(&good("/v1/status")).expect("parsed");
    for sign in [1, -1] {
        assert_eq!(claim.check("us-east-1", NOW + sign * SKEW_S_MAX), Ok(()));
        let late = claim.check("us-east-1", NOW + sign * (SKEW_S_MAX + 1));
        assert!(matches!(late, Err(AuthError::Skewed { .. })), "{late:?}");
    }
}

#[test]
fn nothing_goes_unsigned() {
    let unsigned = head(
        &Client::for_service(target("us-east-1"), SERVICE),
        "/v1/x",
        Payload::Unsigned,
    );
    assert!(matches!(judged(&unsigned), Err(AuthError::Malformed(_))));
    let mut extra = good("/v1/status");
    extra
        .headers
        .insert("x-amz-more", "1".parse().expect("value"));
    assert!(matches!(judged(&extra), Err(AuthError::Malformed(_))));
    let mut none = good("/v1/status");
    none.headers.remove("authorization");
    assert_eq!(judged(&none), Err(AuthError::Missing));
    for gone in [DATE, PAYLOAD] {
        let mut head = good("/v1/status");
        head.headers.remove(gone);
        assert!(
            matches!(judged(&head), Err(AuthError::Malformed(_))),
            "{gone}"
        );
    }
    for odd in ["/v1/x?a=b+c", "/v1/x?a=%2", "/v1/%78"] {
        let mut head = good("/v1/x");
        head.uri = odd.parse().expect("uri");
        assert!(
            matches!(judged(&head), Err(AuthError::Malformed(_))),
            "{odd}"
        );
    }
}
