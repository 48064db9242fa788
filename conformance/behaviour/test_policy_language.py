"""The language of bucket policies beyond test_policy.py: variables, operators, case, and an action each."""

from __future__ import annotations

import json

import pytest
from s3 import absent, ok, present, refused
from test_policy import put_policy, statement

OLD = "2008-10-17"


@pytest.fixture
def held(s3, bucket):
    """A bucket with an object `k`."""
    ok(s3.put(bucket, "k", b"v"))
    return bucket


def allows(s3, alt, bucket, *statements, key="k", **get):
    """Whether alt may read under this policy."""
    ok(put_policy(s3, bucket, *statements))
    answer = alt.get(bucket, key, **get)
    if answer.status == 200:
        assert ok(answer).body == b"v"
        return True
    refused(answer, 403, "AccessDenied")
    return False


# Variable → what it is for alt; None: it has no value, and so names nothing.
VARIABLES = {
    "${aws:username}": None,
    "${aws:username, 'nobody'}": "nobody",
    "${aws:userid}": "ID",
    "${aws:PrincipalAccount}": "ID",
    "${aws:principalaccount}": "ID",
    "${aws:SourceIp}": "127.0.0.1",
    "${aws:PrincipalType}": "Account",
    "a${*}": "a*",
    "a${?}": "a?",
    "a${$}": "a$",
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_variables_in_resources(s3, alt, accounts, bucket, variable):
    value = VARIABLES[variable]
    value = accounts["alt"]["canonical_id"] if value == "ID" else value
    names = {"other", "ax", variable, value or "alt"}
    for name in names:
        ok(s3.put(bucket, f"{name}/k", b"v"))
    ok(put_policy(s3, bucket, statement(bucket, resource=f"arn:aws:s3:::{bucket}/{variable}/*")))
    for name in names:
        answer = alt.get(bucket, f"{name}/k")
        ok(answer) if name == value else refused(answer, 403, "AccessDenied")


def test_variables_are_words_in_old_policies(s3, alt, accounts, bucket):
    mine = accounts["alt"]["canonical_id"]
    for name in ("${aws:userid}", mine):
        ok(s3.put(bucket, f"{name}/k", b"v"))
    one = statement(bucket, resource=f"arn:aws:s3:::{bucket}/${{aws:userid}}/*")
    ok(put_policy(s3, bucket, raw=json.dumps({"Version": OLD, "Statement": [one]}).encode()))
    ok(alt.get(bucket, "${aws:userid}/k"))
    refused(alt.get(bucket, f"{mine}/k"), 403, "AccessDenied")


@pytest.mark.parametrize(("pattern", "allowed"), [("${aws:PrincipalAccount}/*", True), ("${aws:username}/*", False)])
def test_variables_in_conditions(s3, alt, accounts, held, pattern, allowed):
    mine = accounts["alt"]["canonical_id"]
    condition = {"StringLike": {"s3:prefix": pattern}}
    ok(put_policy(s3, held, statement(held, action="s3:ListBucket", resource=f"arn:aws:s3:::{held}", Condition=condition)))
    answer = alt.get(held, query=[("prefix", f"{mine}/")])
    ok(answer) if allowed else refused(answer, 403, "AccessDenied")
    refused(alt.get(held, query=[("prefix", "another/")]), 403, "AccessDenied")


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("S3:GETOBJECT", True),
        ("s3:getobject", True),
        ("s3:Get*", True),
        ("s3:*Object", True),
        ("s3:Get?bject", True),
        ("s3:*", True),
        ("*", True),
        ("s3:GetObjectVersion", False),
        ("s3:Put*", False),
    ],
)
def test_actions_are_of_any_case(s3, alt, held, action, allowed):
    assert allows(s3, alt, held, statement(held, action=action)) == allowed


