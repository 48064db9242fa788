"""aws-chunked bodies of the -TRAILER kinds bent, sizes beyond the limit, and operations that take none."""

from __future__ import annotations

import pytest
import sums
from conftest import fresh_name
from s3 import XMLNS, absent, ok, present, refused
from sign import STREAM, STREAM_TRAILER, UNSIGNED_TRAILER
from test_limits import PUT_BYTES_MAX
from test_streaming import BENT, CHUNK_BYTES, KINDS, Upload, whole
from wire import head

NAME = "x-amz-checksum-crc32"
DATA = bytes(100)
RIGHT = [(NAME, sums.value("CRC32", DATA))]


def upload_of(client, bucket, key, kind, decoded=len(DATA), **more) -> Upload:
    return Upload(client, bucket, key, kind, decoded, trailer=None if kind == STREAM else NAME, **more)


@pytest.mark.parametrize("bad", ["first", "last"])
def test_bad_chunk_signature_before_a_trailer(s3, shelf, key, bad):
    up = upload_of(s3, shelf, key, STREAM_TRAILER, CHUNK_BYTES)
    fakes = ["0" * 64, None] if bad == "first" else [None, "0" * 64]
    chunks = [up.chunks.chunk(d, fake) for d, fake in zip([bytes(CHUNK_BYTES), b""], fakes)]
    refused(up.send(*chunks, up.chunks.trailer([(NAME, sums.value("CRC32", bytes(CHUNK_BYTES)))])), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


@pytest.mark.parametrize("case", BENT)
@pytest.mark.parametrize("kind", KINDS)
def test_truncated(s3, shelf, key, kind, case):
    up = upload_of(s3, shelf, key, kind)
    refused(up.send(*BENT[case](up)), 400, "IncompleteBody")
    absent(s3, shelf, key)


@pytest.mark.parametrize("kind", KINDS)
def test_ends_before_the_trailer(s3, shelf, key, kind):
    up = upload_of(s3, shelf, key, kind)
    refused(up.send(up.chunks.chunk(DATA), up.chunks.chunk(b"")), 400, ("IncompleteBody", "MalformedTrailerError"))
    absent(s3, shelf, key)


@pytest.mark.parametrize("announced", [0, 99, 101, 1 << 20])
@pytest.mark.parametrize("kind", KINDS)
def test_decoded_length_is_another(s3, shelf, key, kind, announced):
    refused(whole(upload_of(s3, shelf, key, kind, announced), DATA, RIGHT), 400, "IncompleteBody")
    absent(s3, shelf, key)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
def test_kept_as_it_was(s3, shelf, key, kind, part):
    """A trailer that is wrong costs neither the object nor the part that was there."""
    query = [("partNumber", "1"), ("uploadId", s3.begin(shelf, key))] if part else []
    before = ok(s3.request("PUT", shelf, key, query, body=b"before"))["etag"]
    wrong = [(NAME, sums.value("CRC32", b"other"))]
    refused(whole(upload_of(s3, shelf, key, kind, query=query), DATA, wrong), 400, "BadDigest")
    if part:
        assert ok(s3.get(shelf, key, query[1:])).texts("Part/ETag") == [before]
    else:
        present(s3, shelf, key, b"before")


SIGNED_TRAILERS = {
    "another name": ([("x-amz-checksum-sha1", sums.value("SHA1", DATA))], "MalformedTrailerError"),
    "one too many": ([*RIGHT, ("x-amz-meta-a", "1")], "MalformedTrailerError"),
    "no lines": ([], "MalformedTrailerError"),
    "no checksum": ([(NAME, "!!!!")], "InvalidRequest"),
}


@pytest.mark.parametrize("case", SIGNED_TRAILERS)
def test_malformed_trailer_well_signed(s3, shelf, key, case):
    lines, code = SIGNED_TRAILERS[case]
    refused(whole(upload_of(s3, shelf, key, STREAM_TRAILER), DATA, lines), 400, code)
    absent(s3, shelf, key)


def test_trailer_that_nobody_signed(s3, shelf, key):
    up = upload_of(s3, shelf, key, STREAM_TRAILER)
    bare = f"{NAME}:{RIGHT[0][1]}\r\n\r\n".encode()
    codes = ("SignatureDoesNotMatch", "MalformedTrailerError", "IncompleteBody")
    refused(up.send(up.chunks.chunk(DATA), up.chunks.chunk(b""), bare), (400, 403), codes)
    absent(s3, shelf, key)


@pytest.mark.parametrize("kind", KINDS)
def test_trailer_kind_without_an_announcement(s3, shelf, key, kind):
    up = Upload(s3, shelf, key, kind, len(DATA))
    refused(whole(up, DATA, RIGHT), 400, ("InvalidRequest", "MalformedTrailerError"))
    absent(s3, shelf, key)


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
@pytest.mark.parametrize("kind", [STREAM, *KINDS])
def test_over_five_gib_is_refused_unread(s3, shelf, key, kind, part):
    """What counts is the payload; the framing around it is longer than 5 GiB in any case."""
    query = [("partNumber", "1"), ("uploadId", s3.begin(shelf, key))] if part else []
    up = upload_of(s3, shelf, key, kind, PUT_BYTES_MAX + 1, query=query)
    words = "&".join(f"{n}={v}" for n, v in query)
    more = [("Content-Length", str(PUT_BYTES_MAX + (64 << 20))), ("Expect", "100-continue")]
    with s3.connect() as c:
        c.send(head("PUT", up.path + (f"?{words}" if words else ""), [*up.headers, *more]))
        assert refused(c.answer(), 400, "EntityTooLarge").interim == []
    absent(s3, shelf, key)


def test_signing_by_elliptic_curves_is_not_built(s3, shelf, key):
    up = Upload(s3, shelf, key, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", len(DATA))
    refused(whole(up, DATA), 501, "NotImplemented")
    absent(s3, shelf, key)


DELETE = f"<Delete {XMLNS}><Object><Key>keep</Key></Object></Delete>".encode()
VERSIONING = f"<VersioningConfiguration {XMLNS}><Status>Enabled</Status></VersioningConfiguration>".encode()
COPY = [("x-amz-copy-source", "{bucket}/keep")]
# id → method, on a key, query, headers, document.
OTHERS = {
    "copy": ("PUT", True, [], COPY, b""),
    "copy of a part": ("PUT", True, [("partNumber", "1"), ("uploadId", "{upload}")], COPY, b""),
    "object acl": ("PUT", True, [("acl", None)], [("x-amz-acl", "public-read")], b""),
    "versioning": ("PUT", False, [("versioning", None)], [], VERSIONING),
    "multi-delete": ("POST", False, [("delete", None)], [("Content-MD5", sums.md5(DELETE))], DELETE),
    "create upload": ("POST", True, [("uploads", None)], [], b""),
    "complete": ("POST", True, [("uploadId", "{upload}")], [], b"{complete}"),
}


@pytest.mark.parametrize("kind", [STREAM, UNSIGNED_TRAILER])
@pytest.mark.parametrize("case", OTHERS)
def test_not_on_other_operations(s3, bucket, case, kind):
    """Chunks are for PutObject and UploadPart alone; nothing else may be done by them."""
    method, on_key, query, headers, body = OTHERS[case]
    ok(s3.put(bucket, "keep", b"keep"))
    upload = s3.begin(bucket, "k")
    etag = ok(s3.part(bucket, "k", upload, 1, b"part"))["etag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    body = body.replace(b"{complete}", f"<CompleteMultipartUpload {XMLNS}>{part}</CompleteMultipartUpload>".encode())
    query = [(n, v and v.replace("{upload}", upload)) for n, v in query]
    headers = [(n, v.replace("{bucket}", bucket)) for n, v in headers]
    up = upload_of(s3, bucket, "k" if on_key else None, kind, len(body), headers=headers, query=query, method=method)
    answer = whole(up, body, None if kind == STREAM else [(NAME, sums.value("CRC32", body))])
    refused(answer, (400, 501), ("InvalidRequest", "NotImplemented"))
    present(s3, bucket, "keep", b"keep")
    absent(s3, bucket, "k")
    assert ok(s3.get(bucket, "k", [("uploadId", upload)])).texts("Part/ETag") == [etag]
    assert ok(s3.get(bucket, query=["uploads"])).texts("Upload/UploadId") == [upload]
    assert ok(s3.get(bucket, query=["versioning"])).text("Status") is None


def test_not_to_make_a_bucket(s3):
    name = fresh_name()
    refused(whole(upload_of(s3, name, None, STREAM, 0), b""), (400, 501), ("InvalidRequest", "NotImplemented"))
    refused(s3.head(name), 404)


@pytest.mark.parametrize("kind", [STREAM, STREAM_TRAILER])
def test_anonymous_cannot_sign_chunks(s3, anonymous, new_bucket, key, kind):
    bucket = new_bucket(headers=[("x-amz-acl", "public-read-write")])
    up = upload_of(anonymous, bucket, key, kind)
    fake = b"64;chunk-signature=" + b"0" * 64 + b"\r\n" + DATA + b"\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"
    refused(up.send(fake), 403, "AccessDenied")
    absent(s3, bucket, key)
    whole_of(anonymous, bucket, key)
    present(s3, bucket, key, DATA)


def whole_of(client, bucket, key) -> None:
    ok(whole(upload_of(client, bucket, key, UNSIGNED_TRAILER), DATA, RIGHT))


def test_anonymous_trailer_is_compared(s3, anonymous, new_bucket, key):
    bucket = new_bucket(headers=[("x-amz-acl", "public-read-write")])
    wrong = [(NAME, sums.value("CRC32", b"other"))]
    refused(whole(upload_of(anonymous, bucket, key, UNSIGNED_TRAILER), DATA, wrong), 400, "BadDigest")
    absent(s3, bucket, key)


def test_bytes_in_chunks_are_the_bytes(s3, shelf, key):
    """What stands in a chunk is never read as framing."""
    data = b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n" + bytes(10)
    trailer = [(NAME, sums.value("CRC32", data))]
    ok(whole(upload_of(s3, shelf, key, UNSIGNED_TRAILER, len(data)), data, trailer))
    present(s3, shelf, key, data)
