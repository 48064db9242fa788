"""Signatures in the Authorization header: what is malformed, wrong, late, unsigned or tampered with."""

from __future__ import annotations

import time

import pytest
from s3 import absent, ok, path_of, present, refused
from sign import EMPTY, UNSIGNED, sha, sign_header, stamp
from wire import head

MALFORMED = "AuthorizationHeaderMalformed"
MINUTE_S = 60


def sent(s3, method, path, headers, body=b"", query=""):
    with s3.connect() as c:
        c.send(head(method, path + query, headers), body)
        return c.answer(method)


def put_with(s3, bucket, key, rewrite, keys=None, body=b"body", more=(), **signing):
    """A PUT whose Authorization value went through `rewrite`."""
    path = path_of(bucket, key)
    headers = [("Host", s3.authority), ("Content-Length", str(len(body))), *more]
    out, _ = sign_header(keys or s3.keys, "PUT", path, [], headers, sha(body), **signing)
    out = [(n, rewrite(v) if n == "Authorization" else v) for n, v in out]
    return sent(s3, "PUT", path, [h for h in out if h[1] is not None], body)


def without(field):
    """The value, one of its comma-separated fields taken out."""

    def rewrite(value):
        scheme, rest = value.split(" ", 1)
        return f"{scheme} " + ", ".join(f for f in rest.split(", ") if not f.startswith(field))

    return rewrite


def setting(field, text):
    def rewrite(value):
        scheme, rest = value.split(" ", 1)
        return f"{scheme} " + ", ".join(f"{field}={text}" if f.startswith(field) else f for f in rest.split(", "))

    return rewrite


BROKEN = {
    "no credential": (without("Credential"), MALFORMED),
    "no signed headers": (without("SignedHeaders"), MALFORMED),
    "no signature": (without("Signature="), MALFORMED),
    "empty credential": (setting("Credential", ""), MALFORMED),
    "credential of four words": (setting("Credential", "AK/20260101/us-east-1/s3"), MALFORMED),
    "empty signed headers": (setting("SignedHeaders", ""), MALFORMED),
    "empty signature": (setting("Signature", ""), MALFORMED),
    "field without value": (lambda v: v.replace("SignedHeaders=", "SignedHeaders"), MALFORMED),
    "nothing after the scheme": (lambda v: "AWS4-HMAC-SHA256", MALFORMED),
    "only commas": (lambda v: "AWS4-HMAC-SHA256 ,,,", MALFORMED),
    "basic": (lambda v: "Basic QUtJQTpzZWNyZXQ=", "InvalidArgument"),
    "bearer": (lambda v: "Bearer abc", "InvalidArgument"),
    "unknown algorithm": (lambda v: v.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), "InvalidArgument"),
    "version two": (lambda v: "AWS AKID:c2lnbmF0dXJl", "InvalidRequest"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_malformed_header(s3, shelf, key, case):
    rewrite, code = BROKEN[case]
    refused(put_with(s3, shelf, key, rewrite), 400, code)
    absent(s3, shelf, key)


SCOPES = {
    "region": {"region": "eu-central-1"},
    "service": {"service": "ec2"},
    "terminal": {"terminal": "aws5_request"},
}


@pytest.mark.parametrize("case", SCOPES)
def test_wrong_scope(s3, shelf, key, case):
    answer = refused(put_with(s3, shelf, key, lambda v: v, keys=s3.keys.but(**SCOPES[case])), 400, MALFORMED)
    if case == "region":
        assert answer.text("Region") == s3.keys.region
    absent(s3, shelf, key)


@pytest.mark.parametrize("date", ["2026-01-01", "20261", "abcdefgh", ""])
def test_wrong_date_format_in_scope(s3, shelf, key, date):
    def rewrite(value):
        return value.replace(f"{s3.keys.access}/{stamp()[:8]}", f"{s3.keys.access}/{date}")

    refused(put_with(s3, shelf, key, rewrite), 400, MALFORMED)
    absent(s3, shelf, key)


def test_scope_of_another_day_than_the_date(s3, shelf, key):
    def rewrite(value):
        return value.replace(f"{s3.keys.access}/{stamp()[:8]}", f"{s3.keys.access}/20200101")

    refused(put_with(s3, shelf, key, rewrite), 400, MALFORMED)


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24, 60 * 24])
def test_skewed_clock(s3, shelf, key, minutes):
    refused(put_with(s3, shelf, key, lambda v: v, date=stamp(minutes * MINUTE_S)), 403, "RequestTimeTooSkewed")
    absent(s3, shelf, key)


@pytest.mark.parametrize("minutes", [-14, 14])
def test_bearable_clock(s3, shelf, key, minutes):
    ok(put_with(s3, shelf, key, lambda v: v, date=stamp(minutes * MINUTE_S)))


