"""aws-chunked bodies, signed and not, with and without trailers."""

from __future__ import annotations

import pytest
import sums
from s3 import Client, absent, ok, path_of, present, refused
from sign import STREAM, STREAM_TRAILER, UNSIGNED_TRAILER, Chunks, sign_header, stamp
from wire import Answer, head

CHUNK_BYTES = 64 << 10
CHUNK_BYTES_MIN = 8 << 10
KINDS = [STREAM_TRAILER, UNSIGNED_TRAILER]


def pieces(body: bytes, size: int = CHUNK_BYTES) -> list[bytes]:
    return [body[i : i + size] for i in range(0, len(body), size)]


class Upload:
    """One aws-chunked request; every step can be bent by the test."""

    def __init__(
        self,
        s3: Client,
        bucket: str,
        key: str,
        kind: str,
        decoded: int | str | None,
        headers=(),
        query=(),
        method: str = "PUT",
        trailer: str | None = None,
    ) -> None:
        self.s3, self.method, self.kind = s3, method, kind
        self.path, self.query = path_of(bucket, key), list(query)
        self.date = stamp()
        own = [("Host", s3.authority), ("Content-Encoding", "aws-chunked"), *headers]
        if any(n.lower() == "content-encoding" for n, _ in headers):
            own.pop(1)
        if decoded is not None:
            own.append(("x-amz-decoded-content-length", str(decoded)))
        if trailer:
            own.append(("x-amz-trailer", trailer))
        self.headers, self.seed = own, ""
        if s3.keys:
            self.headers, self.seed = sign_header(s3.keys, method, self.path, self.query, own, kind, date=self.date)
        else:
            self.headers = [*own, ("x-amz-content-sha256", kind)]
        signs = s3.keys and kind != UNSIGNED_TRAILER
        self.chunks = Chunks(s3.keys if signs else None, self.date, self.seed)

    def send(self, *body: bytes, http_chunked: bool = False, half: bool = False) -> Answer:
        """`half`: ends the sending side before the announced length is reached."""
        raw = b"".join(body)
        words = "&".join(n if v is None else f"{n}={v}" for n, v in self.query)
        target = self.path + (f"?{words}" if words else "")
        with self.s3.connect() as c:
            if http_chunked:
                c.send(head(self.method, target, [*self.headers, ("Transfer-Encoding", "chunked")]))
                c.send(*(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces(raw, 10_000)), b"0\r\n\r\n")
            else:
                length = len(raw) + (100 if half else 0)
                c.send(head(self.method, target, [*self.headers, ("Content-Length", str(length))]), raw)
            if half:
                c.finish_sending()
            return c.answer(self.method)

    def body(self, data: bytes, size: int = CHUNK_BYTES) -> list[bytes]:
        return [self.chunks.chunk(p) for p in pieces(data, size)]


def whole(up: Upload, data: bytes, trailer: list | None = None, **how) -> Answer:
    """The body as it should be, and a trailer where there is to be one."""
    chunks = [*up.body(data), up.chunks.chunk(b"")]
    return up.send(*chunks, up.chunks.trailer(trailer) if trailer is not None else b"\r\n", **how)


SIZES = [0, 1, CHUNK_BYTES_MIN, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17]


@pytest.mark.parametrize("http_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
def test_signed_chunks(s3, shelf, key, size, http_chunked):
    data = bytes(i * 7 % 251 for i in range(size))
    answer = ok(whole(Upload(s3, shelf, key, STREAM, size), data, http_chunked=http_chunked))
    assert answer["etag"] == sums.etag(data)
    got = present(s3, shelf, key, data)
    assert got["content-encoding"] is None


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("aws-chunked,gzip", "gzip"), ("gzip,aws-chunked", "gzip"), ("aws-chunked", None), ("aws-chunked, br", "br")],
)
def test_encoding_is_kept_without_aws_chunked(s3, shelf, key, sent, stored):
    ok(whole(Upload(s3, shelf, key, STREAM, 4, [("Content-Encoding", sent)]), b"data"))
    assert ok(s3.head(shelf, key))["content-encoding"] == stored


