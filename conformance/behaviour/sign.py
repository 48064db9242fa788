"""Signature version 4, written out: header, query, chunks, trailers and forms, each step open to a test.

Checked against botocore's own signer in test_signer.py, which needs no server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, replace
from urllib.parse import quote_from_bytes, unquote_to_bytes

from wire import Headers, joined

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAM_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
ALGORITHM = "AWS4-HMAC-SHA256"
Query = list[tuple[str, str | None]]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def quoted(text: str | bytes, safe: str = "") -> str:
    return quote_from_bytes(text if isinstance(text, bytes) else text.encode(), safe=safe + "-._~")


def stamp(offset_s: float = 0) -> str:
    """Now, or so many seconds later, as x-amz-date has it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + offset_s))


@dataclass(frozen=True)
class Keys:
    """Who signs, and for what. `date` is a whole x-amz-date; None: now."""

    access: str
    secret: str
    region: str = "us-east-1"
    service: str = "s3"
    terminal: str = "aws4_request"
    token: str | None = None

    def but(self, **changes) -> "Keys":
        return replace(self, **changes)

    def scope(self, date: str) -> str:
        return f"{date[:8]}/{self.region}/{self.service}/{self.terminal}"

    def signing_key(self, date: str) -> bytes:
        key = b"AWS4" + self.secret.encode()
        for word in (date[:8], self.region, self.service, self.terminal):
            key = hmac.digest(key, word.encode(), "sha256")
        return key

    def signature(self, date: str, text: str) -> str:
        return hmac.new(self.signing_key(date), text.encode(), "sha256").hexdigest()


def canonical_query(query: Query) -> str:
    return "&".join(f"{n}={v}" for n, v in sorted((quoted(n), quoted(v or "")) for n, v in query))


def canonical_request(method: str, path: str, query: Query, headers: Headers, signed: list[str], payload: str) -> bytes:
    """`path` as sent: decoded once, encoded once, and not normalised, as S3 alone has it."""
    values: dict[str, list] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    lines = b"".join(n.encode() + b":" + joined(values.get(n, [""])) + b"\n" for n in signed)
    uri = quoted(unquote_to_bytes(path), safe="/")
    parts = [method.encode(), uri.encode(), canonical_query(query).encode(), lines, ";".join(signed).encode(), payload.encode()]
    return b"\n".join(parts)


def string_to_sign(date: str, scope: str, canonical: bytes) -> str:
    return "\n".join([ALGORITHM, date, scope, sha(canonical)])


def to_sign(headers: Headers) -> list[str]:
    """Host, content-type, content-md5 and every x-amz-*."""
    names = {n.lower() for n, _ in headers}
    return sorted(n for n in names if n in ("host", "content-type", "content-md5", "range") or n.startswith("x-amz-"))


def sign_header(
    keys: Keys,
    method: str,
    path: str,
    query: Query,
    headers: Headers,
    payload: str,
    date: str | None = None,
    signed: list[str] | None = None,
) -> tuple[list, str]:
    """Headers with x-amz-date, x-amz-content-sha256 and Authorization; and the signature (the seed)."""
    names = {n.lower() for n, _ in headers}
    out = list(headers)
    date = date or stamp()
    if "x-amz-date" not in names:
        out.append(("x-amz-date", date))
    if "x-amz-content-sha256" not in names:
        out.append(("x-amz-content-sha256", payload))
    if keys.token:
        out.append(("x-amz-security-token", keys.token))
    signed = to_sign(out) if signed is None else signed
    canonical = canonical_request(method, path, query, out, signed, payload)
    signature = keys.signature(date, string_to_sign(date, keys.scope(date), canonical))
    value = f"{ALGORITHM} Credential={keys.access}/{keys.scope(date)}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    out.append(("Authorization", value))
    return out, signature


def sign_query(
    keys: Keys,
    method: str,
    path: str,
    query: Query,
    headers: Headers,
    expires: int | str = 300,
    date: str | None = None,
    payload: str = UNSIGNED,
    over: dict[str, str] | None = None,
) -> Query:
    """The query of a presigned URL. `over` replaces parameters before they are signed."""
    date = date or stamp()
    signed = to_sign(headers)
    own = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access}/{keys.scope(date)}",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": ";".join(signed),
    }
    if keys.token:
        own["X-Amz-Security-Token"] = keys.token
    own.update(over or {})
    query = query + list(own.items())
    canonical = canonical_request(method, path, query, headers, signed, payload)
    return query + [("X-Amz-Signature", keys.signature(date, string_to_sign(date, keys.scope(date), canonical)))]


class Chunks:
    """An aws-chunked body, chunk by chunk. Signed where `keys` is given."""

    def __init__(self, keys: Keys | None, date: str, seed: str) -> None:
        self.keys, self.date, self.previous = keys, date, seed

    def _next(self, kind: str, *rest: str) -> str:
        text = "\n".join([kind, self.date, self.keys.scope(self.date), self.previous, *rest])
        self.previous = self.keys.signature(self.date, text)
        return self.previous

    def chunk(self, data: bytes, signature: str | None = None) -> bytes:
        """Size line, data, line end; an empty chunk has no line end, what follows brings it."""
        line = f"{len(data):x}"
        if self.keys:
            own = self._next("AWS4-HMAC-SHA256-PAYLOAD", EMPTY, sha(data))
            line += f";chunk-signature={signature or own}"
        return line.encode() + b"\r\n" + (data + b"\r\n" if data else b"")

    def trailer(self, lines: list[tuple[str, str]], signature: str | None = None) -> bytes:
        """Trailer lines, their signature, and the last line end."""
        out = b"".join(f"{n}:{v}\r\n".encode() for n, v in lines)
        if self.keys:
            text = "".join(f"{n}:{v}\n" for n, v in lines).encode()
            own = self._next("AWS4-HMAC-SHA256-TRAILER", sha(text))
            out += f"x-amz-trailer-signature:{signature or own}\r\n".encode()
        return out + b"\r\n"


def form_fields(
    keys: Keys, conditions: list, date: str | None = None, expires_s: float = 600, policy: bytes | None = None
) -> list[tuple[str, str]]:
    """policy and x-amz-* fields of a signed form; their own conditions are added."""
    date = date or stamp()
    credential = f"{keys.access}/{keys.scope(date)}"
    own = [{"x-amz-algorithm": ALGORITHM}, {"x-amz-credential": credential}, {"x-amz-date": date}]
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + expires_s))
    document = policy if policy is not None else json.dumps({"expiration": until, "conditions": conditions + own}).encode()
    encoded = base64.b64encode(document).decode()
    return [
        ("policy", encoded),
        ("x-amz-algorithm", ALGORITHM),
        ("x-amz-credential", credential),
        ("x-amz-date", date),
        ("x-amz-signature", keys.signature(date, encoded)),
    ]
