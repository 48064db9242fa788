"""An object beyond 5 GiB: made of parts, read over its seams, and no source of a copy. Only where BEHAVIOUR_LARGE is set:
it takes minutes and 10 GB."""

from __future__ import annotations

import os

import pytest
from s3 import MIB, absent, ok, refused
from test_limits import PUT_BYTES_MAX

pytestmark = pytest.mark.skipif(not os.environ.get("BEHAVIOUR_LARGE"), reason="BEHAVIOUR_LARGE is not set")
SEED_BYTES, PART_BYTES = 64 * MIB, 256 * MIB
TAIL = b"tail"


@pytest.mark.timeout(1200)
def test_over_five_gib(s3, bucket):
    ok(s3.put(bucket, "seed", bytes(range(256)) * (SEED_BYTES // 256)))
    copied(s3, bucket, "part", "seed", PART_BYTES // SEED_BYTES)
    upload, done = copied(s3, bucket, "large", "part", PUT_BYTES_MAX // PART_BYTES, complete=False)
    done.append((len(done) + 1, ok(s3.part(bucket, "large", upload, len(done) + 1, TAIL))["etag"]))
    ok(s3.complete(bucket, "large", upload, done, [("x-amz-mp-object-size", str(PUT_BYTES_MAX + len(TAIL)))]))
    size = PUT_BYTES_MAX + len(TAIL)
    assert ok(s3.head(bucket, "large"))["content-length"] == str(size)
    got = ok(s3.get(bucket, "large", headers=[("Range", f"bytes={PUT_BYTES_MAX - 2}-")]), 206)
    assert (got.body, got["content-range"]) == (b"\xfe\xff" + TAIL, f"bytes {PUT_BYTES_MAX - 2}-{size - 1}/{size}")
    assert ok(s3.get(bucket, query=[("prefix", "large")])).text("Contents/Size") == str(size)

    source = [("x-amz-copy-source", f"{bucket}/large")]
    refused(s3.put(bucket, "copy", headers=source), 400, "InvalidRequest")
    refused(s3.put(bucket, "large", headers=[*source, ("x-amz-metadata-directive", "REPLACE")]), 400, "InvalidRequest")
    absent(s3, bucket, "copy")
    other = s3.begin(bucket, "copy")
    refused(s3.part(bucket, "copy", other, 1, b"", source), 400, ("InvalidRequest", "EntityTooLarge"))
    last = [*source, ("x-amz-copy-source-range", f"bytes={PUT_BYTES_MAX}-{size - 1}")]
    etag = ok(s3.part(bucket, "copy", other, 1, b"", last)).text("ETag")
    ok(s3.complete(bucket, "copy", other, [(1, etag)]))
    assert ok(s3.get(bucket, "copy")).body == TAIL


def copied(s3, bucket, key, source, times, complete=True):
    """`times` copies of an object, one part each."""
    upload, done = s3.begin(bucket, key), []
    for n in range(1, times + 1):
        answer = ok(s3.part(bucket, key, upload, n, b"", [("x-amz-copy-source", f"{bucket}/{source}")]))
        done.append((n, answer.text("ETag")))
    if complete:
        ok(s3.complete(bucket, key, upload, done))
    return upload, done
