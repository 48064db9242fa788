"""What is read before it is known who asks stays small, and what is judged is what is done."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
import sums
from conftest import fresh_name
from s3 import XMLNS, absent, ok, present, refused
from sign import UNSIGNED_TRAILER
from test_post import BOUNDARY, encode, post, send
from test_policy import put_policy, statement
from wire import head

TAGS = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
NAME = "${filename}"
SLOW_FORMS = 400
SERVED_S_MAX = 5
# Elements are past it, bytes are not.
MARKS_PAST = 81_000
PARTS = 10_000


@pytest.fixture(scope="module")
def public(s3):
    """A bucket that anybody may write to."""
    name = fresh_name()
    ok(s3.request("PUT", name, headers=[("x-amz-acl", "public-read-write"), ("x-amz-object-ownership", "ObjectWriter")]))
    yield name
    s3.remove(name)


# Forms.
def test_a_long_file_name_is_not_multiplied(anonymous):
    body = encode([("key", NAME * 11_000)], filename="a" * 130_000)
    began = time.monotonic()
    refused(send(anonymous, "no-such-bucket", body), 400, ("InvalidArgument", "MaxPostPreDataLengthExceededError"))
    assert time.monotonic() - began < SERVED_S_MAX


def test_a_file_name_asked_for_too_often(s3, shelf, key):
    name = "a" * 1024
    answer = post(s3, shelf, {"key": key, "x-ignore-a": NAME * 257}, filename=name)
    refused(answer, 400, "MaxPostPreDataLengthExceededError")
    absent(s3, shelf, key)
    ok(post(s3, shelf, {"key": key, "x-ignore-a": NAME * 256}, filename=name), 204)


def test_slow_forms_do_not_keep_others_out(s3, shelf, key):
    more = [("Host", s3.authority), ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
    start = head("POST", f"/{shelf}", [*more, ("Content-Length", "400000")]) + f"--{BOUNDARY}\r\n".encode()
    slow = [s3.connect() for _ in range(SLOW_FORMS)]
    try:
        for c in slow:
            c.send(start)
        began = time.monotonic()
        ok(post(s3, shelf, {"key": key}), 204)
        assert time.monotonic() - began < SERVED_S_MAX
    finally:
        for c in slow:
            c.close()


def version_two(s3, bucket, key):
    conditions = [{"bucket": bucket}, {"key": key}]
    policy = json.dumps({"expiration": "2100-01-01T00:00:00Z", "conditions": conditions}).encode()
    policy = base64.b64encode(policy)
    mac = hmac.digest(s3.keys.secret.encode(), policy, hashlib.sha1)
    fields = [("key", key), ("AWSAccessKeyId", s3.keys.access), ("policy", policy), ("signature", base64.b64encode(mac))]
    return send(s3, bucket, encode(fields))


def deny_puts(s3, bucket, test, of, value):
    deny = statement(bucket, "Deny", "s3:PutObject", Condition={test: {of: value}})
    answer = put_policy(s3, bucket, deny)
    if answer.status == 501:
        pytest.skip("PutBucketPolicy is not built")
    ok(answer)


def test_a_policy_may_forbid_version_two_of_forms(s3, bucket):
    if version_two(s3, bucket, "before").status == 400:
        pytest.skip("post_form_sigv2 is off")
    deny_puts(s3, bucket, "StringNotEquals", "s3:signatureversion", "AWS4-HMAC-SHA256")
    refused(version_two(s3, bucket, "two"), 403, "AccessDenied")
    absent(s3, bucket, "two")
    ok(post(s3, bucket, {"key": "four"}), 204)
    ok(s3.put(bucket, "header", b"v"))


def test_a_policy_may_ask_for_fresh_forms(s3, bucket):
    deny_puts(s3, bucket, "NumericGreaterThan", "s3:signatureAge", "600000")
    ok(post(s3, bucket, {"key": "fresh"}), 204)


# What a request is taken for.
@pytest.mark.parametrize("named", ["PutObjectTagging", "PutObjectAcl", "CopyObject", "Nothing"])
def test_what_a_sdk_says_it_is_does_not_make_it_another(s3, shelf, key, named):
    ok(s3.request("PUT", shelf, key, [("x-id", named)], body=TAGS.encode()))
    present(s3, shelf, key, TAGS.encode())
    assert not ok(s3.get(shelf, key, ["tagging"])).texts("TagSet/Tag")


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
def test_what_sdks_say_goes_on_working(s3, shelf, key, method):
    names = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
    ok(s3.put(shelf, key, b"v"))
    ok(s3.request(method, shelf, key, [("x-id", names[method])], body=b"v" if method == "PUT" else b""))


@pytest.mark.parametrize("slash", ["/", "%2F", "%2f"])
def test_half_of_an_upload_is_no_object_however_it_is_spelled(s3, anonymous, public, key, slash):
    for who in (s3, anonymous):
        answer = who.request("PUT", path=f"/{public}{slash}{key}", query=[("uploadId", "abc")], body=b"x")
        refused(answer, 400, "InvalidArgument")
        absent(s3, public, key)


# Bodies.
@pytest.mark.parametrize("size", [0, 1, 300_000, 9_000_000])
def test_a_hash_that_nobody_signed_is_compared(s3, anonymous, public, key, size):
    body, wrong = b"x" * size, [("x-amz-content-sha256", "0" * 64)]
    refused(anonymous.put(public, key, body, wrong), 400, "XAmzContentSHA256Mismatch")
    absent(s3, public, key)
    right = [("x-amz-content-sha256", hashlib.sha256(body).hexdigest())]
    ok(anonymous.put(public, key, body, right))
    assert int(ok(s3.head(public, key))["content-length"]) == len(body)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x"])
def test_a_put_is_mended_whatever_its_type(s3, shelf, key, kind):
    more = [("Content-Type", kind), ("Content-Disposition", 'attachment; filename="ü"')]
    ok(s3.put(shelf, key, b"v", more))
    assert ok(s3.head(shelf, key))["content-disposition"] == 'attachment; filename="ü"'


def complete(s3, shelf, key, upload, inner):
    body = f"<CompleteMultipartUpload {XMLNS}>{inner}</CompleteMultipartUpload>".encode()
    return s3.request("POST", shelf, key, [("uploadId", upload)], body=body)


def test_documents_of_too_many_elements(s3, shelf, key):
    upload = s3.begin(shelf, key)
    refused(complete(s3, shelf, key, upload, "<Part/>" * MARKS_PAST), 400, "MalformedXML")
    # As many parts as there may be, with all that may be said of each, are looked for.
    said = "".join(f"<Checksum{n}>x</Checksum{n}>" for n in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"))
    parts = "".join(f'<Part><PartNumber>{n}</PartNumber><ETag>"{"0" * 32}"</ETag></Part>' for n in range(1, PARTS + 1))
    refused(complete(s3, shelf, key, upload, parts), 400, "InvalidPart")
    full = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>0</ETag>{said}</Part>" for n in range(1, PARTS + 1))
    assert full.count("<") == 16 * PARTS
    answer = refused(complete(s3, shelf, key, upload, full), 400)
    assert answer.code != "MalformedXML", answer


def test_a_thousand_keys_with_all_that_may_be_said(s3, shelf):
    entry = "<Object><Key>k{}</Key><VersionId>null</VersionId><ETag>*</ETag></Object>"
    document = f"<Delete {XMLNS}><Quiet>true</Quiet>{''.join(entry.format(n) for n in range(1000))}</Delete>"
    ok(s3.document("POST", shelf, None, ["delete"], document))


def test_documents_in_single_bytes(s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    document = f"<Delete {XMLNS}><Object><Key>{key}</Key></Object></Delete>".encode() + b" " * 5_000
    more = [("Content-MD5", sums.md5(document)), ("Content-Length", str(len(document)))]
    with s3.connect() as c:
        c.send(s3.prepare("POST", shelf, None, ["delete"], more, document))
        for at in range(len(document)):
            c.send(document[at : at + 1])
        ok(c.answer("POST"))
    absent(s3, shelf, key)


def test_documents_do_not_come_in_chunks(s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    document = f"<Delete {XMLNS}><Object><Key>{key}</Key></Object></Delete>".encode()
    body = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n" % (len(document), document)
    more = [
        ("x-amz-decoded-content-length", str(len(document))),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("Content-Encoding", "aws-chunked"),
    ]
    answer = s3.request("POST", shelf, None, ["delete"], more, body, payload=UNSIGNED_TRAILER)
    refused(answer, 400, "InvalidRequest")
    present(s3, shelf, key, b"v")


# Who is nobody.
@pytest.mark.parametrize("value", [{"StringEquals": "anonymous"}, {"StringEqualsIgnoreCase": "ANONYMOUS"}], ids=str)
def test_a_grant_to_the_id_of_nobody_is_public(s3, anonymous, bucket, value):
    ok(s3.put(bucket, "k", b"v"))
    ((test, user),) = value.items()
    answer = put_policy(s3, bucket, statement(bucket, Condition={test: {"aws:userid": user}}))
    if answer.status == 501:
        pytest.skip("PutBucketPolicy is not built")
    ok(answer)
    assert ok(s3.get(bucket, query=["policyStatus"])).text("IsPublic") == "true"
    ok(anonymous.get(bucket, "k"))
    kind, rule = "PublicAccessBlockConfiguration", "RestrictPublicBuckets"
    block = f"<{kind}><{rule}>true</{rule}></{kind}>"
    ok(s3.document("PUT", bucket, None, ["publicAccessBlock"], block))
    refused(anonymous.get(bucket, "k"), 403, "AccessDenied")
