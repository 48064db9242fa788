"""Signatures in the query: each parameter missing or wrong, expiry, overrides, what else was signed."""

from __future__ import annotations

import pytest
import sums
from s3 import absent, ok, path_of, present, refused
from sign import quoted, sign_query, stamp
from wire import head

ERROR = "AuthorizationQueryParametersError"
PARAMETERS = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"]
WEEK_S = 7 * 24 * 3600


def fetch(s3, method, path, query, headers=(), body=b""):
    words = "&".join(f"{quoted(n)}={quoted(v or '')}" for n, v in query)
    length = [("Content-Length", str(len(body)))] if method == "PUT" else []
    with s3.connect() as c:
        c.send(head(method, f"{path}?{words}", [("Host", s3.authority), *length, *headers]), body)
        return c.answer(method)


@pytest.fixture
def there(s3, shelf, key):
    """An object to be read by URL."""
    ok(s3.put(shelf, key, b"by url"))
    return key


def url(s3, bucket, key, method="GET", query=(), headers=(), keys=None, **how):
    path = path_of(bucket, key)
    return path, sign_query(keys or s3.keys, method, path, list(query), [("Host", s3.authority), *headers], **how)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read(s3, shelf, there, method):
    answer = ok(fetch(s3, method, *url(s3, shelf, there, method)))
    assert answer.body == (b"by url" if method == "GET" else b"")


def test_write_and_delete(s3, shelf, key):
    ok(fetch(s3, "PUT", *url(s3, shelf, key, "PUT"), body=b"written"))
    present(s3, shelf, key, b"written")
    ok(fetch(s3, "DELETE", *url(s3, shelf, key, "DELETE")), 204)
    absent(s3, shelf, key)


@pytest.mark.parametrize("missing", PARAMETERS)
def test_missing_parameter(s3, shelf, there, missing):
    path, query = url(s3, shelf, there)
    refused(fetch(s3, "GET", path, [q for q in query if q[0] != missing]), 400, ERROR)


