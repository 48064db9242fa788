"""Memory for uploads is bounded; those whose bytes do not come must not hold it against the others."""

from __future__ import annotations

import contextlib
import time

import pytest
from s3 import MIB, absent, ok
from sign import UNSIGNED

# Together more than the memory for uploads, at its default.
HALF_SENT = 30
HALF_SENT_BYTES = 4 * MIB
SMALL_S_MAX = 3
# Half-sent uploads keep their room for five seconds, and a machine under load takes its time.
LARGE_S_MAX = 18


@pytest.fixture
def half_sent(s3, shelf, key):
    with contextlib.ExitStack() as open_until_here:
        for _ in range(HALF_SENT):
            head = [("Content-Length", str(HALF_SENT_BYTES))]
            stopped = open_until_here.enter_context(s3.connect())
            stopped.send(s3.prepare("PUT", shelf, key + "-half", headers=head, payload=UNSIGNED), bytes(100_000))
        time.sleep(0.5)
        yield
    absent(s3, shelf, key + "-half")


@pytest.mark.usefixtures("half_sent")
def test_small_uploads_do_not_wait_for_half_sent_large_ones(s3, shelf, key):
    for size in (4_000, 100_000, 500_000):
        began = time.monotonic()
        ok(s3.put(shelf, key, bytes(size)))
        assert time.monotonic() - began < SMALL_S_MAX, size


@pytest.mark.usefixtures("half_sent")
def test_half_sent_uploads_give_way_to_whole_ones(s3, shelf, key):
    began = time.monotonic()
    ok(s3.put(shelf, key, bytes(HALF_SENT_BYTES)))
    assert time.monotonic() - began < LARGE_S_MAX
