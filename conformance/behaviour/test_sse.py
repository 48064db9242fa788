"""Encryption as asked for by header: AES256, named keys, customers' keys, a bucket's default."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
import sums
from s3 import PART_BYTES_MIN, XMLNS, absent, ok, present, refused

SSE, KMS_ID = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
CONTEXT, BUCKET_KEY = "x-amz-server-side-encryption-context", "x-amz-server-side-encryption-bucket-key-enabled"
KEY_BYTES = 32
KMS = [(SSE, "aws:kms"), (KMS_ID, "testkey-1")]


def customer(key: bytes, source: bool = False) -> list[tuple[str, str]]:
    prefix = "x-amz-copy-source-server-side-encryption-customer" if source else "x-amz-server-side-encryption-customer"
    return [
        (f"{prefix}-algorithm", "AES256"),
        (f"{prefix}-key", base64.b64encode(key).decode()),
        (f"{prefix}-key-md5", sums.md5(key)),
    ]


ONE, TWO = customer(b"1" * KEY_BYTES), customer(b"2" * KEY_BYTES)


def test_aes256(s3, shelf, key):
    assert ok(s3.put(shelf, key, b"v", [(SSE, "AES256")]))[SSE] == "AES256"
    assert present(s3, shelf, key, b"v")[SSE] == "AES256"


@pytest.mark.parametrize("how", ["put", "multipart", "copy"])
@pytest.mark.parametrize("name", ["testkey-1", "testkey-2"])
def test_kms(s3, shelf, key, name, how):
    headers = [(SSE, "aws:kms"), (KMS_ID, name)]
    if how == "put":
        answer = ok(s3.put(shelf, key, b"v", headers))
    elif how == "copy":
        ok(s3.put(shelf, key + "s", b"v"))
        answer = ok(s3.put(shelf, key, headers=[("x-amz-copy-source", f"{shelf}/{key}s"), *headers]))
    else:
        answer = s3.multipart(shelf, key, [b"v"], headers)
    assert (answer[SSE], answer[KMS_ID]) == ("aws:kms", name)
    got = present(s3, shelf, key, b"v")
    assert (got[SSE], got[KMS_ID]) == ("aws:kms", name)


@pytest.mark.parametrize("how", ["put", "create upload", "copy"])
def test_unknown_kms_key(s3, shelf, key, how):
    headers = [(SSE, "aws:kms"), (KMS_ID, "no-such-key")]
    if how == "put":
        answer = s3.put(shelf, key, b"v", headers)
    elif how == "copy":
        ok(s3.put(shelf, key + "s", b"v"))
        answer = s3.put(shelf, key, headers=[("x-amz-copy-source", f"{shelf}/{key}s"), *headers])
    else:
        answer = s3.request("POST", shelf, key, ["uploads"], headers)
    refused(answer, 400, "KMS.NotFoundException")
    absent(s3, shelf, key)


BAD = {
    "unknown algorithm": [(SSE, "AES512")],
    "empty algorithm": [(SSE, "")],
    "key without kms": [(SSE, "AES256"), (KMS_ID, "testkey-1")],
    "key alone": [(KMS_ID, "testkey-1")],
    "both": [(SSE, "AES256"), *ONE],
    "kms and customer": [*KMS, *ONE],
    "context is no base64": [*KMS, (CONTEXT, "!!")],
    "context is no JSON": [*KMS, (CONTEXT, base64.b64encode(b"x").decode())],
    "context is a list": [*KMS, (CONTEXT, base64.b64encode(b'["a"]').decode())],
    "context of numbers": [*KMS, (CONTEXT, base64.b64encode(b'{"a":1}').decode())],
}


@pytest.mark.parametrize("case", BAD)
def test_bad_headers(s3, shelf, key, case):
    refused(s3.put(shelf, key, b"v", BAD[case]), 400, ("InvalidArgument", "InvalidRequest", "InvalidEncryptionAlgorithmError"))
    absent(s3, shelf, key)


def test_encryption_context(s3, shelf, key):
    context = base64.b64encode(json.dumps({"department": "x", "ä": "ö"}).encode()).decode()
    ok(s3.put(shelf, key, b"v", [*KMS, (CONTEXT, context)]))
    present(s3, shelf, key, b"v")


def test_bucket_key_enabled(s3, shelf, key):
    ok(s3.put(shelf, key, b"v", [*KMS, (BUCKET_KEY, "true")]))
    assert present(s3, shelf, key, b"v")[BUCKET_KEY] == "true"
    ok(s3.put(shelf, key, b"v", KMS))
    assert present(s3, shelf, key, b"v")[BUCKET_KEY] in (None, "false")


@pytest.mark.parametrize("size", [0, 10, 20_000])
def test_customer_key(s3, shelf, key, size):
    data = bytes(i % 251 for i in range(size))
    answer = ok(s3.put(shelf, key, data, ONE))
    assert answer["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    assert answer["x-amz-server-side-encryption-customer-key-md5"] == ONE[2][1]
    got = present(s3, shelf, key, data, ONE)
    assert got["x-amz-server-side-encryption-customer-key-md5"] == ONE[2][1] and got[SSE] is None
    assert ok(s3.head(shelf, key, headers=ONE))["content-length"] == str(size)


READS = {
    "get": ("GET", [], []),
    "head": ("HEAD", [], []),
    "range": ("GET", [], [("Range", "bytes=0-1")]),
    "part": ("GET", [("partNumber", "1")], []),
    "attributes": ("GET", ["attributes"], [("x-amz-object-attributes", "ETag")]),
}


@pytest.mark.parametrize("case", READS)
def test_read_with_wrong_or_no_customer_key(s3, shelf, key, case):
    ok(s3.put(shelf, key, b"secret", ONE))
    method, query, headers = READS[case]
    wrong = s3.request(method, shelf, key, query, [*headers, *TWO])
    refused(wrong, (400, 403), None if method == "HEAD" else ("AccessDenied", "InvalidRequest"))
    none = s3.request(method, shelf, key, query, headers)
    refused(none, 400, None if method == "HEAD" else "InvalidRequest")
    assert b"secret" not in wrong.body + none.body
    ok(s3.request(method, shelf, key, query, [*headers, *ONE]))


def test_customer_key_for_an_object_without(s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    refused(s3.get(shelf, key, headers=ONE), 400, "InvalidRequest")


P = "x-amz-server-side-encryption-customer"
BAD_CUSTOMER = {
    "no algorithm": ONE[1:],
    "no key": [ONE[0], ONE[2]],
    "no md5": ONE[:2],
    "another algorithm": [(f"{P}-algorithm", "AES128"), *ONE[1:]],
    "short key": customer(b"short"),
    "long key": customer(b"k" * 33),
    "key is no base64": [ONE[0], (f"{P}-key", "!!"), ONE[2]],
    "md5 of another": [*ONE[:2], TWO[2]],
    "md5 is no base64": [*ONE[:2], (f"{P}-key-md5", "!!")],
    "empty key": [ONE[0], (f"{P}-key", ""), ONE[2]],
}


@pytest.mark.parametrize("case", BAD_CUSTOMER)
@pytest.mark.parametrize("how", ["put", "get", "create upload"])
def test_bad_customer_headers(s3, shelf, key, case, how):
    codes = ("InvalidArgument", "InvalidRequest", "InvalidEncryptionAlgorithmError")
    if how == "get":
        ok(s3.put(shelf, key, b"v", ONE))
        refused(s3.get(shelf, key, headers=BAD_CUSTOMER[case]), 400, codes)
        return
    query = ["uploads"] if how == "create upload" else []
    refused(
        s3.request("PUT" if how == "put" else "POST", shelf, key, query, BAD_CUSTOMER[case], b"v" if how == "put" else b""),
        400,
        codes,
    )
    absent(s3, shelf, key)


def test_range_in_parts_under_a_customers_key(s3, shelf, key):
    parts = [bytes(i % 251 for i in range(PART_BYTES_MIN)), b"tail"]
    s3.multipart(shelf, key, parts, ONE, ONE)
    data = b"".join(parts)
    for first, last in ((0, 10), (len(data) - 6, len(data) - 1), (65_519, 65_521), (PART_BYTES_MIN - 1, PART_BYTES_MIN)):
        assert ok(s3.get(shelf, key, headers=[("Range", f"bytes={first}-{last}"), *ONE]), 206).body == data[first : last + 1]


def default(inner: str) -> str:
    return (
        f"<ServerSideEncryptionConfiguration {XMLNS}><Rule><ApplyServerSideEncryptionByDefault>{inner}"
        "</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
    )


@pytest.mark.parametrize("how", ["put", "multipart", "copy", "form"])
def test_default_of_the_bucket(s3, bucket, how):
    ok(s3.put(bucket, "s", b"v"))
    ok(
        s3.document(
            "PUT",
            bucket,
            None,
            ["encryption"],
            default("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>testkey-2</KMSMasterKeyID>"),
        )
    )
    if how == "put":
        ok(s3.put(bucket, "k", b"v"))
    elif how == "copy":
        ok(s3.put(bucket, "k", headers=[("x-amz-copy-source", f"{bucket}/s")]))
    elif how == "form":
        from test_post import post

        ok(post(s3, bucket, {"key": "k"}, b"v"))
    else:
        s3.multipart(bucket, "k", [b"v"])
    got = present(s3, bucket, "k", b"v")
    assert (got[SSE], got[KMS_ID]) == ("aws:kms", "testkey-2")
    ok(s3.put(bucket, "own", b"v", [(SSE, "AES256")]))
    assert ok(s3.head(bucket, "own"))[SSE] == "AES256"


def test_default_that_is_always_there(s3, bucket):
    path = "Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm"

    def stands():
        """AWS says AES256 since 2023, and said 404 before."""
        answer = s3.get(bucket, query=["encryption"])
        if answer.status == 200:
            assert answer.text(path) == "AES256"
        else:
            refused(answer, 404, "ServerSideEncryptionConfigurationNotFoundError")

    stands()
    ok(
        s3.document(
            "PUT",
            bucket,
            None,
            ["encryption"],
            default("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>testkey-1</KMSMasterKeyID>"),
        )
    )
    assert ok(s3.get(bucket, query=["encryption"])).text(path) == "aws:kms"
    ok(s3.delete(bucket, query=["encryption"]), 204)
    stands()


@pytest.mark.parametrize(
    "inner",
    [
        "<SSEAlgorithm>AES512</SSEAlgorithm>",
        "",
        "<KMSMasterKeyID>testkey-1</KMSMasterKeyID>",
        "<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>testkey-1</KMSMasterKeyID>",
    ],
)
def test_bad_default(s3, bucket, inner):
    refused(
        s3.document("PUT", bucket, None, ["encryption"], default(inner)),
        400,
        ("MalformedXML", "InvalidArgument", "InvalidRequest"),
    )


HOLE_BYTES = 1 << 20


def written(path: Path):
    """The file's blocks that were ever written, with an overlap over their seams."""
    with path.open("rb") as file:
        end, at, carry = file.seek(0, os.SEEK_END), 0, b""
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                stop = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            except OSError:
                return
            while at < stop:
                piece = os.pread(file.fileno(), min(HOLE_BYTES, stop - at), at)
                if not piece:
                    return
                yield carry + piece
                carry, at = piece[-64:], at + len(piece)


