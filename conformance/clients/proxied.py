#!/usr/bin/env python3
"""What proxies get wrong and no client's suite asks: names in Host, Expect, odd header names, odd paths, gzip."""
import socket
import ssl
import sys
from pathlib import Path

from common import Case, main

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "behaviour"))
import sign  # noqa: E402
from wire import head  # noqa: E402

ANSWER_S_MAX = 60
BODY = b"<p>" + b"proxied " * 1000


class Wire:
    """One request a connection, each byte of it ours."""

    def __init__(self, c: Case) -> None:
        self.keys = sign.Keys(c.access, c.secret)
        self.port = int(c.host.rsplit(":", 1)[1])
        self.context = ssl.create_default_context(cafile=c.ca) if c.secure else None

    def ask(self, method: str, path: str, host: str, headers=(), body: bytes = b"", expect: bool = False):
        """(was 100 Continue said first?, status, headers, body)"""
        sent = [("Host", f"{host}:{self.port}"), *headers]
        if body or method == "PUT":
            sent.append(("Content-Length", str(len(body))))
        out, _ = sign.sign_header(self.keys, method, path, [], sent, sign.UNSIGNED)
        out.append(("Connection", "close"))
        if expect:
            out.append(("Expect", "100-continue"))
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S_MAX) as plain:
            link = self.context.wrap_socket(plain, server_hostname="localhost") if self.context else plain
            link.sendall(head(method, path, out))
            got = link.recv(4096) if expect else b""
            link.sendall(body)
            while more := link.recv(65_536):
                got += more
        told = got.startswith(b"HTTP/1.1 100")
        first, _, rest = (got.partition(b"\r\n\r\n")[2] if told else got).partition(b"\r\n\r\n")
        lines = first.decode("latin-1").split("\r\n")
        found = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        return told, int(lines[0].split()[1]), found, rest


def round_trip(c: Case, _tools: None) -> str:
    w, b = Wire(c), c.bucket
    c.expect(w.ask("PUT", f"/{b}", "127.0.0.1")[1] == 200, "the bucket is not made")
    names = [("x-amz-meta-under_score", "1"), ("x-amz-meta-a.dot", "2"), ("Content-Type", "text/html")]
    told, status, _, why = w.ask("PUT", f"/{b}/page", "127.0.0.1", names, BODY, expect=True)
    c.expect(told, "no 100 Continue")
    c.expect(status == 200, f"PUT with Expect and odd header names: {status} {why[:300]}")
    _, status, found, body = w.ask("GET", f"/{b}/page", "127.0.0.1", [("Accept-Encoding", "gzip")])
    c.expect(status == 200 and found.get("x-amz-meta-under_score") == "1" and found.get("x-amz-meta-a.dot") == "2",
             f"metadata came back as {found}")
    c.same(body, BODY, "text/html to a client that takes gzip")
    c.expect(found.get("content-length") == str(len(BODY)) and not found.get("etag", "W/").startswith("W/"),
             f"length or ETag were changed: {found}")
    for key in ("a//b", "end/", "a%2Fb/c", "x%20y%2Bz%25", "a/./b"):
        _, status, _, why = w.ask("PUT", f"/{b}/{key}", "127.0.0.1", (), BODY)
        c.expect(status == 200, f"PUT {key}: {status} {why[:300]}")
        c.same(w.ask("GET", f"/{b}/{key}", "127.0.0.1")[3], BODY, key)
    _, status, _, why = w.ask("PUT", "/by/name", f"{b}.localhost", (), BODY)
    c.expect(status == 200, f"virtual-hosted PUT: {status} {why[:300]}")
    c.same(w.ask("GET", f"/{b}/by/name", "127.0.0.1")[3], BODY, "what was put by a virtual-hosted name")
    listed = w.ask("GET", "/", f"{b}.localhost")[3]
    c.expect(listed.count(b"<Contents>") == 7 and b"<Key>a//b</Key>" in listed, f"listing: {listed[:2000]}")
    for key in ("page", "a//b", "end/", "a%2Fb/c", "x%20y%2Bz%25", "a/./b", "by/name"):
        c.expect(w.ask("DELETE", f"/{b}/{key}", "127.0.0.1")[1] == 204, f"DELETE {key}")
    c.expect(w.ask("DELETE", f"/{b}", "127.0.0.1")[1] == 204, "the bucket is not deleted")
    return "0.0"


main("proxied", lambda: None, round_trip)
