"""Browser forms: who signed them, and what their policy allows."""

from __future__ import annotations

import base64
import json
import time

import pytest
from s3 import absent, ok, present, refused
from sign import ALGORITHM, form_fields, stamp
from test_post import FILE, encode, post, send


@pytest.mark.parametrize("seconds", [-1, -3600])
def test_expired(s3, shelf, key, seconds):
    refused(post(s3, shelf, {"key": key}, signing={"expires_s": seconds}), 403, "AccessDenied")
    absent(s3, shelf, key)


@pytest.mark.parametrize("part", ["region", "service", "terminal"])
def test_wrong_scope(s3, shelf, key, part):
    refused(post(s3, shelf, {"key": key}, keys=s3.keys.but(**{part: "elsewhere"})), (400, 403))
    absent(s3, shelf, key)


def test_scope_of_another_day(s3, shelf, key):
    def form(own):
        return [(n, v.replace(stamp()[:8], "20200101") if n == "x-amz-credential" else v) for n, v in own]

    refused(post(s3, shelf, {"key": key}, form=form), (400, 403))
    absent(s3, shelf, key)


def test_unknown_access_key(s3, shelf, key):
    refused(post(s3, shelf, {"key": key}, keys=s3.keys.but(access="AKIANOBODY0000000000")), 403, "InvalidAccessKeyId")