def test_date_header_in_place_of_x_amz_date(s3, shelf, key):
    now = time.time()
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    written = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
    path = path_of(shelf, key)
    headers = [("Host", s3.authority), ("Content-Length", "0"), ("Date", written), ("x-amz-date", date)]
    names = ["date", "host", "x-amz-content-sha256"]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY, date=date, signed=names)
    ok(sent(s3, "PUT", path, [h for h in out if h[0] != "x-amz-date"]))


@pytest.mark.parametrize("date", [None, "", "yesterday", "2026-01-01T00:00:00Z"])
def test_no_usable_date(s3, shelf, key, date):
    path = path_of(shelf, key)
    headers = [("Host", s3.authority), ("Content-Length", "0")]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY)
    out = [(n, date if n == "x-amz-date" else v) for n, v in out]
    refused(sent(s3, "PUT", path, [h for h in out if h[1] is not None]), 403, "AccessDenied")
    absent(s3, shelf, key)


@pytest.mark.parametrize("name", ["x-amz-meta-evil", "x-amz-acl", "X-Amz-Storage-Class"])
def test_unsigned_amz_header(s3, shelf, key, name):
    path, headers = path_of(shelf, key), [("Host", s3.authority), ("Content-Length", "0")]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY)
    value = {"x-amz-acl": "public-read", "X-Amz-Storage-Class": "STANDARD"}.get(name, "x")
    refused(sent(s3, "PUT", path, [*out, (name, value)]), 403, "AccessDenied")
    absent(s3, shelf, key)


def test_signed_header_that_is_not_there(s3, shelf, key):
    path, headers = path_of(shelf, key), [("Host", s3.authority), ("Content-Length", "0"), ("x-amz-meta-a", "1")]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY)
    refused(sent(s3, "PUT", path, [h for h in out if h[0] != "x-amz-meta-a"]), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


def test_host_must_be_signed(s3, shelf, key):
    path, headers = path_of(shelf, key), [("Host", s3.authority), ("Content-Length", "0")]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY, signed=["x-amz-content-sha256", "x-amz-date"])
    refused(sent(s3, "PUT", path, out), (400, 403))
    absent(s3, shelf, key)


def test_folded_spaces_are_signed_as_one(s3, shelf, key):
    ok(s3.put(shelf, key, headers=[("x-amz-meta-a", "two   words")]))


@pytest.mark.parametrize("where", ["body", "longer body"])
def test_tampered_body(s3, shelf, key, where):
    signed, body = b"good body", b"evil body" if where == "body" else b"good body!"
    ok(s3.put(shelf, key, b"before"))
    refused(s3.put(shelf, key, body, payload=sha(signed)), 400, "XAmzContentSHA256Mismatch")
    present(s3, shelf, key, b"before")


def test_tampered_large_body(s3, shelf, key):
    body = bytes(300_000)
    refused(s3.put(shelf, key, body, payload=sha(body[1:])), 400, "XAmzContentSHA256Mismatch")
    absent(s3, shelf, key)


@pytest.mark.parametrize("value", ["abc", "", "unsigned-payload", "z" * 64, "0" * 63, "STREAMING-FOO"])
def test_bad_content_sha256(s3, shelf, key, value):
    refused(s3.put(shelf, key, b"x", headers=[("x-amz-content-sha256", value)], payload=value), 400, "InvalidRequest")
    absent(s3, shelf, key)


def test_no_content_sha256(s3, shelf, key):
    path, headers = path_of(shelf, key), [("Host", s3.authority), ("Content-Length", "0")]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY, signed=["host", "x-amz-date"])
    refused(sent(s3, "PUT", path, [h for h in out if h[0] != "x-amz-content-sha256"]), 400, "InvalidRequest")
    absent(s3, shelf, key)


def test_unsigned_payload(s3, shelf, key):
    ok(s3.put(shelf, key, b"unsigned", payload=UNSIGNED))
    present(s3, shelf, key, b"unsigned")


def flipped(text):
    return text[:-1] + ("0" if text[-1] != "0" else "1")


TAMPERED = {
    "signature": lambda o, p: ([(n, flipped(v) if n == "Authorization" else v) for n, v in o], p),
    "short signature": lambda o, p: ([(n, v[:-2] if n == "Authorization" else v) for n, v in o], p),
    "path": lambda o, p: (o, p + "x"),
    "query": lambda o, p: (o, p + "?x-id=PutObject"),
    "signed header": lambda o, p: ([(n, "2" if n == "x-amz-meta-a" else v) for n, v in o], p),
    "repeated signed header": lambda o, p: ([*o, ("x-amz-meta-a", "2")], p),
    "host": lambda o, p: ([(n, "127.0.0.1:1" if n == "Host" else v) for n, v in o], p),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_tampered(s3, shelf, key, case):
    path = path_of(shelf, key)
    headers = [("Host", s3.authority), ("Content-Length", "0"), ("x-amz-meta-a", "1")]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY)
    out, to = TAMPERED[case](out, path)
    refused(sent(s3, "PUT", to, out), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)
    absent(s3, shelf, key + "x")


