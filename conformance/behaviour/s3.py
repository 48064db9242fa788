"""A client as small as the tests need: one request, one answer; and the calls that tests repeat."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterable
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import sums
from sign import Keys, Query, quoted, sha, sign_header, sign_query
from wire import Answer, Connection, Headers, head

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
MIB = 1 << 20
PART_BYTES_MIN = 5 * MIB
AT_ONCE = 16


def path_of(bucket: str, key: str | bytes | None = None) -> str:
    return "/" + quoted(bucket) + ("" if key is None else "/" + quoted(key, safe="/"))


class Client:
    """One endpoint and who we are there; keys None: nobody."""

    def __init__(self, endpoint: str, keys: Keys | None, ca: str | None = None) -> None:
        url = urlsplit(endpoint)
        self.endpoint, self.keys, self.ca = endpoint, keys, ca
        self.secure, self.host = url.scheme == "https", url.hostname
        self.port = url.port or (443 if self.secure else 80)
        self.authority = f"{self.host}:{self.port}"
        self.context = ssl.create_default_context(cafile=ca) if self.secure else None

    def as_(self, keys: Keys | None) -> "Client":
        return Client(self.endpoint, keys, self.ca)

    def connect(self, **kw) -> Connection:
        return Connection(self.host, self.port, self.context, **kw)

    def prepare(
        self,
        method: str,
        bucket: str = "",
        key: str | bytes | None = None,
        query: Iterable = (),
        headers: Headers = (),
        body: bytes = b"",
        *,
        path: str | None = None,
        payload: str | None = None,
        presign: bool = False,
        length: bool = True,
        keys: Keys | None = None,
        version: str = "HTTP/1.1",
        **signing,
    ) -> bytes:
        """The head of a signed request. `path` is sent as it is; `signing` goes to the signer."""
        path = path_of(bucket, key) if path is None else path
        query: Query = [(q, None) if isinstance(q, str) else q for q in query]
        out = [("Host", self.authority), *headers]
        if length and (body or method in ("PUT", "POST")) and not any(n.lower() == "content-length" for n, _ in out):
            out.append(("Content-Length", str(len(body))))
        keys = keys or self.keys
        if keys and presign:
            query = sign_query(keys, method, path, query, [h for h in out if h[0].lower() != "content-length"], **signing)
        elif keys:
            out, _ = sign_header(keys, method, path, query, out, payload or sha(body), **signing)
        words = "&".join(quoted(n) + ("" if v is None else "=" + quoted(v)) for n, v in query)
        return head(method, path + ("?" + words if words else ""), out, version)

    def request(
        self,
        method: str,
        bucket: str = "",
        key: str | bytes | None = None,
        query: Iterable = (),
        headers: Headers = (),
        body: bytes = b"",
        **how,
    ) -> Answer:
        """On a connection of its own."""
        with self.connect() as c:
            c.send(self.prepare(method, bucket, key, query, headers, body, **how), body)
            return c.answer(method)

    def put(self, bucket: str, key: str | bytes, body: bytes = b"", headers: Headers = (), **how) -> Answer:
        return self.request("PUT", bucket, key, headers=headers, body=body, **how)

    def get(self, bucket: str, key: str | bytes | None = None, query: Iterable = (), headers: Headers = (), **how) -> Answer:
        return self.request("GET", bucket, key, query, headers, **how)

    def head(self, bucket: str, key: str | bytes | None = None, query: Iterable = (), headers: Headers = (), **how) -> Answer:
        return self.request("HEAD", bucket, key, query, headers, **how)

    def delete(self, bucket: str, key: str | bytes | None = None, query: Iterable = (), headers: Headers = ()) -> Answer:
        return self.request("DELETE", bucket, key, query, headers)

    def document(
        self, method: str, bucket: str, key: str | None, query: Iterable, xml: str | bytes, headers: Headers = ()
    ) -> Answer:
        """A request whose body is XML, with its Content-MD5 unless the test brings one."""
        body = xml if isinstance(xml, bytes) else xml.encode()
        own = [] if any(n.lower() == "content-md5" for n, _ in headers) else [("Content-MD5", sums.md5(body))]
        return self.request(method, bucket, key, query, [*headers, *own], body)

    def many(self, calls: Iterable[Callable[[], Answer]], workers: int = AT_ONCE) -> list[Answer]:
        """All at once, answers in order."""
        with ThreadPoolExecutor(workers) as pool:
            return [f.result() for f in [pool.submit(c) for c in calls]]

    # Multipart.
    def begin(self, bucket: str, key: str, headers: Headers = ()) -> str:
        answer = ok(self.request("POST", bucket, key, ["uploads"], headers))
        return answer.text("UploadId")

    def part(self, bucket: str, key: str, upload: str, number: int | str, body: bytes, headers: Headers = (), **how) -> Answer:
        return self.request("PUT", bucket, key, [("partNumber", str(number)), ("uploadId", upload)], headers, body, **how)

    def complete(self, bucket: str, key: str, upload: str, parts: list, headers: Headers = ()) -> Answer:
        """`parts`: (number, ETag) or (number, ETag, more XML)."""
        xml = "".join(f"<Part><PartNumber>{p[0]}</PartNumber><ETag>{escape(p[1])}</ETag>{''.join(p[2:])}</Part>" for p in parts)
        body = f"<CompleteMultipartUpload {XMLNS}>{xml}</CompleteMultipartUpload>".encode()
        return self.request("POST", bucket, key, [("uploadId", upload)], headers, body)

    def multipart(self, bucket: str, key: str, parts: list[bytes], headers: Headers = (), part_headers: Headers = ()) -> Answer:
        upload = self.begin(bucket, key, headers)
        etags = [ok(self.part(bucket, key, upload, n, p, part_headers))["etag"] for n, p in enumerate(parts, 1)]
        return ok(self.complete(bucket, key, upload, list(enumerate(etags, 1))))

    # Others that many tests need.
    def versioning(self, bucket: str, status: str) -> Answer:
        return self.document(
            "PUT",
            bucket,
            None,
            ["versioning"],
            f"<VersioningConfiguration {XMLNS}><Status>{status}</Status></VersioningConfiguration>",
        )

    def delete_many(self, bucket: str, entries: list, quiet: bool = False, headers: Headers = ()) -> Answer:
        """`entries`: key, or (key, version id)."""

        def entry(e) -> str:
            key, version = (e, None) if isinstance(e, str) else e
            more = "" if version is None else f"<VersionId>{version}</VersionId>"
            return f"<Object><Key>{escape(key)}</Key>{more}</Object>"

        xml = f"<Delete {XMLNS}>{'<Quiet>true</Quiet>' if quiet else ''}{''.join(map(entry, entries))}</Delete>"
        return self.document("POST", bucket, None, ["delete"], xml, headers)

    def keys_of(self, bucket: str, **query: str) -> list[str]:
        """Every key, by v2 pages."""
        keys, token = [], None
        while True:
            more = [("continuation-token", token)] if token else []
            page = ok(self.get(bucket, query=[("list-type", "2"), *query.items(), *more]))
            keys += page.texts("Contents/Key")
            if page.text("IsTruncated") != "true":
                return keys
            token = page.text("NextContinuationToken")

    def versions(self, bucket: str) -> list[tuple[str, str, str]]:
        """(Version or DeleteMarker, key, version id), every page, in order."""
        found, more = [], []
        while True:
            page = ok(self.get(bucket, query=["versions", *more]))
            for e in page.xml:
                if e.tag in ("Version", "DeleteMarker"):
                    found.append((e.tag, e.findtext("Key"), e.findtext("VersionId")))
            if page.text("IsTruncated") != "true":
                return found
            more = [("key-marker", page.text("NextKeyMarker")), ("version-id-marker", page.text("NextVersionIdMarker"))]

    def empty(self, bucket: str) -> None:
        """Every version away, in hundreds; encoded keys, because some tests' keys are no XML."""
        from urllib.parse import unquote

        while True:
            page = self.get(bucket, query=["versions", ("encoding-type", "url"), ("max-keys", "500")])
            if page.status == 404:
                return
            gone = [
                (unquote(e.findtext("Key").replace("+", " "), errors="surrogateescape"), e.findtext("VersionId"))
                for e in ok(page).xml
                if e.tag in ("Version", "DeleteMarker")
            ]
            if not gone:
                return
            calls = [
                lambda k=k, v=v: self.delete(bucket, k.encode("utf-8", "surrogateescape"), [("versionId", v)]) for k, v in gone
            ]
            for answer in self.many(calls):
                assert answer.status in (204, 404), answer

    def remove(self, bucket: str) -> None:
        self.empty(bucket)
        answer = self.delete(bucket)
        assert answer.status in (204, 404), answer


