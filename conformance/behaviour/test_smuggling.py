"""Heads that can be read in two ways, or in none: no second request may come out of a first one's body."""

from __future__ import annotations

import contextlib
import time

import pytest
from s3 import absent, ok, path_of
from sign import EMPTY, UNSIGNED, sign_header
from wire import Closed, head

FIRST_S, QUIET_S = 5.0, 2.0  # a local server that has not answered by then waits for more bytes


def answers_until_closed(c, most=5):
    """What comes until the server closes, or has nothing more to say. The sending side stays open:
    a server may take its end for a client that left, and then nothing would be tested."""
    found = []
    c.deadline = time.monotonic() + FIRST_S
    with contextlib.suppress(Closed, TimeoutError):
        for _ in range(most):
            found.append(c.answer())
            c.deadline = time.monotonic() + QUIET_S
    return found


def refused_or_closed(c, statuses=(400, 501)):
    """One refusal and then the end, or the end at once; nothing else may be answered."""
    found = answers_until_closed(c)
    assert len(found) <= 1 and all(a.status in statuses for a in found), found


def smuggled(s3, shelf, key) -> bytes:
    return s3.prepare("PUT", shelf, key + "smuggled", headers=[("Content-Length", "0")])


LENGTHS = {
    "cl and te": [("Content-Length", "{n}"), ("Transfer-Encoding", "chunked")],
    "te and cl": [("Transfer-Encoding", "chunked"), ("Content-Length", "{n}")],
    "two lengths": [("Content-Length", "5"), ("Content-Length", "{n}")],
    "two lengths turned": [("Content-Length", "{n}"), ("Content-Length", "5")],
    "length list": [("Content-Length", "5, {n}")],
    "length with plus": [("Content-Length", "+5")],
    "length with minus": [("Content-Length", "-5")],
    "length in hex": [("Content-Length", "0x5")],
    "length with a point": [("Content-Length", "5.0")],
    "length beyond 64 bit": [("Content-Length", "18446744073709551621")],
    "te unknown": [("Transfer-Encoding", "xchunked"), ("Content-Length", "{n}")],
    "te identity": [("Transfer-Encoding", "identity"), ("Content-Length", "{n}")],
    "te not last": [("Transfer-Encoding", "chunked, identity"), ("Content-Length", "{n}")],
    "te with a tab": [("Transfer-Encoding", "\tchunked\x0b"), ("Content-Length", "{n}")],
    "te name with space": [("Transfer-Encoding ", "chunked"), ("Content-Length", "{n}")],
    "length name with space": [("Content-Length ", "5")],
    "te folded": [("Transfer-Encoding", "\r\n chunked"), ("Content-Length", "{n}")],
}


@pytest.mark.parametrize("case", LENGTHS)
def test_smuggling(s3, shelf, key, case):
    body = b"0\r\n\r\n" + smuggled(s3, shelf, key)
    path = path_of(shelf, key)
    out, _ = sign_header(
        s3.keys, "PUT", path, [], [("Host", s3.authority)], UNSIGNED, signed=["host", "x-amz-content-sha256", "x-amz-date"]
    )
    lengths = [(n, v.replace("{n}", str(len(body)))) for n, v in LENGTHS[case]]
    with s3.connect() as c:
        c.send(head("PUT", path, [*out, *lengths]), body)
        found = answers_until_closed(c)
    assert len(found) <= 1, found
    absent(s3, shelf, key + "smuggled")


@pytest.mark.parametrize("case", LENGTHS)
def test_ambiguous_length_is_refused(s3, shelf, key, case):
    path = path_of(shelf, key)
    out, _ = sign_header(
        s3.keys, "PUT", path, [], [("Host", s3.authority)], UNSIGNED, signed=["host", "x-amz-content-sha256", "x-amz-date"]
    )
    with s3.connect() as c:
        c.send(head("PUT", path, [*out, *((n, v.replace("{n}", "10")) for n, v in LENGTHS[case])]), b"0\r\n\r\n12345")
        refused_or_closed(c, (400, 411, 501))
    absent(s3, shelf, key)