def test_wrong_secret(s3, shelf, key):
    refused(post(s3, shelf, {"key": key}, keys=s3.keys.but(secret="wrong")), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


CODES = ("SignatureDoesNotMatch", "InvalidArgument", "AccessDenied")


@pytest.mark.parametrize("signature", ["0" * 64, "short", ""])
def test_tampered_signature(s3, shelf, key, signature):
    refused(post(s3, shelf, {"key": key}, form=lambda own: [*own[:-1], ("x-amz-signature", signature)]), (400, 403), CODES)
    absent(s3, shelf, key)


def test_tampered_policy(s3, shelf, key):
    def form(own):
        wide = json.dumps({"expiration": "2100-01-01T00:00:00Z", "conditions": [["starts-with", "$key", ""]]}).encode()
        return [("policy", base64.b64encode(wide).decode()), *own[1:]]

    refused(post(s3, shelf, {"key": key}, form=form), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


@pytest.mark.parametrize("missing", ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"])
def test_missing_field(s3, shelf, key, missing):
    refused(
        post(s3, shelf, {"key": key}, form=lambda own: [f for f in own if f[0] != missing]),
        (400, 403),
        ("InvalidArgument", "AccessDenied"),
    )
    absent(s3, shelf, key)


def test_no_policy_is_anonymous(s3, shelf, key):
    refused(post(s3, shelf, {"key": key}, form=lambda own: []), 403, "AccessDenied")
    absent(s3, shelf, key)


def test_signature_without_policy(s3, shelf, key):
    refused(post(s3, shelf, {"key": key}, form=lambda own: own[1:]), (400, 403))
    absent(s3, shelf, key)


def test_field_names_are_of_any_case(s3, shelf, key):
    ok(
        post(
            s3,
            shelf,
            {"key": key},
            form=lambda own: [
                ("Policy", own[0][1]),
                *((n.replace("x-amz-", "X-Amz-").replace("algorithm", "Algorithm"), v) for n, v in own[1:]),
            ],
        ),
        204,
    )
    present(s3, shelf, key, FILE)


# Policies.

MISMATCHES = {
    "another key": lambda b, k: [{"bucket": b}, {"key": k + "x"}],
    "another bucket": lambda b, k: [{"bucket": "another"}, {"key": k}],
    "no condition for key": lambda b, k: [{"bucket": b}],
    "starts with another": lambda b, k: [{"bucket": b}, ["starts-with", "$key", "x"]],
    "eq another": lambda b, k: [{"bucket": b}, ["eq", "$key", k.upper()]],
    "field that is not there": lambda b, k: [{"bucket": b}, {"key": k}, {"x-amz-meta-a": "1"}],
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_mismatch(s3, shelf, key, case):
    refused(post(s3, shelf, {"key": key}, conditions=MISMATCHES[case](shelf, key)), 403, "AccessDenied")
    absent(s3, shelf, key)


MATCHES = {
    "eq": lambda k: ["eq", "$key", k],
    "EQ list in another case": lambda k: ["eq", "$Key", k],
    "starts-with": lambda k: ["starts-with", "$key", k[:2]],
    "starts-with nothing": lambda k: ["starts-with", "$key", ""],
    "object": lambda k: {"key": k},
    "object in another case": lambda k: {"Key": k},
}


@pytest.mark.parametrize("case", MATCHES)
def test_match(s3, shelf, key, case):
    ok(post(s3, shelf, {"key": key}, conditions=[{"bucket": shelf}, MATCHES[case](key)]), 204)
    present(s3, shelf, key, FILE)


def test_extra_field(s3, shelf, key):
    conditions = [{"bucket": shelf}, {"key": key}]
    refused(post(s3, shelf, {"key": key, "x-amz-meta-a": "1"}, conditions=conditions), 403, "AccessDenied")
    refused(post(s3, shelf, {"key": key, "acl": "public-read"}, conditions=conditions), 403, "AccessDenied")
    absent(s3, shelf, key)
    ok(post(s3, shelf, {"key": key, "x-ignore-foo": "1"}, conditions=conditions), 204)


def test_starts_with_nothing_lets_anything(s3, shelf, key):
    conditions = [{"bucket": shelf}, {"key": key}, ["starts-with", "$x-amz-meta-a", ""]]
    ok(post(s3, shelf, {"key": key, "x-amz-meta-a": "whatever"}, conditions=conditions), 204)
    assert ok(s3.head(shelf, key))["x-amz-meta-a"] == "whatever"


@pytest.mark.parametrize(("types", "good"), [("image/png", True), ("image/png,image/gif", True), ("image/png,text/html", False)])
def test_content_types_begin_each(s3, shelf, key, types, good):
    conditions = [{"bucket": shelf}, {"key": key}, ["starts-with", "$Content-Type", "image/"]]
    answer = post(s3, shelf, {"key": key, "Content-Type": types}, conditions=conditions)
    ok(answer, 204) if good else refused(answer, 403, "AccessDenied")


@pytest.mark.parametrize(
    ("low", "high", "code"),
    [
        (len(FILE), len(FILE), None),
        (0, len(FILE), None),
        (len(FILE), 1000, None),
        (len(FILE) + 1, 1000, "EntityTooSmall"),
        (0, len(FILE) - 1, "EntityTooLarge"),
        (0, 0, "EntityTooLarge"),
    ],
)
def test_length_range(s3, shelf, key, low, high, code):
    answer = post(s3, shelf, {"key": key}, conditions=[{"bucket": shelf}, {"key": key}, ["content-length-range", low, high]])
    if code:
        refused(answer, 400, code)
        absent(s3, shelf, key)
    else:
        ok(answer, 204)


def test_length_range_of_a_large_file(s3, shelf, key):
    refused(
        post(
            s3,
            shelf,
            {"key": key},
            bytes(500_000),
            conditions=[{"bucket": shelf}, {"key": key}, ["content-length-range", 0, 400_000]],
        ),
        400,
        "EntityTooLarge",
    )
    absent(s3, shelf, key)


UNTIL = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
BAD_POLICIES = {
    "no JSON": b"{",
    "not an object": b"[]",
    "no expiration": b'{"conditions":[["starts-with","$key",""]]}',
    "no conditions": json.dumps({"expiration": UNTIL}).encode(),
    "expiration is no date": b'{"expiration":"tomorrow","conditions":[["starts-with","$key",""]]}',
    "unknown operator": json.dumps({"expiration": UNTIL, "conditions": [["ends-with", "$key", ""]]}).encode(),
    "condition of two": json.dumps({"expiration": UNTIL, "conditions": [["eq", "$key"]]}).encode(),
    "condition is a number": json.dumps({"expiration": UNTIL, "conditions": [1]}).encode(),
    "length range of words": json.dumps({"expiration": UNTIL, "conditions": [["content-length-range", "a", "b"]]}).encode(),
    "conditions is an object": json.dumps({"expiration": UNTIL, "conditions": {"key": "k"}}).encode(),
    "not UTF-8": b'{"expiration":"\xff"}',
}


@pytest.mark.parametrize("case", BAD_POLICIES)
def test_bad_policy(s3, shelf, key, case):
    refused(
        post(s3, shelf, {"key": key}, signing={"policy": BAD_POLICIES[case]}),
        (400, 403),
        ("InvalidPolicyDocument", "AccessDenied"),
    )
    absent(s3, shelf, key)


def test_policy_is_no_base64(s3, shelf, key):
    def form(own):
        return [("policy", "!!!"), *own[1:-1], ("x-amz-signature", s3.keys.signature(own[3][1], "!!!"))]

    refused(post(s3, shelf, {"key": key}, form=form), (400, 403), ("InvalidPolicyDocument", "InvalidArgument"))
    absent(s3, shelf, key)


def test_old_signature_of_the_profile(s3, shelf, key):
    """Version two in forms is a setting; the profile has it on."""
    import hashlib
    import hmac

    policy = base64.b64encode(
        json.dumps({"expiration": UNTIL, "conditions": [{"bucket": shelf}, {"key": key}]}).encode()
    ).decode()
    signature = base64.b64encode(hmac.new(s3.keys.secret.encode(), policy.encode(), hashlib.sha1).digest()).decode()
    fields = [("key", key), ("AWSAccessKeyId", s3.keys.access), ("policy", policy), ("signature", signature)]
    refused(send(s3, shelf, encode([*fields[:-1], ("signature", signature[::-1])])), (400, 403))
    absent(s3, shelf, key)
    ok(send(s3, shelf, encode(fields)), 204)


def test_algorithm_must_be_the_one(s3, shelf, key):
    refused(
        post(s3, shelf, {"key": key}, form=lambda own: [(n, "AWS4-HMAC-SHA1" if v == ALGORITHM else v) for n, v in own]),
        (400, 403),
    )
    absent(s3, shelf, key)


@pytest.mark.parametrize(
    ("minutes", "good"), [(14, True), (16, False), (-16, True), (-6 * 24 * 60, True), (-7 * 24 * 60 - 1, False), (24 * 60, False)]
)
def test_age_of_the_signature(s3, shelf, key, minutes, good):
    """A form may be sent long after it was made: its policy says until when. Only the signing key's week bounds it."""
    answer = post(s3, shelf, {"key": key}, signing={"date": stamp(minutes * 60)})
    if good:
        ok(answer, 204)
    else:
        refused(answer, 403, "RequestTimeTooSkewed")
        absent(s3, shelf, key)


@pytest.mark.parametrize("date", ["", "2026-01-01", "yesterday"])
def test_date_that_is_none(s3, shelf, key, date):
    def form(own):
        return [(n, date if n == "x-amz-date" else v) for n, v in own]

    codes = ("AuthorizationQueryParametersError", "InvalidArgument", "AccessDenied")
    refused(post(s3, shelf, {"key": key}, form=form), (400, 403), codes)
    absent(s3, shelf, key)


@pytest.mark.parametrize("part", ["region", "service", "terminal"])
def test_wrong_scope_is_named(s3, shelf, key, part):
    answer = post(s3, shelf, {"key": key}, keys=s3.keys.but(**{part: "elsewhere"}))
    refused(answer, 400, ("AuthorizationQueryParametersError", "InvalidArgument"))
    if part == "region":
        assert s3.keys.region in answer.text("Message")


def test_token_that_belongs_to_nobody(s3, shelf, key):
    refused(post(s3, shelf, {"key": key, "x-amz-security-token": "garbage"}), (400, 403), ("InvalidToken", "InvalidAccessKeyId"))
    absent(s3, shelf, key)


def test_a_field_given_twice(s3, shelf, key):
    """Which of the two would have been judged, and which done?"""
    conditions = [{"bucket": shelf}, ["starts-with", "$key", ""]]
    own = form_fields(s3.keys, conditions)
    refused(send(s3, shelf, encode([("key", key), ("key", key + "x"), *own])), (400, 403))
    absent(s3, shelf, key)
    absent(s3, shelf, key + "x")


def test_file_must_be_last(s3, shelf, key):
    """What signs is looked for before the file; behind it there is nothing."""
    own = form_fields(s3.keys, [{"bucket": shelf}, {"key": key}])
    refused(send(s3, shelf, encode([("key", key)], after=own)), 403, "AccessDenied")
    absent(s3, shelf, key)


def test_only_one_file(s3, shelf, key):
    own = form_fields(s3.keys, [{"bucket": shelf}, {"key": key}])
    whole = encode([("key", key), *own], end=False) + encode([], b"second")
    answer = send(s3, shelf, whole)
    if answer.status < 300:
        present(s3, shelf, key, FILE)
    else:
        refused(answer, 400, ("IncorrectNumberOfFilesInPostRequest", "InvalidArgument", "MalformedPOSTRequest"))
        absent(s3, shelf, key)
