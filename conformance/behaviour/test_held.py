"""What the server reads whole before it acts, documents and forms, has a bound however many do not end."""

from __future__ import annotations

import contextlib
import os
import re
import time
import urllib.request

import pytest
from conftest import fresh_name
from s3 import MIB, ok, refused
from sign import UNSIGNED
from test_post import BOUNDARY, encode, post
from wire import GONE, head

UNFINISHED = 100
DOCUMENT_BYTES = 3_000_000
SENT_BYTES = 2_900_000
# Unbounded, they would hold 290 MB; other tests run beside.
GROWTH_BYTES_MAX = 180 * MIB
# Longer than nothing is taken: the server waits, or the socket is full.
STILL_S = 1.5
SERVED_S_MAX = 25


@pytest.fixture
def resident():
    """Reads the server's resident bytes."""
    admin = os.environ.get("S3_ADMIN")
    if not admin:
        pytest.skip("S3_ADMIN is not set")

    def read() -> int:
        with urllib.request.urlopen(f"{admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return int(float(re.search(r"^datamesh_process_resident_bytes (\S+)$", text, re.M)[1]))

    return read


def pour(connections, body) -> None:
    """Sends to all of them until the server takes no more."""
    left = {c: memoryview(body) for c in connections}
    moved = time.monotonic()
    while left and time.monotonic() - moved < STILL_S:
        for c, rest in list(left.items()):
            c.socket.setblocking(False)
            try:
                left[c] = rest[c.socket.send(rest[: 256 << 10]) :]
                moved = time.monotonic()
                if not left[c]:
                    del left[c]
            except BlockingIOError:
                pass
            except GONE:
                del left[c]


@contextlib.contextmanager
def unfinished(s3, start: bytes, body: bytes):
    with contextlib.ExitStack() as open_until_here:
        connections = [open_until_here.enter_context(s3.connect(deadline_s=90)) for _ in range(UNFINISHED)]
        for c in connections:
            c.send(start)
        pour(connections, body)
        yield connections


def delete_one(key: str) -> str:
    return f"<Delete><Object><Key>{key}</Key></Object></Delete>"


def test_documents_that_do_not_end(s3, shelf, key, resident):
    ok(s3.put(shelf, key, b"v"))
    more = [("Content-Length", str(DOCUMENT_BYTES)), ("Content-MD5", "rL0Y20xC+Fzt72VPzMSk2A==")]
    start = s3.prepare("POST", shelf, query=["delete"], headers=more, payload=UNSIGNED)
    # Long keys: a document of too many elements is not waited for.
    entry = f"<Object><Key>{'a' * 1000}</Key></Object>"
    body = ("<Delete>" + entry * (SENT_BYTES // len(entry) + 1)).encode()[:SENT_BYTES]
    before = resident()
    with unfinished(s3, start, body) as connections:
        assert resident() - before < GROWTH_BYTES_MAX
        began = time.monotonic()
        ok(s3.document("POST", shelf, None, ["delete"], delete_one(key)))
        assert time.monotonic() - began < SERVED_S_MAX
        # Others wait for their room: the first do not keep it for the 30 s of a body without a byte.
        refused(connections[0].answer("POST"), 400, "RequestTimeout")
        assert time.monotonic() - began < SERVED_S_MAX


def form_head(s3, bucket, length) -> bytes:
    more = [("Host", s3.authority), ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
    return head("POST", f"/{bucket}", [*more, ("Content-Length", str(length))])


@pytest.mark.parametrize(("missing", "status", "code"), [(True, 404, "NoSuchBucket"), (False, 403, "AccessDenied")])
def test_files_nobody_asked_for_are_not_waited_for(s3, shelf, missing, status, code):
    body = encode([("key", "k")], bytes(900_000), end=False)
    bucket = fresh_name() if missing else shelf
    with s3.connect() as c:
        c.send(form_head(s3, bucket, len(body) + 1000), body)
        refused(c.answer("POST"), status, code)


def test_fields_that_do_not_end(s3, shelf, key, resident):
    body = encode([("key", "k"), ("x-ignore-a", "a" * 250_000)], None, end=False)
    before = resident()
    with unfinished(s3, form_head(s3, shelf, 1_000_000), body) as connections:
        assert resident() - before < GROWTH_BYTES_MAX
        began = time.monotonic()
        ok(post(s3, shelf, {"key": key}), 204)
        assert time.monotonic() - began < SERVED_S_MAX
        refused(connections[0].answer("POST"), 400, "RequestTimeout")
        assert time.monotonic() - began < SERVED_S_MAX
