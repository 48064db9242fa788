"""Accounts as the profile has them: their ids and names in every answer that names somebody, what a new bucket is, and
the calls by which the public suite and many scripts clear a bucket away."""

from __future__ import annotations

import pytest
from s3 import XMLNS, ok, refused

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


def who(accounts, name):
    return accounts[name]["canonical_id"], accounts[name]["name"]


def named(element, path):
    return element.findtext(f"{path}/ID"), element.findtext(f"{path}/DisplayName")


@pytest.fixture(params=["main", "alt", "tenant"])
def each(request, s3):
    """(name, client) of each account."""
    return request.param, s3 if request.param == "main" else request.getfixturevalue(request.param)


def test_owner_of_buckets(accounts, each):
    name, client = each
    assert named(ok(client.get("")).xml, "Owner") == who(accounts, name)


def test_owner_in_lists(accounts, each, new_bucket):
    name, client = each
    bucket, me = new_bucket(client), who(accounts, name)
    for key in (None, "k"):
        if key:
            ok(client.put(bucket, key, b"v"))
        acl = ok(client.get(bucket, key, ["acl"])).xml
        assert named(acl, "Owner") == me
        assert named(acl, "AccessControlList/Grant/Grantee") == me
        assert acl.findtext("AccessControlList/Grant/Permission") == "FULL_CONTROL"
    for query in ([], [("list-type", "2"), ("fetch-owner", "true")]):
        assert named(ok(client.get(bucket, query=query)).xml, "Contents/Owner") == me
    ok(client.versioning(bucket, "Enabled"))
    ok(client.delete(bucket, "k"))
    page = ok(client.get(bucket, query=["versions"])).xml
    assert (named(page, "Version/Owner"), named(page, "DeleteMarker/Owner")) == (me, me)
    upload = client.begin(bucket, "up")
    page = ok(client.get(bucket, query=["uploads"])).xml
    assert (named(page, "Upload/Owner"), named(page, "Upload/Initiator")) == (me, me)
    page = ok(client.get(bucket, "up", [("uploadId", upload)])).xml
    assert (named(page, "Owner"), named(page, "Initiator")) == (me, me)


def test_the_writer_owns_what_it_writes(s3, alt, accounts, new_bucket):
    """Ownership ObjectWriter, the profile's default: as AWS was before there were ownership controls."""
    bucket, me = new_bucket(headers=[("x-amz-acl", "public-read-write")]), who(accounts, "alt")
    ok(alt.put(bucket, "k", b"v"))
    assert named(ok(s3.get(bucket)).xml, "Contents/Owner") == me
    assert named(ok(alt.get(bucket, "k", ["acl"])).xml, "Owner") == me
    refused(s3.get(bucket, "k"), 403, "AccessDenied")
    alt.begin(bucket, "up")
    assert named(ok(s3.get(bucket, query=["uploads"])).xml, "Upload/Initiator") == me
    ok(s3.delete(bucket, "k"), 204)


def test_a_new_bucket_is_private_with_lists_on(s3, anonymous, bucket):
    refused(s3.get(bucket, query=["publicAccessBlock"]), 404, "NoSuchPublicAccessBlockConfiguration")
    controls = s3.get(bucket, query=["ownershipControls"])
    if controls.status == 200:
        assert controls.text("Rule/ObjectOwnership") == "ObjectWriter"
    else:
        refused(controls, 404, "OwnershipControlsNotFoundError")
    ok(s3.put(bucket, "k", b"v", [("x-amz-acl", "public-read")]))
    ok(anonymous.get(bucket, "k"))
    refused(anonymous.get(bucket), 403, "AccessDenied")