def ok(answer: Answer, status: int | None = None) -> Answer:
    """The answer, which must be of the 200s (or exactly that)."""
    good = answer.status == status if status else 200 <= answer.status < 300
    assert good and answer.code is None, f"wanted {status or '2xx'}: {answer}"
    return answer


def refused(answer: Answer, status: int | tuple[int, ...], code: str | tuple[str, ...] | None = None) -> Answer:
    """The refusal, which must have that status and S3 code (several where AWS documents several)."""
    statuses = status if isinstance(status, tuple) else (status,)
    codes = (code,) if isinstance(code, str) else code
    assert answer.status in statuses, f"wanted {status} {code}: {answer}"
    if codes:
        assert answer.code in codes, f"wanted {status} {code}: {answer}"
    assert answer["x-amz-request-id"], f"no request id: {answer}"
    if answer.body:
        assert answer.text("RequestId") == answer["x-amz-request-id"], answer
    return answer


def absent(client: Client, bucket: str, key: str | bytes) -> None:
    """Nothing was left behind."""
    refused(client.get(bucket, key), 404, "NoSuchKey")


def present(client: Client, bucket: str, key: str | bytes, body: bytes, headers: Headers = ()) -> Answer:
    """The object is there, byte for byte."""
    answer = ok(client.get(bucket, key, headers=headers), 200)
    assert answer.body == body, f"{len(answer.body)} bytes are not the {len(body)} expected: {answer.body[:80]!r}"
    return answer
