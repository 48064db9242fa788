"""What is judged is what is served, changed or written: rules that are tightened, and objects that are replaced, while
a request is under way. The server is known to have judged a request once it asks for the body (100 Continue)."""

from __future__ import annotations

import base64
import hashlib
import json
import threading

import pytest
from s3 import absent, ok, present, refused

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
BLOCK_ACLS = (
    b'<PublicAccessBlockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
)
ENFORCED = (
    b'<OwnershipControls xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"
)
ONES_MAX = 512
SWAPS = 120


def allow(bucket, who, *actions, condition=None, effect="Allow"):
    """One statement for an account, on the bucket and all in it."""
    statement = {"Effect": effect, "Principal": {"AWS": who}, "Action": list(actions)}
    on_bucket = all("Bucket" in action for action in actions)
    statement["Resource"] = f"arn:aws:s3:::{bucket}" + ("" if on_bucket else "/*")
    if condition:
        statement["Condition"] = condition
    return statement


def set_policy(s3, bucket, *statements):
    body = json.dumps({"Version": "2012-10-17", "Statement": list(statements)}).encode()
    ok(s3.document("PUT", bucket, None, ["policy"], body))


def delete_policy(s3, bucket):
    ok(s3.delete(bucket, query=["policy"]), 204)


@pytest.fixture
def alt_id(accounts):
    return accounts["alt"]["canonical_id"]


