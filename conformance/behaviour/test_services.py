"""What is not built: other services of the port, and operations that are 501. None is half done, none is ignored."""

from __future__ import annotations

import json

import pytest
from conftest import fresh_name
from s3 import XMLNS, absent, ok, present, refused
from sign import sha, sign_header
from test_post import post
from wire import head

IAM = b"Action=GetUser&Version=2010-05-08"
FORM = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
ACTIONS = {
    "iam": IAM,
    "sts": b"Action=GetCallerIdentity&Version=2011-06-15",
    "sns": b"Action=ListTopics&Version=2010-03-31",
}


@pytest.mark.parametrize("hashed", [True, False], ids=["hashed", "not hashed"])
@pytest.mark.parametrize("region", ["", "us-east-1"])
@pytest.mark.parametrize("service", ACTIONS)
def test_other_services(s3, service, region, hashed):
    """By the scope of the signature; the SDKs of IAM sign an empty region and send no x-amz-content-sha256."""
    body, keys = ACTIONS[service], s3.keys.but(service=service, region=region)
    headers = [("Host", s3.authority), FORM, ("Content-Length", str(len(body)))]
    signed = ["content-type", "host", "x-amz-date"]
    out, _ = sign_header(keys, "POST", "/", [], headers, sha(body), signed=None if hashed else signed)
    out = [h for h in out if hashed or h[0] != "x-amz-content-sha256"]
    with s3.connect() as c:
        c.send(head("POST", "/", out), body)
        refused(c.answer("POST"), 501, "NotImplemented")
        c.send(s3.prepare("GET"))
        ok(c.answer())