@pytest.mark.parametrize("how", ["plain", "kms", "customer"])
def test_ciphertext_at_rest(s3, shelf, key, how):
    """Bytes that were put are on no drive in the clear, small or large, nor is a customer's key."""
    drives = os.environ.get("S3_DRIVES")
    if not drives:
        pytest.skip("S3_DRIVES is not set: the server's files cannot be read")
    mark, secret = hashlib.sha256(key.encode()).digest(), hashlib.sha256(b"key" + key.encode()).digest()
    headers = {"plain": [], "kms": KMS, "customer": customer(secret)}[how]
    ok(s3.put(shelf, key, mark, headers))
    ok(s3.put(shelf, key + "large", mark * 4000, headers))
    needles = [mark, secret, base64.b64encode(secret)]
    seen = 0
    for path in (p for p in Path(drives).rglob("*") if p.is_file()):
        try:
            for piece in written(path):
                seen += len(piece)
                for needle in needles:
                    assert needle not in piece, f"{path} holds it in the clear"
        except FileNotFoundError:
            continue
    assert seen > len(mark) * 4000, "the drives were not read"


@pytest.mark.parametrize("how", ["put", "copy", "create upload"])
def test_encryption_context_is_repeated(s3, shelf, key, how):
    context = (CONTEXT, base64.b64encode(b'{"department":"x"}').decode())
    if how == "create upload":
        answer = ok(s3.request("POST", shelf, key, ["uploads"], [*KMS, context]))
    else:
        ok(s3.put(shelf, key + "s", b"v"))
        source = [("x-amz-copy-source", f"{shelf}/{key}s")] if how == "copy" else []
        answer = ok(s3.put(shelf, key, b"", [*source, *KMS, context]))
        present(s3, shelf, key, b"v" if how == "copy" else b"")
    assert (answer[CONTEXT], answer[KMS_ID]) == (context[1], "testkey-1")