WRONG = {
    "algorithm": {"X-Amz-Algorithm": "AWS4-HMAC-SHA1"},
    "credential of three words": {"X-Amz-Credential": "AK/20260101/us-east-1"},
    "expires is no number": {"X-Amz-Expires": "soon"},
    "expires is negative": {"X-Amz-Expires": "-1"},
    "expires in more than a week": {"X-Amz-Expires": str(WEEK_S + 1)},
    "date is none": {"X-Amz-Date": "2026-01-01"},
    "date is empty": {"X-Amz-Date": ""},
    "date of another day than the scope": {"X-Amz-Date": "20200101T000000Z"},
    "signed headers are empty": {"X-Amz-SignedHeaders": ""},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parameter(s3, shelf, there, case):
    refused(fetch(s3, "GET", *url(s3, shelf, there, over=WRONG[case])), 400, ERROR)


@pytest.mark.parametrize("part", ["region", "service", "terminal"])
def test_wrong_scope(s3, shelf, there, part):
    keys = s3.keys.but(**{part: "elsewhere"})
    refused(fetch(s3, "GET", *url(s3, shelf, there, keys=keys)), 400, ERROR)


def test_a_week_is_allowed(s3, shelf, there):
    ok(fetch(s3, "GET", *url(s3, shelf, there, expires=WEEK_S)))


def test_expired(s3, shelf, there):
    answer = refused(fetch(s3, "GET", *url(s3, shelf, there, expires=60, date=stamp(-61))), 403, "AccessDenied")
    assert "expired" in answer.text("Message").lower()


def test_old_but_not_expired(s3, shelf, there):
    ok(fetch(s3, "GET", *url(s3, shelf, there, expires=3600, date=stamp(-1800))))


def test_not_yet_valid(s3, shelf, there):
    refused(
        fetch(s3, "GET", *url(s3, shelf, there, expires=7200, date=stamp(3600))), 403, ("AccessDenied", "RequestTimeTooSkewed")
    )


def replaced(query, name, value):
    return [(n, value if n == name else v) for n, v in query]


def test_tampered_expiry(s3, shelf, there):
    path, query = url(s3, shelf, there)
    refused(fetch(s3, "GET", path, replaced(query, "X-Amz-Expires", "301")), 403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("signature", ["0" * 64, "zz", "A" * 64], ids=["another", "no hex", "upper case"])
def test_tampered_signature(s3, shelf, there, signature):
    path, query = url(s3, shelf, there)
    answer = fetch(s3, "GET", path, replaced(query, "X-Amz-Signature", signature))
    if signature == "0" * 64:
        refused(answer, 403, "SignatureDoesNotMatch")
    else:
        refused(answer, (400, 403), ("SignatureDoesNotMatch", ERROR))


def test_another_key_than_signed(s3, shelf, there, key):
    ok(s3.put(shelf, there + "x", b"secret"))
    path, query = url(s3, shelf, there)
    refused(fetch(s3, "GET", path + "x", query), 403, "SignatureDoesNotMatch")


def test_another_method_than_signed(s3, shelf, there):
    path, query = url(s3, shelf, there)
    refused(fetch(s3, "DELETE", path, query), 403, "SignatureDoesNotMatch")
    present(s3, shelf, there, b"by url")


@pytest.mark.parametrize(
    "more", [("versionId", "null"), ("response-content-type", "text/html"), ("partNumber", "1"), ("acl", "")]
)
def test_parameter_added_after_signing(s3, shelf, there, more):
    path, query = url(s3, shelf, there)
    refused(fetch(s3, "GET", path, [*query, more]), 403, "SignatureDoesNotMatch")


def test_unknown_access_key(s3, shelf, there):
    refused(fetch(s3, "GET", *url(s3, shelf, there, keys=s3.keys.but(access="AKIANOBODY0000000000"))), 403, "InvalidAccessKeyId")


def test_wrong_secret(s3, shelf, there):
    refused(fetch(s3, "GET", *url(s3, shelf, there, keys=s3.keys.but(secret="no"))), 403, "SignatureDoesNotMatch")


def test_token_that_belongs_to_nobody(s3, shelf, there):
    keys = s3.keys.but(token="garbage")
    refused(fetch(s3, "GET", *url(s3, shelf, there, keys=keys)), (400, 403), ("InvalidToken", "InvalidAccessKeyId"))


def test_extra_signed_header_must_come(s3, shelf, key):
    meta = [("x-amz-meta-a", "1")]
    path, query = url(s3, shelf, key, "PUT", headers=meta)
    refused(fetch(s3, "PUT", path, query), 403, "SignatureDoesNotMatch")
    refused(fetch(s3, "PUT", path, query, [("x-amz-meta-a", "2")]), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)
    ok(fetch(s3, "PUT", path, query, meta))
    assert ok(s3.head(shelf, key))["x-amz-meta-a"] == "1"


def test_unsigned_amz_header(s3, shelf, key):
    path, query = url(s3, shelf, key, "PUT")
    refused(fetch(s3, "PUT", path, query, [("x-amz-acl", "public-read")]), 403, "AccessDenied")
    absent(s3, shelf, key)


def test_both_kinds_of_signature(s3, shelf, there):
    path, query = url(s3, shelf, there)
    signed = s3.prepare("GET", shelf, there)
    authorization = next(line for line in signed.split(b"\r\n") if line.startswith(b"Authorization")).decode().split(": ", 1)[1]
    refused(fetch(s3, "GET", path, query, [("Authorization", authorization)]), 400, "InvalidArgument")


OVERRIDES = {
    "content-type": "text/x-over",
    "content-language": "tlh",
    "expires": "Thu, 01 Dec 2033 16:00:00 GMT",
    "cache-control": "no-cache",
    "content-disposition": 'attachment; filename="a b.txt"',
    "content-encoding": "x-over",
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_response_override(s3, shelf, there, name):
    query = [(f"response-{name}", OVERRIDES[name])]
    assert ok(fetch(s3, "GET", *url(s3, shelf, there, query=query)))[name] == OVERRIDES[name]
    assert ok(s3.get(shelf, there, query=query))[name] == OVERRIDES[name]


@pytest.mark.parametrize("name", OVERRIDES)
def test_response_override_is_not_for_the_anonymous(s3, anonymous, shelf, key, name):
    ok(s3.put(shelf, key, b"public", [("x-amz-acl", "public-read")]))
    ok(anonymous.get(shelf, key), 200)
    refused(anonymous.get(shelf, key, query=[(f"response-{name}", OVERRIDES[name])]), 400, "InvalidRequest")


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_put_with_signed_checksum(s3, shelf, key, algorithm):
    name, body = f"x-amz-checksum-{algorithm.lower()}", b"summed"
    right = [(name, sums.value(algorithm, body))]
    path, query = url(s3, shelf, key, "PUT", headers=right)
    refused(fetch(s3, "PUT", path, query, right, b"other!"), 400, "BadDigest")
    absent(s3, shelf, key)
    ok(fetch(s3, "PUT", path, query, right, body))
    present(s3, shelf, key, body)


def test_listing_by_url(s3, shelf, there):
    path = path_of(shelf)
    query = sign_query(s3.keys, "GET", path, [("list-type", "2"), ("prefix", there)], [("Host", s3.authority)])
    assert ok(fetch(s3, "GET", path, query)).texts("Contents/Key") == [there]


def test_version_two_is_gone(s3, shelf, there):
    """Signatures of version two, in the query: not taken since 2014's regions, and never by us."""
    query = [("AWSAccessKeyId", s3.keys.access), ("Expires", "4102444800"), ("Signature", "c2lnbmF0dXJl")]
    refused(fetch(s3, "GET", path_of(shelf, there), query), 400, "InvalidRequest")


@pytest.mark.parametrize("twice", PARAMETERS)
def test_parameter_twice(s3, shelf, there, twice):
    path, query = url(s3, shelf, there)
    again = [q for q in query if q[0] == twice]
    refused(fetch(s3, "GET", path, [*query, *again]), 400, ERROR)


@pytest.mark.parametrize("expires", ["0", "1.5", ""])
def test_expires_that_is_no_time(s3, shelf, there, expires):
    """Nought seconds are over at once."""
    answer = fetch(s3, "GET", *url(s3, shelf, there, over={"X-Amz-Expires": expires}))
    refused(answer, (400, 403), (ERROR, "AccessDenied"))


@pytest.mark.parametrize("signed", [True, False], ids=["in the signature", "beside it"])
def test_another_body_than_its_hash(s3, shelf, key, signed):
    """A hash in the header is never ignored, whichever way the signature was made."""
    from sign import UNSIGNED, sha

    hashed = [("x-amz-content-sha256", sha(b"good"))]
    path, query = url(s3, shelf, key, "PUT", headers=hashed, payload=hashed[0][1] if signed else UNSIGNED)
    answer = fetch(s3, "PUT", path, query, hashed, b"evil")
    refused(answer, (400, 403), ("XAmzContentSHA256Mismatch", "SignatureDoesNotMatch"))
    absent(s3, shelf, key)
