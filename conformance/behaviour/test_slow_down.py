"""503 SlowDown: who gets no memory for its upload in time is told to come again, and nothing of it is kept."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import pytest
from conftest import _keys
from harness.server import Server
from s3 import MIB, Client, absent, ok, present, refused
from sign import UNSIGNED

pytestmark = pytest.mark.skipif(not os.environ.get("S3_DRIVES"), reason="the server is not ours to start")
# The least there may be: two stripes of 8 MiB with their parity.
BUDGET_BYTES = 32 * MIB
HOLDERS, BODY_BYTES = 2, 8 * MIB
# Faster than those that give way, and too slow to be done while another waits its 20 s.
PACE_BYTES_PER_S, STEP_S = 200_000, 0.1
WAITED_S = (15, 28)


@pytest.fixture
def client():
    with Server(settings=f"upload_buffer_bytes = {BUDGET_BYTES}") as server:
        yield Client(server.endpoint, _keys("main"))


def test_no_room_in_time(client):
    ok(client.request("PUT", "slow"))
    ok(client.put("slow", "late", b"before"))
    length, over = [("Content-Length", str(BODY_BYTES))], threading.Event()
    with contextlib.ExitStack() as open_until_here:
        holders = []
        for n in range(HOLDERS):
            c = open_until_here.enter_context(client.connect(deadline_s=90))
            c.send(client.prepare("PUT", "slow", f"held{n}", headers=length, payload=UNSIGNED))
            holders.append(c)
        step, sent = bytes(int(PACE_BYTES_PER_S * STEP_S)), 0

        def feed():
            nonlocal sent
            while not over.is_set() and sent + len(step) < BODY_BYTES:
                for c in holders:
                    c.send(step)
                sent += len(step)
                time.sleep(STEP_S)

        feeder = threading.Thread(target=feed)
        feeder.start()
        began = time.monotonic()
        try:
            # Small ones have room of their own.
            ok(client.put("slow", "small", b"v"))
            answers = client.many([lambda k=k: client.put("slow", k, bytes(BODY_BYTES)) for k in ("late", "new")])
        finally:
            over.set()
            feeder.join()
        for answer in answers:
            refused(answer, 503, "SlowDown")
        assert WAITED_S[0] < time.monotonic() - began < WAITED_S[1]
        present(client, "slow", "late", b"before")
        absent(client, "slow", "new")
        for c in holders:
            c.send(bytes(BODY_BYTES - sent))
            ok(c.answer("PUT"))
    ok(client.put("slow", "late", bytes(BODY_BYTES)))
    for key in ("held0", "held1", "late"):
        present(client, "slow", key, bytes(BODY_BYTES))