def test_bad_encryption_context_of_a_copy(s3, shelf, key):
    ok(s3.put(shelf, key + "s", b"v"))
    bad = [("x-amz-copy-source", f"{shelf}/{key}s"), *KMS, (CONTEXT, "!!")]
    refused(s3.put(shelf, key, headers=bad), 400, "InvalidArgument")
    absent(s3, shelf, key)


@pytest.mark.parametrize("how", ["multipart", "copy", "form", "default"])
def test_bucket_key_enabled_in_other_ways(s3, bucket, how):
    asked = [*KMS, (BUCKET_KEY, "true")]
    if how == "multipart":
        assert s3.multipart(bucket, "k", [b"v"], asked)[BUCKET_KEY] == "true"
    elif how == "copy":
        ok(s3.put(bucket, "s", b"v"))
        assert ok(s3.put(bucket, "k", headers=[("x-amz-copy-source", f"{bucket}/s"), *asked]))[BUCKET_KEY] == "true"
    elif how == "form":
        from test_post import post

        ok(post(s3, bucket, {"key": "k", **dict(asked)}, b"v"))
    else:
        xml = default("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>testkey-1</KMSMasterKeyID>")
        xml = xml.replace("</Rule>", "<BucketKeyEnabled>true</BucketKeyEnabled></Rule>")
        ok(s3.document("PUT", bucket, None, ["encryption"], xml))
        assert ok(s3.get(bucket, query=["encryption"])).text("Rule/BucketKeyEnabled") == "true"
        ok(s3.put(bucket, "off", b"v", [(BUCKET_KEY, "false")]))
        assert ok(s3.head(bucket, "off"))[BUCKET_KEY] in (None, "false")
        ok(s3.put(bucket, "k", b"v"))
    got = present(s3, bucket, "k", b"v")
    assert (got[SSE], got[KMS_ID], got[BUCKET_KEY]) == ("aws:kms", "testkey-1", "true")


def test_part_copy_from_customer_key_to_customer_key(s3, shelf, key):
    data = bytes(i % 251 for i in range(70_000))
    ok(s3.put(shelf, key + "s", data, ONE))
    upload = s3.begin(shelf, key, TWO)
    query = [("partNumber", "1"), ("uploadId", upload)]
    source = [("x-amz-copy-source", f"{shelf}/{key}s"), ("x-amz-copy-source-range", "bytes=1-69998")]
    own, other = customer(b"1" * KEY_BYTES, source=True), customer(b"3" * KEY_BYTES, source=True)
    for more in (TWO, [*other, *TWO], own, [*own, *ONE]):
        answer = s3.request("PUT", shelf, key, query, [*source, *more])
        refused(answer, (400, 403), ("InvalidRequest", "InvalidArgument", "AccessDenied"))
        assert ok(s3.get(shelf, key, query[1:])).texts("Part") == []
    etag = ok(s3.request("PUT", shelf, key, query, [*source, *own, *TWO])).text("ETag")
    ok(s3.complete(shelf, key, upload, [(1, etag)], TWO))
    present(s3, shelf, key, data[1:-1], TWO)
    refused(s3.get(shelf, key, headers=ONE), (400, 403), ("AccessDenied", "InvalidRequest"))