def test_method_is_signed(s3, shelf, key):
    ok(s3.put(shelf, key, b"keep"))
    path = path_of(shelf, key)
    out, _ = sign_header(s3.keys, "GET", path, [], [("Host", s3.authority)], EMPTY)
    refused(sent(s3, "DELETE", path, out), 403, "SignatureDoesNotMatch")
    present(s3, shelf, key, b"keep")


def test_unknown_access_key(s3, shelf, key):
    refused(s3.put(shelf, key, keys=s3.keys.but(access="AKIANOBODY0000000000")), 403, "InvalidAccessKeyId")
    absent(s3, shelf, key)


def test_wrong_secret(s3, shelf, key):
    refused(s3.put(shelf, key, keys=s3.keys.but(secret="not the secret")), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


def test_no_credentials(s3, anonymous, shelf, key):
    refused(anonymous.put(shelf, key), 403, "AccessDenied")
    absent(s3, shelf, key)
    refused(anonymous.get(""), 403, "AccessDenied")


def test_two_authorization_headers(s3, shelf, key):
    path, headers = path_of(shelf, key), [("Host", s3.authority), ("Content-Length", "0")]
    out, _ = sign_header(s3.keys, "PUT", path, [], headers, EMPTY)
    refused(sent(s3, "PUT", path, [*out, out[-1]]), 400, "InvalidArgument")
    absent(s3, shelf, key)


@pytest.mark.parametrize("token", ["garbage", "A" * 400])
def test_token_that_belongs_to_nobody(s3, shelf, key, token):
    refused(s3.put(shelf, key, keys=s3.keys.but(token=token)), (400, 403), ("InvalidToken", "InvalidAccessKeyId"))
    absent(s3, shelf, key)


def test_head_is_refused_without_a_body(s3, shelf, key):
    answer = refused(s3.head(shelf, key, keys=s3.keys.but(secret="wrong")), 403)
    assert answer.body == b""


def test_every_answer_has_a_request_id(s3, shelf, key):
    ids = [
        ok(s3.put(shelf, key))["x-amz-request-id"],
        ok(s3.get(shelf, key))["x-amz-request-id"],
        s3.get(shelf, key + "none")["x-amz-request-id"],
    ]
    assert all(ids) and len(set(ids)) == 3


# Each encoding of a path names the same key, and the signature is over the decoded one.
SAME = {
    "%2F is a slash": ("a%2Fb", "a/b"),
    "needlessly encoded": ("%61%62", "ab"),
    "encoded tilde": ("a%7Eb", "a~b"),
    "raw tilde": ("a~b", "a~b"),
    "raw plus": ("a+b", "a+b"),
    "encoded plus": ("a%2Bb", "a+b"),
    "raw equals": ("a=b", "a=b"),
    "lower-case hex": ("%c3%a4", "ä"),
    "raw sub-delimiters": ("a!$&'()*,;:@b", "a!$&'()*,;:@b"),
    "double slash": ("a//b", "a//b"),
    "percent": ("a%2541", "a%41"),
}


@pytest.mark.parametrize("case", SAME)
def test_path_canonicalisation(s3, bucket, case):
    sent_as, key = SAME[case]
    ok(s3.request("PUT", path=f"/{bucket}/{sent_as}", body=b"v"))
    assert s3.keys_of(bucket) == [key]
    present(s3, bucket, key, b"v")
    assert ok(s3.get("", path=f"/{bucket}/{sent_as}", presign=True)).body == b"v"


@pytest.mark.parametrize(
    "prefix", ["a b", "a+b", "a=b", "a~b", "a/b", "a%2Fb", "a&b", "ä", "a;b", "a'()*!b", 'a"<>b', "", "//", "."]
)
def test_query_canonicalisation(s3, shelf, prefix):
    page = ok(s3.get(shelf, query=[("list-type", "2"), ("prefix", prefix), ("max-keys", "1")]))
    assert (page.text("Prefix") or "") == prefix


def test_parameters_are_sorted_for_signing(s3, shelf):
    ok(s3.get(shelf, query=[("prefix", "z"), ("list-type", "2"), ("delimiter", "/"), ("encoding-type", "url")]))