@pytest.mark.parametrize("bad", ["first", "second", "last"])
def test_bad_chunk_signature(s3, shelf, key, bad):
    up = Upload(s3, shelf, key, STREAM, CHUNK_BYTES + 100)
    fake = {"first": [1, 0, 0], "second": [0, 1, 0], "last": [0, 0, 1]}[bad]
    data = [bytes(CHUNK_BYTES), bytes(100), b""]
    chunks = [up.chunks.chunk(d, "0" * 64 if f else None) for d, f in zip(data, fake)]
    refused(up.send(*chunks, b"\r\n"), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


def test_tampered_chunk_keeps_what_was_there(s3, shelf, key):
    ok(s3.put(shelf, key, b"before"))
    up = Upload(s3, shelf, key, STREAM, CHUNK_BYTES)
    chunk = up.chunks.chunk(bytes(CHUNK_BYTES))
    evil = chunk[:-10] + b"evil" + chunk[-6:]
    refused(up.send(evil, up.chunks.chunk(b""), b"\r\n"), 403, "SignatureDoesNotMatch")
    present(s3, shelf, key, b"before")


def test_swapped_chunks(s3, shelf, key):
    up = Upload(s3, shelf, key, STREAM, 2 * CHUNK_BYTES)
    a, b = up.chunks.chunk(b"a" * CHUNK_BYTES), up.chunks.chunk(b"b" * CHUNK_BYTES)
    refused(up.send(b, a, up.chunks.chunk(b""), b"\r\n"), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


BENT = {
    "no last chunk": lambda up: [up.chunks.chunk(bytes(100))],
    "cut in a chunk": lambda up: [up.chunks.chunk(bytes(100))[:-30]],
    "cut in a size line": lambda up: [up.chunks.chunk(bytes(100))[:20]],
    "nothing": lambda up: [],
}


@pytest.mark.parametrize("case", BENT)
def test_truncated(s3, shelf, key, case):
    """The framing of HTTP is whole, that of aws-chunked is not."""
    up = Upload(s3, shelf, key, STREAM, 100)
    refused(up.send(*BENT[case](up)), 400, "IncompleteBody")
    absent(s3, shelf, key)


def test_cut_off_by_the_client(s3, shelf, key):
    up = Upload(s3, shelf, key, STREAM, CHUNK_BYTES)
    try:
        refused(up.send(up.chunks.chunk(bytes(CHUNK_BYTES))[:-500], half=True), 400)
    except Exception as closed:  # noqa: BLE001 — an answer is not owed to who hangs up
        assert type(closed).__name__ == "Closed", closed
    absent(s3, shelf, key)


GARBAGE = {
    "no hex": b"zz;chunk-signature=" + b"0" * 64 + b"\r\nxx\r\n",
    "no signature": b"64\r\n" + bytes(100) + b"\r\n",
    "negative": b"-5;chunk-signature=" + b"0" * 64 + b"\r\n",
    "huge": b"fffffffffffffffff;chunk-signature=" + b"0" * 64 + b"\r\n",
    "endless line": b"6" * 5000,
    "not chunked": b"plain bytes that nobody framed, as many as were announced",
}


GARBAGE_CODES = ("IncompleteBody", "InvalidChunkSizeError", "SignatureDoesNotMatch")


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_in_place_of_chunks(s3, shelf, key, case):
    up = Upload(s3, shelf, key, STREAM, 100)
    refused(up.send(GARBAGE[case], b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"), (400, 403), GARBAGE_CODES)
    absent(s3, shelf, key)


@pytest.mark.parametrize("kind", [STREAM, UNSIGNED_TRAILER])
def test_small_chunk_before_the_last(s3, shelf, key, kind):
    up = Upload(s3, shelf, key, kind, CHUNK_BYTES_MIN - 1 + 10, trailer="x-amz-checksum-crc32" if kind != STREAM else None)
    data = bytes(CHUNK_BYTES_MIN - 1), bytes(10)
    end = b"\r\n" if kind == STREAM else None
    chunks = [up.chunks.chunk(d) for d in (*data, b"")]
    tail = end or up.chunks.trailer([("x-amz-checksum-crc32", sums.value("CRC32", b"".join(data)))])
    refused(up.send(*chunks, tail), 400, "InvalidChunkSizeError")
    absent(s3, shelf, key)


@pytest.mark.parametrize("announced", [0, 99, 101, 1 << 20])
def test_decoded_length_is_another(s3, shelf, key, announced):
    refused(whole(Upload(s3, shelf, key, STREAM, announced), bytes(100)), 400, "IncompleteBody")
    absent(s3, shelf, key)


@pytest.mark.parametrize("kind", [STREAM, *KINDS])
def test_no_decoded_length(s3, shelf, key, kind):
    up = Upload(s3, shelf, key, kind, None, trailer="x-amz-checksum-crc32" if kind != STREAM else None)
    refused(
        whole(up, bytes(100), [("x-amz-checksum-crc32", sums.value("CRC32", bytes(100)))] if kind != STREAM else None),
        411,
        "MissingContentLength",
    )
    absent(s3, shelf, key)


@pytest.mark.parametrize("announced", ["abc", "-1", "", "1e2"])
def test_decoded_length_is_no_number(s3, shelf, key, announced):
    refused(whole(Upload(s3, shelf, key, STREAM, announced), bytes(100)), 400, ("InvalidArgument", "InvalidRequest"))
    absent(s3, shelf, key)


@pytest.mark.parametrize("size", [0, 100, CHUNK_BYTES + 1])
@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
@pytest.mark.parametrize("kind", KINDS)
def test_trailer(s3, shelf, key, kind, algorithm, size):
    data, name = bytes(i % 251 for i in range(size)), f"x-amz-checksum-{algorithm.lower()}"
    answer = ok(whole(Upload(s3, shelf, key, kind, size, trailer=name), data, [(name, sums.value(algorithm, data))]))
    assert answer[name] == sums.value(algorithm, data)
    got = present(s3, shelf, key, data, [("x-amz-checksum-mode", "ENABLED")])
    assert got[name] == sums.value(algorithm, data)


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_trailer_over_https(s3, tls, shelf, key, algorithm):
    """As SDKs send it there: unsigned, in HTTP chunks, without Content-Length."""
    data, name = bytes(i % 251 for i in range(100_000)), f"x-amz-checksum-{algorithm.lower()}"
    ok(
        whole(
            Upload(tls, shelf, key, UNSIGNED_TRAILER, len(data), trailer=name),
            data,
            [(name, sums.value(algorithm, data))],
            http_chunked=True,
        )
    )
    present(s3, shelf, key, data)


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_trailer(s3, shelf, key, kind, algorithm):
    name = f"x-amz-checksum-{algorithm.lower()}"
    up = Upload(s3, shelf, key, kind, 100, trailer=name)
    refused(whole(up, bytes(100), [(name, sums.value(algorithm, b"other"))]), 400, "BadDigest")
    absent(s3, shelf, key)


def test_bad_trailer_signature(s3, shelf, key):
    name = "x-amz-checksum-crc32"
    up = Upload(s3, shelf, key, STREAM_TRAILER, 100, trailer=name)
    tail = [
        up.chunks.chunk(bytes(100)),
        up.chunks.chunk(b""),
        up.chunks.trailer([(name, sums.value("CRC32", bytes(100)))], "0" * 64),
    ]
    refused(up.send(*tail), 403, "SignatureDoesNotMatch")
    absent(s3, shelf, key)


MALFORMED_TRAILERS = {
    "no colon": b"x-amz-checksum-crc32\r\n\r\n",
    "another name": b"x-amz-checksum-sha1:AAAA\r\n\r\n",
    "none at all": b"\r\n",
    "not ASCII": b"x-amz-checksum-crc32:\xff\xfe\r\n\r\n",
    "bare words": b"hello world\r\n\r\n",
    "twice": b"x-amz-checksum-crc32:%b\r\nx-amz-checksum-crc32:%b\r\n\r\n" % ((sums.value("CRC32", bytes(100)).encode(),) * 2),
    "one too many": b"x-amz-checksum-crc32:%b\r\nx-amz-meta-a:1\r\n\r\n" % sums.value("CRC32", bytes(100)).encode(),
}


@pytest.mark.parametrize("case", MALFORMED_TRAILERS)
def test_malformed_trailer(s3, shelf, key, case):
    up = Upload(s3, shelf, key, UNSIGNED_TRAILER, 100, trailer="x-amz-checksum-crc32")
    refused(up.send(*up.body(bytes(100)), b"0\r\n", MALFORMED_TRAILERS[case]), 400, "MalformedTrailerError")
    absent(s3, shelf, key)


def test_undeclared_trailer(s3, shelf, key):
    up = Upload(s3, shelf, key, UNSIGNED_TRAILER, 100)
    refused(
        whole(up, bytes(100), [("x-amz-checksum-crc32", sums.value("CRC32", bytes(100)))]),
        400,
        ("MalformedTrailerError", "InvalidRequest"),
    )
    absent(s3, shelf, key)


@pytest.mark.parametrize("value", ["!!!!", "AAAA", "", "AAAAAAAAAAAAAAAA"])
def test_trailer_value_is_no_checksum(s3, shelf, key, value):
    up = Upload(s3, shelf, key, UNSIGNED_TRAILER, 100, trailer="x-amz-checksum-crc32")
    refused(whole(up, bytes(100), [("x-amz-checksum-crc32", value)]), 400, ("InvalidRequest", "MalformedTrailerError"))
    absent(s3, shelf, key)


def test_two_trailers(s3, shelf, key):
    names = ["x-amz-checksum-crc32", "x-amz-checksum-sha1"]
    up = Upload(s3, shelf, key, UNSIGNED_TRAILER, 100, trailer=",".join(names))
    lines = [(names[0], sums.value("CRC32", bytes(100))), (names[1], sums.value("SHA1", bytes(100)))]
    refused(whole(up, bytes(100), lines), 400, "InvalidRequest")
    absent(s3, shelf, key)


def test_trailer_that_is_no_checksum(s3, shelf, key):
    up = Upload(s3, shelf, key, UNSIGNED_TRAILER, 100, trailer="x-amz-meta-a")
    refused(whole(up, bytes(100), [("x-amz-meta-a", "1")]), 400, "InvalidRequest")
    absent(s3, shelf, key)


def test_algorithm_named_is_another(s3, shelf, key):
    up = Upload(
        s3, shelf, key, UNSIGNED_TRAILER, 100, [("x-amz-sdk-checksum-algorithm", "SHA256")], trailer="x-amz-checksum-crc32"
    )
    refused(whole(up, bytes(100), [("x-amz-checksum-crc32", sums.value("CRC32", bytes(100)))]), 400, "InvalidRequest")
    absent(s3, shelf, key)


def test_header_and_trailer_checksum(s3, shelf, key):
    crc = sums.value("CRC32", bytes(100))
    up = Upload(s3, shelf, key, UNSIGNED_TRAILER, 100, [("x-amz-checksum-crc32", crc)], trailer="x-amz-checksum-crc32")
    refused(whole(up, bytes(100), [("x-amz-checksum-crc32", crc)]), 400, "InvalidRequest")
    absent(s3, shelf, key)


@pytest.mark.parametrize("kind", [STREAM, *KINDS])
def test_part(s3, shelf, key, kind):
    upload, data, name = s3.begin(shelf, key), bytes(range(256)) * 600, "x-amz-checksum-crc32"
    query = [("partNumber", "1"), ("uploadId", upload)]
    trailer = None if kind == STREAM else name
    up = Upload(s3, shelf, key, kind, len(data), query=query, trailer=trailer)
    answer = ok(whole(up, data, [(name, sums.value("CRC32", data))] if trailer else None))
    ok(s3.complete(shelf, key, upload, [(1, answer["etag"])]))
    present(s3, shelf, key, data)


@pytest.mark.parametrize("kind", [STREAM, *KINDS])
def test_bad_part_is_no_part(s3, shelf, key, kind):
    upload, name = s3.begin(shelf, key), "x-amz-checksum-crc32"
    up = Upload(
        s3, shelf, key, kind, 100, query=[("partNumber", "1"), ("uploadId", upload)], trailer=None if kind == STREAM else name
    )
    if kind == STREAM:
        refused(up.send(up.chunks.chunk(bytes(100), "0" * 64), up.chunks.chunk(b""), b"\r\n"), 403, "SignatureDoesNotMatch")
    else:
        refused(whole(up, bytes(100), [(name, sums.value("CRC32", b"other"))]), 400, "BadDigest")
    assert ok(s3.get(shelf, key, query=[("uploadId", upload)])).texts("Part") == []


@pytest.mark.parametrize("words", [["tagging"], ["acl"]])
def test_not_on_other_operations(s3, shelf, key, words):
    ok(s3.put(shelf, key, b"v"))
    xml = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    up = Upload(s3, shelf, key, STREAM, len(xml), query=[(w, None) for w in words])
    refused(whole(up, xml), (400, 501))
    assert ok(s3.get(shelf, key, query=["tagging"])).texts("TagSet/Tag") == []


def test_anonymous_unsigned_trailer(s3, anonymous, new_bucket, key):
    bucket = new_bucket(headers=[("x-amz-acl", "public-read-write")])
    name = "x-amz-checksum-crc32"
    up = Upload(anonymous, bucket, key, UNSIGNED_TRAILER, 100, trailer=name)
    ok(whole(up, bytes(100), [(name, sums.value("CRC32", bytes(100)))]))
    assert s3.keys_of(bucket) == [key]


def test_anonymous_cannot_sign_chunks(s3, anonymous, new_bucket, key):
    bucket = new_bucket(headers=[("x-amz-acl", "public-read-write")])
    up = Upload(anonymous, bucket, key, STREAM, 100)
    refused(
        up.send(b"64;chunk-signature=" + b"0" * 64 + b"\r\n" + bytes(100) + b"\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"),
        (400, 403),
    )
    absent(s3, bucket, key)
