"""Ranges: what is one, what is none, and the edges of parts, frames and stripes."""

from __future__ import annotations

import random

import pytest
import sums
from s3 import MIB, PART_BYTES_MIN, ok, refused

FRAME = 65_520  # plaintext bytes of a sealed frame
STRIPE = 128 * FRAME  # plaintext bytes of a stripe
BODY = b"0123456789"


@pytest.fixture(scope="module")
def ten(s3, shelf):
    ok(s3.put(shelf, "ten", BODY))
    ok(s3.put(shelf, "empty", b""))
    return "ten"


GOOD = [
    ("bytes=0-0", 0, 0),
    ("bytes=0-", 0, 9),
    ("bytes=3-5", 3, 5),
    ("bytes=9-", 9, 9),
    ("bytes=5-100", 5, 9),
    ("bytes=-1", 9, 9),
    ("bytes=-10", 0, 9),
    ("bytes=-100", 0, 9),
    ("bytes=0-99999999999999999", 0, 9),
    ("bytes=9-9", 9, 9),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("header", "first", "last"), GOOD)
def test_range(s3, shelf, ten, header, first, last, method):
    answer = ok(s3.request(method, shelf, ten, headers=[("Range", header)]), 206)
    assert answer["content-range"] == f"bytes {first}-{last}/10"
    assert answer["content-length"] == str(last - first + 1)
    assert answer.body == (BODY[first : last + 1] if method == "GET" else b"")
    assert answer["etag"] == sums.etag(BODY)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", ["bytes=-0", "bytes=10-", "bytes=10-20", "bytes=100-200"])
def test_unsatisfiable(s3, shelf, ten, header, method):
    answer = refused(
        s3.request(method, shelf, ten, headers=[("Range", header)]), 416, "InvalidRange" if method == "GET" else None
    )
    if method == "GET":
        assert answer["content-range"] in (None, "bytes */10")


@pytest.mark.parametrize(
    "header",
    [
        "bytes=5-2",
        "bytes=a-b",
        "bytes=",
        "bytes",
        "lines=1-2",
        "bytes=1",
        "0-5",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes 1-2",
        "",
        "bytes=99999999999999999999999-",
    ],
)
def test_malformed_is_ignored(s3, shelf, ten, header):
    answer = s3.get(shelf, ten, headers=[("Range", header)])
    if header.startswith("bytes=999"):
        assert answer.status in (200, 416), answer
    else:
        assert ok(answer, 200).body == BODY


@pytest.mark.parametrize(
    "header", ["bytes=0-1,3-4", "bytes=0-0,-1", "bytes=0-1, 1-2, 2-3", "bytes=" + ",".join(f"{i}-{i}" for i in range(500))]
)
def test_many_ranges_are_the_whole(s3, shelf, ten, header):
    assert ok(s3.get(shelf, ten, headers=[("Range", header)]), 200).body == BODY


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=-1", "bytes=0-", "bytes=-0"])
def test_empty_object_has_no_range(s3, shelf, ten, header):
    refused(s3.get(shelf, "empty", headers=[("Range", header)]), 416, "InvalidRange")


@pytest.mark.parametrize(
    ("condition", "status"), [("same", 206), ("other", 200), ("date after", 206), ("date before", 200), ("nonsense", 200)]
)
def test_if_range(s3, shelf, ten, condition, status):
    modified = ok(s3.head(shelf, ten))["last-modified"]
    value = {
        "same": sums.etag(BODY),
        "other": '"0"',
        "date after": modified,
        "date before": "Mon, 01 Jan 2001 00:00:00 GMT",
        "nonsense": "x",
    }[condition]
    answer = ok(s3.get(shelf, ten, headers=[("Range", "bytes=2-3"), ("If-Range", value)]), status)
    assert answer.body == (BODY[2:4] if status == 206 else BODY)


def test_range_and_part_number(s3, shelf, ten):
    refused(s3.get(shelf, ten, query=[("partNumber", "1")], headers=[("Range", "bytes=0-1")]), 400, "InvalidRequest")


@pytest.mark.parametrize(("header", "shown"), [("bytes=0-4", False), (None, True)])
def test_range_with_checksum_mode(s3, shelf, key, header, shown):
    """A checksum of the whole is not sent beside a piece: SDKs would hold it against the piece."""
    ok(s3.put(shelf, key, BODY, [("x-amz-checksum-crc32", sums.value("CRC32", BODY))]))
    headers = [("x-amz-checksum-mode", "ENABLED"), *([("Range", header)] if header else [])]
    got = ok(s3.get(shelf, key, headers=headers))["x-amz-checksum-crc32"]
    assert got == (sums.value("CRC32", BODY) if shown else None)