@pytest.mark.parametrize(
    "lead",
    [
        b"zz\r\n",
        b"5\r\nab",
        b"-1\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"5;" + b"e" * 70_000 + b"\r\n",
        b"5\nhello\n0\n\n",
    ],
)
def test_bad_http_chunks(s3, shelf, key, lead):
    headers = [("Transfer-Encoding", "chunked"), ("x-amz-decoded-content-length", "5"), ("Content-Encoding", "aws-chunked")]
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", length=False), lead)
        refused_or_closed(c)
    absent(s3, shelf, key)


def raw(s3, *lines: bytes, body=b""):
    with s3.connect() as c:
        c.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        return answers_until_closed(c)


HEADS = {
    "garbage": [b"\x00\x01\x02\x03\xff"],
    "no version": [b"GET /"],
    "http 0.9": [b"GET"],
    "http 3": [b"GET / HTTP/3.0", b"Host: x"],
    "version in words": [b"GET / HTTP/one", b"Host: x"],
    "no colon": [b"GET / HTTP/1.1", b"Host x"],
    "space in a name": [b"GET / HTTP/1.1", b"Host: x", b"Bad Name: y"],
    "nul in a value": [b"GET / HTTP/1.1", b"Host: x", b"X: a\x00b"],
    "folded": [b"GET / HTTP/1.1", b"Host: x", b"X: a", b" b"],
    "empty name": [b"GET / HTTP/1.1", b"Host: x", b": y"],
    "space in the target": [b"GET /a b HTTP/1.1", b"Host: x"],
    "control in the target": [b"GET /a\x01b HTTP/1.1", b"Host: x"],
    "no slash": [b"GET abc HTTP/1.1", b"Host: x"],
}


@pytest.mark.parametrize("case", HEADS)
def test_malformed_head(s3, case):
    found = raw(s3, *HEADS[case])
    assert len(found) <= 1 and all(400 <= a.status < 600 and a.status != 500 for a in found), found
    ok(s3.get(""))


def test_no_host(s3, shelf, key):
    """HTTP/1.1 asks for 400; without a Host no signature over it holds either."""
    path = path_of(shelf, key)
    out, _ = sign_header(s3.keys, "PUT", path, [], [("Content-Length", "0")], EMPTY)
    found = raw(s3, *head("PUT", path, out).rstrip(b"\r\n").split(b"\r\n"))
    assert len(found) == 1 and found[0].status == 400, found
    absent(s3, shelf, key)


def test_two_hosts(s3, shelf, key):
    path = path_of(shelf, key)
    out, _ = sign_header(
        s3.keys, "PUT", path, [], [("Host", s3.authority), ("Host", "evil.example.com"), ("Content-Length", "0")], EMPTY
    )
    found = raw(s3, *head("PUT", path, out).rstrip(b"\r\n").split(b"\r\n"))
    assert len(found) == 1 and found[0].status in (400, 403), found
    absent(s3, shelf, key)


@pytest.mark.parametrize("host", ["", "a b", "evil/../x", "x:99999", "[::1", "\u00fc.example.com", "," * 100])
def test_odd_host(s3, shelf, key, host):
    path = path_of(shelf, key)
    out, _ = sign_header(s3.keys, "PUT", path, [], [("Host", host), ("Content-Length", "0")], EMPTY)
    with s3.connect() as c:
        c.send(head("PUT", path, out))
        found = answers_until_closed(c)
    assert len(found) <= 1 and all(a.status < 500 for a in found), found


@pytest.mark.parametrize("method", ["CONNECT", "OPTIONS"])
def test_star_and_authority_targets(s3, method):
    target = b"*" if method == "OPTIONS" else s3.authority.encode()
    found = raw(s3, method.encode() + b" " + target + b" HTTP/1.1", b"Host: " + s3.authority.encode())
    assert len(found) <= 1 and all(a.status < 500 for a in found), found
