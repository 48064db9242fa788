#!/usr/bin/env python3
"""Every request is counted exactly once, also refused and cut ones. Exit code 3: it is not."""
from __future__ import annotations

import re
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.cache import Failed, say  # noqa: E402
from harness.server import Server  # noqa: E402

REFUSED, CUT = 12, 3
PATIENCE_S = 10
BROKEN = 3
COUNTER = re.compile(r"^datamesh_s3_requests_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.M)


def counted(admin: str) -> int:
    with urllib.request.urlopen(f"{admin}/metrics", timeout=10) as answer:
        return int(sum(float(n) for n in COUNTER.findall(answer.read().decode())))


def refused(endpoint: str) -> None:
    try:
        urllib.request.urlopen(f"{endpoint}/bucket/key", timeout=10).read()
    except urllib.error.HTTPError as error:
        error.read()


def cut(endpoint: str) -> None:
    """A body that never comes."""
    host, port = endpoint.rsplit("/", 1)[1].split(":")
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(f"PUT /bucket/key HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\nabc".encode())
        time.sleep(0.2)


def main() -> int:
    with Server() as server:
        before = counted(server.admin)
        for _ in range(REFUSED):
            refused(server.endpoint)
        for _ in range(CUT):
            cut(server.endpoint)
        deadline, wanted = time.monotonic() + PATIENCE_S, REFUSED + CUT
        while (found := counted(server.admin) - before) < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        # One more than there were would come at once; a moment is enough to see it.
        time.sleep(0.5)
        found = counted(server.admin) - before
    say(f"{found} counted of {wanted}")
    return 0 if found == wanted else BROKEN


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as why:
        say(why)
        sys.exit(1)