def edges(size: int, step: int) -> list[tuple[int, int]]:
    """Ranges that begin or end beside each multiple of a step."""
    cuts = sorted({max(0, min(size - 1, n + d)) for n in range(0, size + step, step) for d in (-1, 0, 1)})
    return [(a, b) for a in cuts for b in cuts if a <= b]


def check(s3, bucket, key, data, ranges, headers=()):
    with s3.connect() as c:
        for first, last in ranges:
            c.send(s3.prepare("GET", bucket, key, headers=[("Range", f"bytes={first}-{last}"), *headers]))
            answer = ok(c.answer(), 206)
            assert answer["content-range"] == f"bytes {first}-{last}/{len(data)}"
            assert answer.body == data[first : last + 1], f"{first}-{last}"


@pytest.fixture(scope="module")
def bytes_(s3):
    return random.Random(1).randbytes(2 * STRIPE + 2 * FRAME + 5)


def test_frame_edges(s3, shelf, key, bytes_):
    data = bytes_[: 3 * FRAME + 100]
    ok(s3.put(shelf, key, data))
    check(s3, shelf, key, data, edges(len(data), FRAME))


@pytest.mark.parametrize("size", [16 << 10, (16 << 10) + 1, FRAME, FRAME + 1, FRAME - 1])
def test_sizes_where_storing_changes(s3, shelf, key, bytes_, size):
    data = bytes_[:size]
    ok(s3.put(shelf, key, data))
    assert ok(s3.get(shelf, key), 200).body == data
    check(s3, shelf, key, data, [(0, 0), (size - 1, size - 1), (0, size - 1), (size // 2, size // 2 + 1)])


def test_stripe_edges(s3, shelf, key, bytes_):
    ok(s3.put(shelf, key, bytes_))
    near = [(n + a, n + b) for n in (STRIPE, 2 * STRIPE) for a in (-FRAME - 1, -1, 0) for b in (0, 1, FRAME + 1) if a <= b]
    check(s3, shelf, key, bytes_, [*near, (STRIPE - 1, 2 * STRIPE), (0, len(bytes_) - 1), (len(bytes_) - 1, len(bytes_) - 1)])


def test_part_edges(s3, shelf, key, bytes_):
    parts = [bytes_[:PART_BYTES_MIN], bytes_[PART_BYTES_MIN : 2 * PART_BYTES_MIN + 1], bytes_[-1000:]]
    s3.multipart(shelf, key, parts)
    data = b"".join(parts)
    first, second = len(parts[0]), len(parts[0]) + len(parts[1])
    near = [(n + a, n + b) for n in (first, second) for a in (-2, -1, 0) for b in (-1, 0, 1, 5) if a <= b]
    check(s3, shelf, key, data, [*near, (first - 1, second), (0, len(data) - 1)])


def test_edges_under_a_customers_key(s3, shelf, key, bytes_):
    from test_sse import customer

    data, headers = bytes_[: 2 * FRAME + 3], customer(b"k" * 32)
    ok(s3.put(shelf, key, data, headers))
    check(s3, shelf, key, data, edges(len(data), FRAME), headers)


def test_random_ranges(s3, shelf, key, bytes_):
    data, dice = bytes_[: MIB + 17], random.Random(2)
    ok(s3.put(shelf, key, data))
    pairs = [sorted(dice.randrange(len(data)) for _ in range(2)) for _ in range(40)]
    check(s3, shelf, key, data, [(a, b) for a, b in pairs])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", ["bytes=0-1", "bytes=-1"])
def test_range_and_part_number_of_parts(s3, shelf, key, header, method):
    s3.multipart(shelf, key, [BODY])
    answer = s3.request(method, shelf, key, [("partNumber", "1")], [("Range", header)])
    refused(answer, 400, "InvalidRequest" if method == "GET" else None)


def test_edges_under_a_named_key_and_in_parts_of_another(s3, shelf, key, bytes_):
    """Ranges over seams of parts and of sealed frames at once, under each kind of key."""
    from test_sse import KMS, customer

    parts = [bytes_[: PART_BYTES_MIN + 7], bytes_[: FRAME + 3]]
    data, seam = b"".join(parts), PART_BYTES_MIN + 7
    for n, headers in enumerate((KMS, customer(b"k" * 32))):
        own = headers if n else []
        s3.multipart(shelf, key + str(n), parts, headers, own)
        near = [(seam + a, seam + b) for a in (-FRAME - 1, -1, 0) for b in (0, FRAME - 1, FRAME, FRAME + 2) if a <= b]
        check(s3, shelf, key + str(n), data, near, own)
