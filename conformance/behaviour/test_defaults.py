"""What a server without the profile's switches refuses: every one of them is off, or stricter, until it is set."""

from __future__ import annotations

import os

import pytest
from conftest import _keys, fresh_name
from harness.server import Server
from s3 import Client, absent, ok, present, refused
from test_sse import KMS, ONE

pytestmark = [
    pytest.mark.xdist_group("defaults"),
    pytest.mark.skipif(not os.environ.get("S3_DRIVES"), reason="the server is not ours to start"),
]
SWITCHES = (
    "default_object_ownership",
    "block_public_access_default",
    "post_form_sigv2",
    "sse_c_over_http",
    "storage_classes_extra",
    "kms_keys",
)


class Bare(Server):
    """Of the profile only the accounts."""

    def move_ports(self) -> None:
        super().move_ports()
        lines = self.config.read_text().splitlines(keepends=True)
        left = [line for line in lines if not line.startswith(SWITCHES)]
        assert len(lines) - len(left) == len(SWITCHES), "the profile has other switches now"
        self.config.write_text("".join(left))


@pytest.fixture(scope="module")
def server():
    with Bare("both") as bare:
        yield bare


@pytest.fixture(scope="module")
def bare(server):
    """main there, by http; shadows what conftest.py calls s3."""
    return Client(server.endpoint, _keys("main"))


@pytest.fixture(scope="module")
def secure(server):
    return Client(server.https, _keys("main"), str(server.ca))


@pytest.fixture
def bucket(bare):
    name = fresh_name()
    ok(bare.request("PUT", name))
    yield name
    bare.remove(name)


def test_a_new_bucket_has_lists_off_and_is_not_made_public(bare, bucket):
    assert ok(bare.get(bucket, query=["ownershipControls"])).text("Rule/ObjectOwnership") == "BucketOwnerEnforced"
    block = ok(bare.get(bucket, query=["publicAccessBlock"]))
    assert {e.text for e in block.xml} == {"true"} and len(block.xml) == 4
    for headers in ([("x-amz-acl", "public-read")], [("x-amz-grant-read", "id=" + "0" * 64)]):
        refused(bare.put(bucket, "k", b"v", headers), 400, "AccessControlListNotSupported")
    absent(bare, bucket, "k")


def test_a_public_policy_is_refused(bare, bucket):
    from test_policy import put_policy, statement

    refused(put_policy(bare, bucket, statement(bucket)), 403, "AccessDenied")
    refused(bare.get(bucket, query=["policy"]), 404, "NoSuchBucketPolicy")


def test_a_customers_key_needs_https(bare, secure, bucket):
    refused(bare.put(bucket, "k", b"v", ONE), 400, "InvalidRequest")
    refused(bare.request("POST", bucket, "k", ["uploads"], ONE), 400, "InvalidRequest")
    absent(bare, bucket, "k")
    ok(secure.put(bucket, "k", b"v", ONE))
    present(secure, bucket, "k", b"v", ONE)
    refused(bare.get(bucket, "k", headers=ONE), 400, "InvalidRequest")
    refused(bare.get(bucket, "k", headers=[*ONE, ("X-Forwarded-Proto", "https")]), 400, "InvalidRequest")
    ok(secure.delete(bucket, "k"), 204)


def test_forms_of_version_two_are_refused(bare, bucket):
    import base64
    import hashlib
    import hmac
    import json

    from test_post import encode, send
    from test_post_policy import UNTIL

    text = json.dumps({"expiration": UNTIL, "conditions": [{"bucket": bucket}, {"key": "k"}]})
    policy = base64.b64encode(text.encode()).decode()
    signature = base64.b64encode(hmac.new(bare.keys.secret.encode(), policy.encode(), hashlib.sha1).digest()).decode()
    fields = [("key", "k"), ("AWSAccessKeyId", bare.keys.access), ("policy", policy), ("signature", signature)]
    refused(send(bare, bucket, encode(fields)), 400, "InvalidRequest")
    absent(bare, bucket, "k")


@pytest.mark.parametrize("named", ["INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"])
def test_classes_that_promise_what_is_not_done(bare, bucket, named):
    refused(bare.put(bucket, "k", b"v", [("x-amz-storage-class", named)]), 400, "InvalidStorageClass")
    absent(bare, bucket, "k")


def test_keys_that_nobody_made(bare, bucket):
    refused(bare.put(bucket, "k", b"v", KMS), 400, "KMS.NotFoundException")
    absent(bare, bucket, "k")
    ok(bare.put(bucket, "k", b"v", KMS[:1]))
    assert present(bare, bucket, "k", b"v")["x-amz-server-side-encryption"] == "aws:kms"
