"""Configuration that cannot be set: reads say so, writes are refused, unknown things are named."""

from __future__ import annotations

import pytest
from s3 import XMLNS, absent, ok, present, refused

READS = {
    "lifecycle": (404, "NoSuchLifecycleConfiguration"),
    "replication": (404, "ReplicationConfigurationNotFoundError"),
    "website": (404, "NoSuchWebsiteConfiguration"),
    "object-lock": (404, "ObjectLockConfigurationNotFoundError"),
    "tagging": (404, "NoSuchTagSet"),
    "cors": (404, "NoSuchCORSConfiguration"),
    "policy": (404, "NoSuchBucketPolicy"),
    "logging": (200, "BucketLoggingStatus"),
    "notification": (200, "NotificationConfiguration"),
    "accelerate": (200, "AccelerateConfiguration"),
    "requestPayment": (200, "RequestPaymentConfiguration"),
    "versioning": (200, "VersioningConfiguration"),
    "location": (200, "LocationConstraint"),
    "inventory": (200, "ListInventoryConfigurationsResult"),
    "analytics": (200, "ListBucketAnalyticsConfigurationResult"),
    "metrics": (200, "ListMetricsConfigurationsResult"),
    "intelligent-tiering": (200, "ListBucketIntelligentTieringConfigurationsOutput"),
}


@pytest.mark.parametrize("name", READS)
def test_read(s3, bucket, name):
    status, word = READS[name]
    answer = s3.get(bucket, query=[name])
    if status == 200:
        assert ok(answer).xml.tag == word
    else:
        refused(answer, status, word)


@pytest.mark.parametrize("name", ["inventory", "analytics", "metrics", "intelligent-tiering"])
def test_read_by_id(s3, bucket, name):
    refused(s3.get(bucket, query=[name, ("id", "x")]), 404, "NoSuchConfiguration")


WRITES = {
    "lifecycle": "<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix/></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
    "website": "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>",
    "replication": "<ReplicationConfiguration><Role>r</Role><Rule><Status>Enabled</Status><Prefix/><Destination><Bucket>arn:aws:s3:::x</Bucket></Destination></Rule></ReplicationConfiguration>",
    "logging": "<BucketLoggingStatus><LoggingEnabled><TargetBucket>x</TargetBucket><TargetPrefix>p</TargetPrefix></LoggingEnabled></BucketLoggingStatus>",
    "notification": "<NotificationConfiguration><QueueConfiguration><Queue>arn:aws:sqs:us-east-1:1:q</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>",
    "accelerate": "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>",
    "requestPayment": "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
    "object-lock": "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
}


@pytest.mark.parametrize("name", WRITES)
def test_write_is_refused_or_works(s3, bucket, name):
    """Never stored without effect, never thrown away with a 200."""
    before = s3.get(bucket, query=[name])
    answer = s3.document("PUT", bucket, None, [name], WRITES[name].replace(">", f" {XMLNS}>", 1))
    if answer.status in (200, 204):
        assert s3.get(bucket, query=[name]).body != before.body, "answered 200 and ignored"
        return
    refused(answer, (400, 409, 501), ("NotImplemented", "InvalidBucketState", "InvalidRequest"))
    after = s3.get(bucket, query=[name])
    assert (after.status, after.code) == (before.status, before.code)


@pytest.mark.parametrize("name", ["inventory", "analytics", "metrics", "intelligent-tiering"])
def test_write_by_id_is_refused(s3, bucket, name):
    refused(
        s3.document("PUT", bucket, None, [name, ("id", "x")], f"<X {XMLNS}/>"), (400, 501), ("NotImplemented", "MalformedXML")
    )


@pytest.mark.parametrize("name", ["lifecycle", "website", "replication", "cors", "tagging", "policy", "encryption"])
def test_deleting_what_is_not_there(s3, bucket, name):
    ok(s3.delete(bucket, query=[name]), 204)
    ok(s3.head(bucket))


@pytest.mark.parametrize(
    ("method", "query"),
    [("PUT", "retention"), ("PUT", "legal-hold"), ("POST", "restore"), ("POST", "select"), ("PUT", "torrent")],
)
def test_object_operations_not_built(s3, shelf, key, method, query):
    """Above all: never taken for a PUT of the object."""
    ok(s3.put(shelf, key, b"keep"))
    words = [query, ("select-type", "2")] if query == "select" else [query]
    answer = s3.document(method, shelf, key, words, f"<X {XMLNS}/>")
    assert answer.status in (400, 403, 405, 501), answer
    present(s3, shelf, key, b"keep")


def test_locked_bucket_is_refused_or_made(s3):
    from conftest import fresh_name

    name = fresh_name()
    answer = s3.request("PUT", name, headers=[("x-amz-bucket-object-lock-enabled", "true")])
    if answer.status == 200:
        ok(s3.get(name, query=["object-lock"]))
        s3.remove(name)
    else:
        refused(answer, 501, "NotImplemented")
        refused(s3.get(name), 404, "NoSuchBucket")


@pytest.mark.parametrize("method", ["PATCH", "FOO", "TRACE", "PROPFIND", "LOCK"])
def test_unknown_method(s3, shelf, key, method):
    refused(s3.request(method, shelf, key), 405, "MethodNotAllowed")
    absent(s3, shelf, key)


@pytest.mark.parametrize("query", [["foo"], [("foo", "bar")], [("x-id", "GetObject")], [("acl2", None)]], ids=str)
def test_unknown_parameter_is_ignored(s3, shelf, key, query):
    ok(s3.put(shelf, key, b"v"))
    assert ok(s3.get(shelf, key, query)).body == b"v"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_root_takes_no_writes(s3, method):
    refused(s3.request(method, "", path="/"), (400, 403, 405), ("MethodNotAllowed", "InvalidRequest", "AccessDenied"))


@pytest.mark.parametrize(("path", "method"), [("key", "POST"), (None, "POST")], ids=["object", "bucket"])
def test_post_of_nothing(s3, shelf, path, method):
    refused(s3.request(method, shelf, path), (400, 405, 411, 412, 501))


def test_bucket_location(s3, shelf):
    assert (ok(s3.get(shelf, query=["location"])).xml.text or "") in ("", s3.keys.region)


@pytest.mark.parametrize(
    "xml",
    [
        "<CreateBucketConfiguration><LocationConstraint>mars-1</LocationConstraint></CreateBucketConfiguration>",
        "<Foo/>",
        "garbage",
    ],
)
def test_bucket_elsewhere(s3, xml):
    from conftest import fresh_name

    name = fresh_name()
    refused(
        s3.request("PUT", name, body=xml.encode()),
        400,
        ("InvalidLocationConstraint", "IllegalLocationConstraintException", "MalformedXML"),
    )
    refused(s3.head(name), 404)


def test_bucket_of_another_is_taken(s3, alt, bucket):
    refused(alt.request("PUT", bucket), 409, "BucketAlreadyExists")
    answer = s3.request("PUT", bucket)
    if answer.status != 200:
        refused(answer, 409, "BucketAlreadyOwnedByYou")


def test_buckets_made_at_once(s3, alt):
    """One name, two accounts, many tries: one owner."""
    from conftest import fresh_name

    name = fresh_name()
    answers = s3.many([lambda c=c: c.request("PUT", name) for c in (s3, alt) * 4])
    mine, theirs = ([a.status == 200 for a in answers[i::2]] for i in (0, 1))
    assert any(mine) != any(theirs), answers
    (s3 if any(mine) else alt).remove(name)