@pytest.mark.parametrize("how", ["control", "header"])
def test_lists_off(s3, anonymous, new_bucket, how):
    """Ownership BucketOwnerEnforced, AWS's default since 2023."""
    enforced = "BucketOwnerEnforced"
    bucket = new_bucket(headers=[("x-amz-object-ownership", enforced)] if how == "header" else [])
    if how == "control":
        rule = f"<Rule><ObjectOwnership>{enforced}</ObjectOwnership></Rule>"
        ok(s3.document("PUT", bucket, None, ["ownershipControls"], f"<OwnershipControls {XMLNS}>{rule}</OwnershipControls>"))
    refused(s3.put(bucket, "k", b"v", [("x-amz-acl", "public-read")]), 400, "AccessControlListNotSupported")
    refused(s3.get(bucket, "k"), 404, "NoSuchKey")
    ok(s3.put(bucket, "k", b"v", [("x-amz-acl", "bucket-owner-full-control")]))
    refused(s3.request("PUT", bucket, "k", ["acl"], [("x-amz-acl", "public-read")]), 400, "AccessControlListNotSupported")
    refused(s3.request("PUT", bucket, None, ["acl"], [("x-amz-acl", "public-read")]), 400, "AccessControlListNotSupported")
    refused(anonymous.get(bucket, "k"), 403, "AccessDenied")


SWITCHES = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]


def test_public_access_block(s3, anonymous, bucket):
    ok(s3.put(bucket, "k", b"v", [("x-amz-acl", "public-read")]))
    ok(anonymous.get(bucket, "k"))
    xml = "".join(f"<{name}>true</{name}>" for name in SWITCHES)
    block = f"<PublicAccessBlockConfiguration {XMLNS}>{xml}</PublicAccessBlockConfiguration>"
    ok(s3.document("PUT", bucket, None, ["publicAccessBlock"], block))
    answer = ok(s3.get(bucket, query=["publicAccessBlock"]))
    assert [answer.text(name) for name in SWITCHES] == ["true"] * 4
    refused(anonymous.get(bucket, "k"), 403, "AccessDenied")
    refused(s3.put(bucket, "l", b"v", [("x-amz-acl", "public-read")]), 403, "AccessDenied")
    refused(s3.get(bucket, "l"), 404, "NoSuchKey")
    ok(s3.delete(bucket, query=["publicAccessBlock"]), 204)
    ok(anonymous.get(bucket, "k"))


def test_clearing_a_bucket_away(s3, new_bucket):
    """As every test of the public suite ends, on a bucket that was never versioned."""
    bucket, bypass = new_bucket(), [("x-amz-bypass-governance-retention", "true")]
    for i in range(130):
        ok(s3.put(bucket, f"k{i:03}"))
    s3.begin(bucket, "open")
    assert bucket in ok(s3.get("")).texts("Buckets/Bucket/Name")
    left, more = [], []
    while True:
        page = ok(s3.get(bucket, query=["versions", ("max-keys", "128"), *more]))
        left += zip(page.texts("Version/Key"), page.texts("Version/VersionId"))
        if page.text("IsTruncated") == "false":
            break
        more = [("key-marker", page.text("NextKeyMarker")), ("version-id-marker", page.text("NextVersionIdMarker"))]
    assert left == [(f"k{i:03}", "null") for i in range(130)]
    assert ok(s3.delete_many(bucket, left, headers=bypass)).texts("Deleted/VersionId") == ["null"] * 130
    ok(s3.put(bucket, "last"))
    ok(s3.delete(bucket, "last", [("versionId", "null")], bypass), 204)
    assert s3.versions(bucket) == []
    ok(s3.delete(bucket), 204)
    refused(s3.head(bucket), 404)


def test_a_bypass_needs_no_permission_of_its_own_where_nothing_is_locked(s3, alt, new_bucket):
    """The suite sends it always; what it would lift is not there."""
    bucket = new_bucket(headers=[("x-amz-acl", "public-read-write")])
    ok(alt.put(bucket, "k", b"v"))
    ok(alt.delete(bucket, "k", headers=[("x-amz-bypass-governance-retention", "true")]), 204)
    refused(s3.get(bucket, "k"), 404, "NoSuchKey")


@pytest.mark.parametrize("wanted", ["us-east-1", "eu-west-1"])
def test_buckets_by_region(s3, bucket, wanted):
    page = ok(s3.get("", query=[("bucket-region", wanted), ("prefix", bucket)]))
    assert page.texts("Buckets/Bucket/Name") == ([bucket] if wanted == s3.keys.region else [])
    assert ok(s3.head(bucket))["x-amz-bucket-region"] == s3.keys.region