@pytest.mark.parametrize("action", [IAM, b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15"])
def test_other_services_for_nobody(s3, anonymous, action):
    """AssumeRoleWithWebIdentity is not signed at all."""
    answer = anonymous.request("POST", "", path="/", headers=[FORM], body=action)
    refused(answer, (403, 405, 501), ("AccessDenied", "MethodNotAllowed", "NotImplemented"))


def test_scope_of_another_service_opens_nothing(s3, shelf, key):
    """Who signs for IAM has not signed for S3."""
    for service in ACTIONS:
        answer = s3.put(shelf, key, b"x", keys=s3.keys.but(service=service))
        refused(answer, (400, 501), ("AuthorizationHeaderMalformed", "NotImplemented"))
    absent(s3, shelf, key)


LIFECYCLE = "<Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix/></Filter><Expiration><Days>1</Days></Expiration></Rule>"
BY_ID = {
    "analytics": ("AnalyticsConfiguration", "<Id>x</Id><StorageClassAnalysis/>"),
    "inventory": (
        "InventoryConfiguration",
        "<Id>x</Id><IsEnabled>true</IsEnabled><IncludedObjectVersions>All</IncludedObjectVersions><Schedule><Frequency>Daily"
        "</Frequency></Schedule><Destination><S3BucketDestination><Bucket>arn:aws:s3:::x</Bucket><Format>CSV</Format>"
        "</S3BucketDestination></Destination>",
    ),
    "metrics": ("MetricsConfiguration", "<Id>x</Id>"),
    "intelligent-tiering": (
        "IntelligentTieringConfiguration",
        "<Id>x</Id><Status>Enabled</Status><Tiering><AccessTier>ARCHIVE_ACCESS</AccessTier><Days>90</Days></Tiering>",
    ),
}
# Sub-resource → root and content of a good document.
PUTS = {
    "lifecycle": ("LifecycleConfiguration", LIFECYCLE),
    "website": ("WebsiteConfiguration", "<IndexDocument><Suffix>i</Suffix></IndexDocument>"),
    "replication": (
        "ReplicationConfiguration",
        "<Role>arn:aws:iam::1:role/r</Role><Rule><Status>Enabled</Status><Prefix/><Destination><Bucket>arn:aws:s3:::x</Bucket>"
        "</Destination></Rule>",
    ),
    "logging": (
        "BucketLoggingStatus",
        "<LoggingEnabled><TargetBucket>x</TargetBucket><TargetPrefix>p</TargetPrefix></LoggingEnabled>",
    ),
    "notification": (
        "NotificationConfiguration",
        "<QueueConfiguration><Queue>arn:aws:sqs:us-east-1:1:q</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>",
    ),
    "accelerate": ("AccelerateConfiguration", "<Status>Enabled</Status>"),
    "requestPayment": ("RequestPaymentConfiguration", "<Payer>Requester</Payer>"),
    "object-lock": ("ObjectLockConfiguration", "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"),
    "abac": ("AbacStatus", "<Status>Enabled</Status>"),
}


@pytest.mark.parametrize("name", PUTS)
def test_configuration_is_not_taken(s3, bucket, name):
    root, inner = PUTS[name]
    before = s3.get(bucket, query=[name])
    refused(s3.document("PUT", bucket, None, [name], f"<{root} {XMLNS}>{inner}</{root}>"), 501, "NotImplemented")
    after = s3.get(bucket, query=[name])
    assert (after.status, after.code) == (before.status, before.code)


@pytest.mark.parametrize("name", BY_ID)
def test_configuration_by_id_is_not_taken(s3, bucket, name):
    root, inner = BY_ID[name]
    query = [name, ("id", "x")]
    refused(s3.document("PUT", bucket, None, query, f"<{root} {XMLNS}>{inner}</{root}>"), 501, "NotImplemented")
    refused(s3.get(bucket, query=query), 404, "NoSuchConfiguration")
    refused(s3.delete(bucket, query=query), 501, "NotImplemented")


READS = [
    ("GET", None, ["abac"]),
    ("GET", None, ["metadataConfiguration"]),
    ("GET", None, ["metadataTable"]),
    ("DELETE", None, ["metadataConfiguration"]),
    ("DELETE", None, ["metadataTable"]),
    ("GET", None, ["session"]),
    ("GET", "k", ["torrent"]),
    ("GET", "k", ["annotation", ("annotationName", "a")]),
    ("DELETE", "k", ["annotation", ("annotationName", "a")]),
    ("PUT", "k", ["annotation", ("annotationName", "a")]),
]


@pytest.mark.parametrize(("method", "name", "query"), READS, ids=str)
def test_not_built(s3, bucket, method, name, query):
    ok(s3.put(bucket, "k", b"keep"))
    refused(s3.request(method, bucket, name, query), 501, "NotImplemented")
    present(s3, bucket, "k", b"keep")


OBJECTS = {
    "retention": (
        "PUT",
        ["retention"],
        "Retention",
        "<Mode>GOVERNANCE</Mode><RetainUntilDate>2033-01-01T00:00:00Z</RetainUntilDate>",
    ),
    "legal hold": ("PUT", ["legal-hold"], "LegalHold", "<Status>ON</Status>"),
    "restore": ("POST", ["restore"], "RestoreRequest", "<Days>1</Days>"),
    "select": (
        "POST",
        ["select", ("select-type", "2")],
        "SelectObjectContentRequest",
        "<Expression>select * from s3object</Expression><ExpressionType>SQL</ExpressionType><InputSerialization><CSV/>"
        "</InputSerialization><OutputSerialization><CSV/></OutputSerialization>",
    ),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_object_operations_not_built(s3, bucket, case):
    method, query, root, inner = OBJECTS[case]
    ok(s3.put(bucket, "k", b"keep"))
    refused(s3.document(method, bucket, "k", query, f"<{root} {XMLNS}>{inner}</{root}>"), 501, "NotImplemented")
    present(s3, bucket, "k", b"keep")
    ok(s3.delete(bucket, "k"), 204)


def test_rename_is_not_built(s3, bucket):
    ok(s3.put(bucket, "k", b"keep"))
    refused(s3.request("PUT", bucket, "to", ["renameObject"], [("x-amz-rename-source", f"{bucket}/k")]), 501, "NotImplemented")
    assert s3.keys_of(bucket) == ["k"]


@pytest.mark.parametrize("name", ["retention", "legal-hold"])
def test_lock_of_an_object_in_a_bucket_without(s3, bucket, name):
    ok(s3.put(bucket, "k", b"v"))
    refused(s3.get(bucket, "k", [name]), 400, "InvalidRequest")


LOCK = {
    "retention": {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2033-01-01T00:00:00Z"},
    "legal hold": {"x-amz-object-lock-legal-hold": "ON"},
}


@pytest.mark.parametrize("how", ["put", "copy", "create upload", "form"])
@pytest.mark.parametrize("case", LOCK)
def test_a_lock_asked_for_by_header(s3, bucket, case, how):
    ok(s3.put(bucket, "source", b"v"))
    headers = list(LOCK[case].items())
    if how == "form":
        answer = post(s3, bucket, {"key": "k", **LOCK[case]})
    elif how == "create upload":
        answer = s3.request("POST", bucket, "k", ["uploads"], headers)
    else:
        source = [("x-amz-copy-source", f"{bucket}/source")] if how == "copy" else []
        answer = s3.put(bucket, "k", b"", [*source, *headers])
    refused(answer, 501, "NotImplemented")
    absent(s3, bucket, "k")
    assert ok(s3.get(bucket, query=["uploads"])).texts("Upload") == []


def test_a_locked_bucket(s3):
    name = fresh_name()
    refused(s3.request("PUT", name, headers=[("x-amz-bucket-object-lock-enabled", "true")]), 501, "NotImplemented")
    refused(s3.get(name), 404, "NoSuchBucket")


@pytest.mark.parametrize("headers", [[], [("x-amz-mfa", "arn:aws:iam::1:mfa/x 123456")]], ids=["no code", "code"])
def test_mfa_delete(s3, bucket, headers):
    xml = f"<VersioningConfiguration {XMLNS}><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
    refused(s3.document("PUT", bucket, None, ["versioning"], xml, headers), 501, "NotImplemented")
    assert ok(s3.get(bucket, query=["versioning"])).text("Status") is None


@pytest.mark.parametrize(
    "header",
    [("x-amz-if-match-size", "4"), ("x-amz-if-match-last-modified-time", "Mon, 01 Jan 2001 00:00:00 GMT")],
    ids=["size", "time"],
)
def test_conditions_of_a_delete_not_built(s3, bucket, header):
    ok(s3.put(bucket, "k", b"keep"))
    refused(s3.delete(bucket, "k", headers=[header]), 501, "NotImplemented")
    present(s3, bucket, "k", b"keep")


@pytest.mark.parametrize("more", ["<Size>4</Size>", "<LastModifiedTime>2001-01-01T00:00:00Z</LastModifiedTime>"])
def test_conditions_of_a_multi_delete_not_built(s3, bucket, more):
    for name in ("k", "l"):
        ok(s3.put(bucket, name, b"keep"))
    xml = f"<Delete {XMLNS}><Object><Key>k</Key>{more}</Object><Object><Key>l</Key></Object></Delete>"
    answer = s3.document("POST", bucket, None, ["delete"], xml)
    if answer.status == 200:
        assert (answer.texts("Error/Key"), answer.texts("Error/Code")) == (["k"], ["NotImplemented"])
        assert s3.keys_of(bucket) == ["k"]
    else:
        refused(answer, (400, 501), ("MalformedXML", "NotImplemented"))
        assert s3.keys_of(bucket) == ["k", "l"]


def test_conditions_of_an_abort_not_built(s3, bucket):
    upload = s3.begin(bucket, "k")
    condition = [("x-amz-if-match-initiated-time", "Mon, 01 Jan 2001 00:00:00 GMT")]
    refused(s3.delete(bucket, "k", [("uploadId", upload)], condition), 501, "NotImplemented")
    assert ok(s3.get(bucket, query=["uploads"])).texts("Upload/UploadId") == [upload]


def test_appending_is_not_built(s3, bucket):
    ok(s3.put(bucket, "k", b"keep"))
    refused(s3.put(bucket, "k", b"more", [("x-amz-write-offset-bytes", "4")]), 501, "NotImplemented")
    present(s3, bucket, "k", b"keep")


@pytest.mark.parametrize("algorithm", ["aws:kms:dsse"])
def test_encryption_not_built(s3, bucket, algorithm):
    refused(s3.put(bucket, "k", b"v", [("x-amz-server-side-encryption", algorithm)]), 501, "NotImplemented")
    absent(s3, bucket, "k")


def test_a_policy_for_other_services_lets_nobody_in(s3, alt, bucket):
    """Kept, as on AWS: log delivery and the like are not built, and nobody else is such a principal."""
    ok(s3.put(bucket, "k", b"v"))
    statement = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:*"}
    statement["Resource"] = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    body = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ok(s3.document("PUT", bucket, None, ["policy"], body))
    refused(alt.get(bucket, "k"), 403, "AccessDenied")
    refused(alt.put(bucket, "k", b"evil"), 403, "AccessDenied")
