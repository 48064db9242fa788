"""Cross-origin requests: preflights that pass and that do not, and what real answers carry."""

from __future__ import annotations

import pytest
from s3 import XMLNS, ok, refused

ORIGIN = "https://app.example.com"


def cors(*rules: str) -> str:
    return f"<CORSConfiguration {XMLNS}>{''.join(f'<CORSRule>{r}</CORSRule>' for r in rules)}</CORSConfiguration>"


def rule(origins=(ORIGIN,), methods=("GET", "PUT"), headers=(), expose=(), age=None) -> str:
    words = [("AllowedOrigin", origins), ("AllowedMethod", methods), ("AllowedHeader", headers), ("ExposeHeader", expose)]
    xml = "".join(f"<{n}>{v}</{n}>" for n, values in words for v in values)
    return xml + (f"<MaxAgeSeconds>{age}</MaxAgeSeconds>" if age is not None else "")


@pytest.fixture
def shared(s3, bucket):
    """A bucket with three rules."""
    rules = [
        rule(headers=["x-amz-*", "content-type"], expose=["ETag", "x-amz-meta-a"], age=600),
        rule(origins=["https://*.wild.com"], methods=["GET"]),
        rule(origins=["*"], methods=["HEAD"]),
    ]
    ok(s3.document("PUT", bucket, None, ["cors"], cors(*rules)))
    return bucket