def begin(client, method, bucket, key, query, body, headers=()):
    """A request that is judged, and waits for its body."""
    connection = client.connect()
    expect = [*headers, ("Expect", "100-continue")]
    connection.send(client.prepare(method, bucket, key, query, expect, body))
    assert connection.interim() == 100
    connection.send(body[: len(body) // 2])
    return connection


def end(connection, body):
    with connection:
        connection.send(body[len(body) // 2 :])
        return connection.answer()


def revoke(s3, bucket):
    delete_policy(s3, bucket)


def block(s3, bucket):
    ok(s3.document("PUT", bucket, None, ["publicAccessBlock"], BLOCK_ACLS))


def own(s3, bucket):
    ok(s3.document("PUT", bucket, None, ["ownershipControls"], ENFORCED))


@pytest.mark.parametrize("size", [1_000, 100_000, 3_000_000])
@pytest.mark.parametrize(
    "tighten, status, code",
    [(revoke, 403, "AccessDenied"), (block, 403, "AccessDenied"), (own, 400, "AccessControlListNotSupported")],
    ids=["policy", "public access block", "ownership"],
)
def test_a_write_is_judged_by_the_rules_at_its_commit(s3, alt, bucket, alt_id, size, tighten, status, code):
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:PutObject", "s3:PutObjectAcl"))
    body = b"x" * size
    slow = begin(alt, "PUT", bucket, "k", (), body, [("x-amz-acl", "public-read")])
    tighten(s3, bucket)
    refused(end(slow, body), status, code)
    absent(s3, bucket, "k")


@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_a_write_goes_on_where_other_configuration_changed(s3, alt, bucket, alt_id, size):
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:PutObject"))
    body = b"x" * size
    slow = begin(alt, "PUT", bucket, "k", (), body)
    ok(s3.versioning(bucket, "Enabled"))
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:PutObject", "s3:DeleteObject"))
    answer = ok(end(slow, body))
    assert answer["x-amz-version-id"] not in (None, "null"), "by the versioning there is"
    assert len(s3.versions(bucket)) == 1


def test_a_write_whose_writer_loses_its_object_to_the_owner_is_the_owners(s3, alt, bucket, alt_id):
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:PutObject"))
    slow = begin(alt, "PUT", bucket, "k", (), b"x" * 100_000)
    own(s3, bucket)
    ok(end(slow, b"x" * 100_000))
    listed = ok(s3.get(bucket)).text("Contents/Owner/ID")
    assert listed == ok(s3.get("")).text("Owner/ID")


def test_a_part_is_judged_by_the_rules_at_its_commit(s3, alt, bucket, alt_id):
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:PutObject"))
    upload = alt.begin(bucket, "k")
    body = b"x" * 100_000
    slow = begin(alt, "PUT", bucket, "k", [("partNumber", "1"), ("uploadId", upload)], body)
    revoke(s3, bucket)
    refused(end(slow, body), 403, "AccessDenied")


def test_a_complete_is_judged_by_the_rules_at_its_commit(s3, alt, bucket, alt_id):
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:PutObject"))
    upload = alt.begin(bucket, "k")
    tag = ok(alt.part(bucket, "k", upload, 1, b"x"))["etag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    slow = begin(alt, "POST", bucket, "k", [("uploadId", upload)], body)
    revoke(s3, bucket)
    refused(end(slow, body), 403, "AccessDenied")
    absent(s3, bucket, "k")


def test_each_key_of_a_deletion_is_judged_by_the_rules_at_its_commit(s3, alt, bucket, alt_id):
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:DeleteObject"))
    ok(s3.put(bucket, "k", b"v"))
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    slow = begin(alt, "POST", bucket, None, ["delete"], body, [("Content-MD5", digest)])
    revoke(s3, bucket)
    assert ok(end(slow, body)).texts("Error/Code") == ["AccessDenied"]
    present(s3, bucket, "k", b"v")


def test_configuration_is_judged_by_the_rules_at_its_commit(s3, alt, bucket, alt_id):
    set_policy(s3, bucket, allow(bucket, alt_id, "s3:PutBucketTagging"))
    body = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    slow = begin(alt, "PUT", bucket, None, ["tagging"], body)
    revoke(s3, bucket)
    refused(end(slow, body), 403, "AccessDenied")
    refused(s3.get(bucket, query=["tagging"]), 404, "NoSuchTagSet")


def test_a_list_judged_for_one_object_does_not_land_on_the_next(s3, alt, anonymous, bucket, accounts, alt_id):
    ok(s3.request("PUT", bucket, None, ["acl"], [("x-amz-grant-write", f"id={alt_id}")]))
    ok(alt.put(bucket, "k", b"of alt"))
    main = accounts["main"]["canonical_id"]
    body = (
        f'<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>{main}</ID></Owner>'
        '<AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group">'
        f"<URI>{ALL_USERS}</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
    ).encode()
    slow = begin(alt, "PUT", bucket, "k", ["acl"], body)
    ok(s3.put(bucket, "k", b"of main"))
    refused(end(slow, body), 403, "AccessDenied")
    refused(anonymous.get(bucket, "k"), 403, "AccessDenied")
    present(s3, bucket, "k", b"of main")


def test_a_private_object_is_not_served_for_the_public_one_it_replaced(s3, alt, anonymous, bucket, new_bucket):
    copies = new_bucket(alt)
    ok(s3.put(bucket, "k", b"PUBLIC", [("x-amz-acl", "public-read")]))
    over, served = threading.Event(), []

    def read(client, take):
        while not over.is_set():
            served.append(take(client))

    def get(client):
        answer = client.get(bucket, "k")
        return answer.body if answer.status == 200 else b""

    def copy(client):
        done = client.put(copies, "k", headers=[("x-amz-copy-source", f"/{bucket}/k")])
        return client.get(copies, "k").body if done.status == 200 else b""

    readers = [threading.Thread(target=read, args=who) for who in [(anonymous, get), (anonymous, get), (alt, copy)]]
    for reader in readers:
        reader.start()
    try:
        for _ in range(SWAPS):
            ok(s3.put(bucket, "k", b"SECRET"))
            ok(s3.put(bucket, "k", b"PUBLIC", [("x-amz-acl", "public-read")]))
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert set(served) <= {b"", b"PUBLIC"}
    assert b"PUBLIC" in served


def test_tags_whose_keys_differ_in_case_dodge_no_condition(s3, alt, bucket, alt_id):
    public = {"StringEquals": {"s3:RequestObjectTag/sec": "public"}}
    other = {"StringNotEquals": {"s3:RequestObjectTag/sec": "public"}}
    grant = allow(bucket, alt_id, "s3:PutObject", "s3:PutObjectTagging", condition=public)
    for rules in ([grant], [grant, allow(bucket, alt_id, "s3:PutObject", condition=other, effect="Deny")]):
        set_policy(s3, bucket, *rules)
        for tags, good in [
            ("sec=public", True),
            ("sec=secret", False),
            ("sec=secret&Sec=public", False),
            ("sec=public&SEC=secret", False),
        ]:
            answer = alt.put(bucket, "k", b"x", [("x-amz-tagging", tags)])
            if good:
                ok(answer)
            else:
                refused(answer, 403, "AccessDenied")


def test_question_marks_of_a_policy_are_bounded(s3, bucket):
    for count, good in [(ONES_MAX, True), (ONES_MAX + 1, False)]:
        condition = {"StringLike": {"aws:UserAgent": "*" + "?" * count + "b*"}}
        statement = allow(bucket, "*", "s3:GetObject", condition=condition, effect="Deny")
        body = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
        answer = s3.document("PUT", bucket, None, ["policy"], body)
        if good:
            ok(answer)
        else:
            refused(answer, 400, "MalformedPolicy")


def test_a_value_too_long_for_wildcards_dodges_no_deny(s3, bucket):
    statement = allow(bucket, "*", "s3:GetObject", condition={"StringLike": {"aws:UserAgent": "*evil*"}}, effect="Deny")
    set_policy(s3, bucket, statement)
    ok(s3.put(bucket, "k", b"v"))
    ok(s3.get(bucket, "k", headers=[("User-Agent", "a" * 2_048)]))
    refused(s3.get(bucket, "k", headers=[("User-Agent", "a" * 2_049)]), 403, "AccessDenied")


@pytest.mark.parametrize("presign, condition", [
    (False, {"StringNotEquals": {"s3:authType": "REST-HEADER"}}),
    (True, {"StringNotEquals": {"s3:authType": "REST-QUERY-STRING"}}),
    (True, {"NumericGreaterThan": {"s3:signatureAge": "600000"}}),
], ids=["header", "query", "age"])
def test_what_is_known_of_a_signature_survives_mending(s3, alt, bucket, alt_id, presign, condition):
    """A Range that is none is taken off before the operation sees the request."""
    grant = allow(bucket, alt_id, "s3:GetObject")
    set_policy(s3, bucket, grant, allow(bucket, alt_id, "s3:GetObject", condition=condition, effect="Deny"))
    ok(s3.put(bucket, "k", b"v", [("x-amz-grant-read", f"id={alt_id}")]))
    for headers in ([], [("Range", "lines=1-2")]):
        assert ok(alt.get(bucket, "k", headers=headers, presign=presign)).body == b"v"