@pytest.mark.parametrize("form", ["arn", "id", "list", "star", "canonical"])
def test_forms_of_a_principal(s3, alt, tenant, accounts, held, form):
    mine = accounts["alt"]["canonical_id"]
    principal = {
        "arn": {"AWS": f"arn:aws:iam::{mine}:root"},
        "id": {"AWS": mine},
        "list": {"AWS": [accounts["main"]["canonical_id"], mine]},
        "star": {"AWS": "*"},
        "canonical": {"CanonicalUser": mine},
    }[form]
    assert allows(s3, alt, held, statement(held, principal=principal))
    answer = tenant.get(held, "k")
    ok(answer) if form == "star" else refused(answer, 403, "AccessDenied")


PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
OPERATORS = [
    ("DateGreaterThanEquals", "aws:CurrentTime", PAST, True),
    ("DateLessThanEquals", "aws:CurrentTime", FUTURE, True),
    ("DateLessThanEquals", "aws:CurrentTime", PAST, False),
    ("DateNotEquals", "aws:CurrentTime", PAST, True),
    ("DateEquals", "aws:CurrentTime", PAST, False),
    ("DateGreaterThan", "aws:CurrentTime", "1577836800", True),
    ("NumericGreaterThan", "aws:EpochTime", "1577836800", True),
    ("NumericLessThan", "aws:EpochTime", "1577836800", False),
    ("NumericNotEquals", "aws:EpochTime", "1", True),
    ("NumericGreaterThanEquals", "aws:EpochTime", "4102444800", False),
    ("StringNotEquals", "aws:UserAgent", "agent/1", False),
    ("StringNotLike", "aws:UserAgent", "agent/*", False),
    ("StringNotLike", "aws:UserAgent", "other/*", True),
    ("StringNotEqualsIgnoreCase", "aws:UserAgent", "AGENT/1", False),
    ("StringEquals", "aws:UserAgent", "AGENT/1", False),
    ("StringLike", "aws:UserAgent", "agent/?", True),
    ("StringLike", "aws:UserAgent", "agent/??", False),
    ("StringEquals", "AWS:useragent", "agent/1", True),
    ("stringequals", "aws:UserAgent", "agent/1", None),
    ("StringEquals", "aws:UserAgent", ["x", "agent/1"], True),
    ("StringNotEquals", "aws:UserAgent", ["x", "agent/1"], False),
    ("Bool", "aws:SecureTransport", "FALSE", True),
    ("BoolIfExists", "aws:MultiFactorAuthPresent", "true", True),
    ("Bool", "aws:MultiFactorAuthPresent", "true", False),
    ("NumericLessThanIfExists", "s3:max-keys", "1", True),
    ("StringNotEqualsIfExists", "aws:UserAgent", "agent/1", False),
    ("Null", "aws:UserAgent", "false", True),
    ("Null", "aws:Referer", "false", False),
    ("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "127.0.0.1"], True),
    ("NotIpAddress", "aws:SourceIp", ["10.0.0.0/8", "127.0.0.1"], False),
    ("IpAddress", "aws:SourceIp", "::1", False),
    ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a"], True),
    ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", ["a"], False),
    ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:root", True),
    ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::1:root", False),
    ("StringEquals", "s3:authType", "REST-HEADER", True),
    ("StringEquals", "s3:authType", "REST-QUERY-STRING", False),
    ("NumericLessThan", "s3:signatureAge", "600000", True),
    ("StringEquals", "s3:signatureversion", "AWS4-HMAC-SHA256", True),
]


@pytest.mark.parametrize(("operator", "name", "value", "allowed"), OPERATORS, ids=lambda v: str(v).replace("/", "|"))
def test_operators(s3, alt, held, operator, name, value, allowed):
    """allowed None: refused, or as if it were written right."""
    if name == "aws:SecureTransport" and s3.secure:
        allowed = not allowed
    one = statement(held, Condition={operator: {name: value}})
    if allowed is None:
        answer = put_policy(s3, held, one)
        if answer.status == 400:
            refused(answer, 400, "MalformedPolicy")
            return
        allowed = True
    assert allows(s3, alt, held, one, headers=[("User-Agent", "agent/1")]) == allowed


@pytest.mark.parametrize(("referer", "allowed"), [("http://x", True), ("http://y", False)])
def test_conditions_must_all_hold(s3, alt, held, referer, allowed):
    condition = {
        "StringEquals": {"aws:Referer": "http://x", "aws:UserAgent": "agent/1"},
        "IpAddress": {"aws:SourceIp": "127.0.0.0/8"},
    }
    one = statement(held, Condition=condition)
    assert allows(s3, alt, held, one, headers=[("User-Agent", "agent/1"), ("Referer", referer)]) == allowed


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP"])
def test_nobody_says_where_he_comes_from(s3, alt, held, header):
    """No proxy is trusted here: what it would say is anyone's word."""
    value = "for=10.1.2.3" if header == "Forwarded" else "10.1.2.3"
    one = statement(held, Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    assert not allows(s3, alt, held, one, headers=[(header, value)])


def test_proto_is_not_believed_either(s3, alt, held):
    if s3.secure:
        pytest.skip("over https it is true")
    one = statement(held, Condition={"Bool": {"aws:SecureTransport": "true"}})
    assert not allows(s3, alt, held, one, headers=[("X-Forwarded-Proto", "https")])


def test_secure_transport_by_https(s3, tls, alt, held):
    ok(put_policy(s3, held, statement(held, Condition={"Bool": {"aws:SecureTransport": "true"}})))
    refused(alt.get(held, "k"), 403, "AccessDenied")
    assert ok(tls.as_(alt.keys).get(held, "k")).body == b"v"


MISMATCHED = {
    "object action on the bucket": ("s3:GetObject", "arn:aws:s3:::{}"),
    "bucket action on objects": ("s3:ListBucket", "arn:aws:s3:::{}/*"),
    "service action": ("s3:ListAllMyBuckets", "arn:aws:s3:::{}"),
    "another bucket that begins alike": ("s3:GetObject", "arn:aws:s3:::{}x/*"),
    "region in the ARN": ("s3:GetObject", "arn:aws:s3:us-east-1::{}/*"),
    "no key": ("s3:GetObject", "arn:aws:s3:::"),
}


@pytest.mark.parametrize("case", MISMATCHED)
def test_action_and_resource_do_not_meet(s3, held, case):
    action, resource = MISMATCHED[case]
    refused(put_policy(s3, held, statement(held, action=action, resource=resource.format(held))), 400, "MalformedPolicy")
    refused(s3.get(held, query=["policy"]), 404, "NoSuchBucketPolicy")


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_confirmed_lock_out_holds(s3, held, confirmed):
    """Root of the owner may mend a policy that shuts it out, unless it said that this is meant."""
    everything = [f"arn:aws:s3:::{held}"]
    one = statement(held, "Deny", action=["s3:DeleteBucketPolicy", "s3:PutBucketPolicy"], resource=everything)
    body = json.dumps({"Version": "2012-10-17", "Statement": [one]})
    more = [("x-amz-confirm-remove-self-bucket-access", "true")] if confirmed else []
    ok(s3.document("PUT", held, None, ["policy"], body, more))
    answer = s3.delete(held, query=["policy"])
    if confirmed:
        refused(answer, 403, "AccessDenied")
        refused(s3.document("PUT", held, None, ["policy"], body), 403, "AccessDenied")
        ok(s3.get(held, query=["policy"]))
    else:
        ok(answer, 204)


def test_a_policy_is_the_owners_alone(s3, alt, accounts, held):
    """Another account that is let do all still does not write the policy: 405, as AWS says."""
    mine = {"AWS": accounts["alt"]["canonical_id"]}
    everything = [f"arn:aws:s3:::{held}", f"arn:aws:s3:::{held}/*"]
    ok(put_policy(s3, held, statement(held, action="s3:*", principal=mine, resource=everything)))
    refused(put_policy(alt, held, statement(held, principal="*")), 405, "MethodNotAllowed")
    refused(alt.delete(held, query=["policy"]), 405, "MethodNotAllowed")
    refused(alt.get(held, query=["policy"]), 405, "MethodNotAllowed")


# Action → a call of alt that needs it, and no other of those here will do.
def calls(alt, bucket, version, upload):
    put = [("partNumber", "1"), ("uploadId", upload)]
    return {
        "s3:ListBucket": lambda: alt.get(bucket),
        "s3:ListBucketVersions": lambda: alt.get(bucket, query=["versions"]),
        "s3:ListBucketMultipartUploads": lambda: alt.get(bucket, query=["uploads"]),
        "s3:ListMultipartUploadParts": lambda: alt.get(bucket, "up", [("uploadId", upload)]),
        "s3:GetObject": lambda: alt.get(bucket, "k"),
        "s3:GetObjectVersion": lambda: alt.get(bucket, "k", [("versionId", version)]),
        "s3:GetObjectTagging": lambda: alt.get(bucket, "k", ["tagging"]),
        "s3:GetObjectVersionTagging": lambda: alt.get(bucket, "k", ["tagging", ("versionId", version)]),
        "s3:GetObjectAcl": lambda: alt.get(bucket, "k", ["acl"]),
        "s3:GetBucketLocation": lambda: alt.get(bucket, query=["location"]),
        "s3:PutObject": lambda: alt.request("PUT", bucket, "up", put, body=b"v"),
        "s3:AbortMultipartUpload": lambda: alt.delete(bucket, "up", [("uploadId", upload)]),
        "s3:DeleteObjectVersion": lambda: alt.delete(bucket, "k", [("versionId", version)]),
        "s3:DeleteObject": lambda: alt.delete(bucket, "k"),
    }


ON_BUCKET = ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation")


@pytest.mark.parametrize("action", calls(None, None, None, None))
def test_each_call_needs_its_action(s3, alt, bucket, action):
    ok(s3.versioning(bucket, "Enabled"))
    version = ok(s3.put(bucket, "k", b"v"))["x-amz-version-id"]
    upload = s3.begin(bucket, "up")
    all_calls = calls(alt, bucket, version, upload)
    others_of_bucket = [a for a in ON_BUCKET if a != action]
    others_of_objects = [a for a in all_calls if a not in ON_BUCKET and a != action]
    on = {True: f"arn:aws:s3:::{bucket}", False: f"arn:aws:s3:::{bucket}/*"}
    others = [statement(bucket, action=others_of_bucket, resource=on[True]), statement(bucket, action=others_of_objects)]
    ok(put_policy(s3, bucket, *others))
    refused(all_calls[action](), 403, "AccessDenied")
    ok(put_policy(s3, bucket, statement(bucket, action=action, resource=on[action in ON_BUCKET])))
    ok(all_calls[action]())


@pytest.mark.parametrize("missing", ["s3:GetObject", "s3:GetObjectTagging", "s3:PutObject", "s3:PutObjectTagging"])
def test_a_copy_needs_both_sides(s3, alt, bucket, missing):
    """Tags that come along are read at the source and written at the copy."""
    ok(s3.put(bucket, "k", b"v", [("x-amz-tagging", "a=1")]))
    needed = {"s3:GetObject", "s3:GetObjectTagging", "s3:PutObject", "s3:PutObjectTagging"}
    source = [("x-amz-copy-source", f"{bucket}/k")]
    ok(put_policy(s3, bucket, statement(bucket, action=sorted(needed - {missing}))))
    refused(alt.put(bucket, "copy", headers=source), 403, "AccessDenied")
    absent(s3, bucket, "copy")
    ok(put_policy(s3, bucket, statement(bucket, action=sorted(needed))))
    ok(alt.put(bucket, "copy", headers=source))


def test_a_key_that_is_not_there_is_told_to_those_who_may_list(s3, alt, held):
    """404 to who may list, 403 to who may not: else names could be guessed."""
    read, listing = statement(held), statement(held, action="s3:ListBucket", resource=f"arn:aws:s3:::{held}")
    ok(put_policy(s3, held, read))
    refused(alt.get(held, "none"), 403, "AccessDenied")
    refused(alt.head(held, "none"), 403)
    ok(put_policy(s3, held, read, listing))
    refused(alt.get(held, "none"), 404, "NoSuchKey")
    present(s3, held, "k", b"v")