def preflight(anonymous, bucket, origin=ORIGIN, method="GET", headers=None, key="k"):
    more = [
        (n, v)
        for n, v in (("Origin", origin), ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", headers))
        if v is not None
    ]
    return anonymous.request("OPTIONS", bucket, key, headers=more)


def listed(answer, name):
    return [w.strip().lower() for w in (answer[name] or "").split(",") if w.strip()]


def test_preflight(anonymous, shared):
    answer = ok(preflight(anonymous, shared, method="PUT", headers="Content-Type, x-amz-date"), 200)
    assert answer["access-control-allow-origin"] == ORIGIN
    assert listed(answer, "access-control-allow-methods") == ["get", "put"]
    assert listed(answer, "access-control-allow-headers") == ["content-type", "x-amz-date"]
    assert listed(answer, "access-control-expose-headers") == ["etag", "x-amz-meta-a"]
    assert answer["access-control-max-age"] == "600" and answer["access-control-allow-credentials"] == "true"
    assert "origin" in listed(answer, "vary")
    assert answer.body == b""


def test_preflight_of_a_wildcard(anonymous, shared):
    answer = ok(preflight(anonymous, shared, origin="https://a.wild.com"), 200)
    assert answer["access-control-allow-origin"] == "https://a.wild.com" and answer["access-control-max-age"] is None
    answer = ok(preflight(anonymous, shared, origin="http://any.where", method="HEAD"), 200)
    assert answer["access-control-allow-origin"] == "*" and answer["access-control-allow-credentials"] is None


NEGATIVE = {
    "another origin": {"origin": "https://evil.com"},
    "origin that begins alike": {"origin": ORIGIN + ".evil.com"},
    "another scheme": {"origin": "http://app.example.com"},
    "another port": {"origin": ORIGIN + ":8443"},
    "null": {"origin": "null"},
    "another method": {"method": "DELETE"},
    "another header": {"headers": "x-secret"},
    "one header of two": {"headers": "content-type, x-secret"},
    "wildcard without its dot": {"origin": "https://wild.com"},
    "wildcard, another method": {"origin": "https://a.wild.com", "method": "PUT"},
    "rule without headers": {"origin": "https://a.wild.com", "headers": "x-amz-date"},
    "lower-case method": {"method": "get"},
}


@pytest.mark.parametrize("case", NEGATIVE)
def test_preflight_refused(anonymous, shared, case):
    statuses = (400, 403) if case == "lower-case method" else 403
    answer = refused(preflight(anonymous, shared, **NEGATIVE[case]), statuses, ("AccessForbidden", "AccessDenied", "BadRequest"))
    assert answer["access-control-allow-origin"] is None


@pytest.mark.parametrize(("origin", "method"), [(None, "GET"), (ORIGIN, None), (ORIGIN, "FOO"), (ORIGIN, "")])
def test_no_preflight_at_all(anonymous, shared, origin, method):
    refused(preflight(anonymous, shared, origin, method), (400, 403), ("BadRequest", "AccessForbidden", "AccessDenied"))


def test_preflight_without_configuration(s3, anonymous, bucket):
    refused(preflight(anonymous, bucket), 403, ("AccessForbidden", "AccessDenied"))
    refused(s3.get(bucket, query=["cors"]), 404, "NoSuchCORSConfiguration")


def test_preflight_of_a_missing_bucket(anonymous):
    from conftest import fresh_name

    refused(preflight(anonymous, fresh_name()), (403, 404), ("AccessForbidden", "AccessDenied", "NoSuchBucket"))


def test_preflight_of_the_bucket_itself(anonymous, shared):
    ok(preflight(anonymous, shared, key=None), 200)


def test_real_answer(s3, shared):
    ok(s3.put(shared, "k", b"v"))
    answer = ok(s3.get(shared, "k", headers=[("Origin", ORIGIN)]))
    assert answer.body == b"v" and answer["access-control-allow-origin"] == ORIGIN
    assert listed(answer, "access-control-expose-headers") == ["etag", "x-amz-meta-a"]
    assert "origin" in listed(answer, "vary")


@pytest.mark.parametrize("origin", [None, "https://evil.com"])
def test_real_answer_to_others(s3, shared, origin):
    ok(s3.put(shared, "k", b"v"))
    answer = ok(s3.get(shared, "k", headers=[("Origin", origin)] if origin else []))
    assert answer.body == b"v" and answer["access-control-allow-origin"] is None


def test_errors_carry_it_too(s3, anonymous, shared):
    for answer in (
        s3.get(shared, "none", headers=[("Origin", ORIGIN)]),
        anonymous.get(shared, "none", headers=[("Origin", ORIGIN)]),
    ):
        refused(answer, (403, 404))
        assert answer["access-control-allow-origin"] == ORIGIN


def test_first_rule_that_fits(s3, anonymous, bucket):
    ok(
        s3.document(
            "PUT",
            bucket,
            None,
            ["cors"],
            cors(rule(methods=["PUT"], age=1), rule(methods=["GET"], age=2), rule(methods=["GET"], age=3)),
        )
    )
    assert preflight(anonymous, bucket)["access-control-max-age"] == "2"


BAD = {
    "no rules": cors(),
    "no origin": cors("<AllowedMethod>GET</AllowedMethod>"),
    "no method": cors("<AllowedOrigin>*</AllowedOrigin>"),
    "unknown method": cors(rule(methods=["OPTIONS"])),
    "lower-case method": cors(rule(methods=["get"])),
    "two stars in an origin": cors(rule(origins=["https://*.a.*"])),
    "two stars in a header": cors(rule(headers=["x-*-*"])),
    "star in an exposed header": cors(rule(expose=["x-*"])),
    "101 rules": cors(*[rule()] * 101),
    "age is no number": cors(rule(age="soon")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration(s3, bucket, case):
    refused(s3.document("PUT", bucket, None, ["cors"], BAD[case]), 400, ("MalformedXML", "InvalidRequest"))
    refused(s3.get(bucket, query=["cors"]), 404, "NoSuchCORSConfiguration")


def test_a_hundred_rules(s3, bucket):
    ok(s3.document("PUT", bucket, None, ["cors"], cors(*[rule()] * 100)))
    assert len(ok(s3.get(bucket, query=["cors"])).texts("CORSRule")) == 100


def test_deleted_configuration(s3, anonymous, shared):
    ok(preflight(anonymous, shared), 200)
    ok(s3.delete(shared, query=["cors"]), 204)
    refused(s3.get(shared, query=["cors"]), 404, "NoSuchCORSConfiguration")
    refused(preflight(anonymous, shared), 403)
