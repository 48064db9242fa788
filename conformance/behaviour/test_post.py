"""Browser forms signed by version four."""

from __future__ import annotations


import pytest
import sums
from s3 import absent, ok, present, refused
from sign import form_fields
from wire import head

BOUNDARY = "----boundary0123456789"
FILE = b"file content"


def encode(fields, file=FILE, filename="file.txt", content_type="text/plain", after=(), boundary=BOUNDARY, end=True) -> bytes:
    """multipart/form-data; `after`: fields behind the file."""

    def field(name, value):
        value = value if isinstance(value, bytes) else value.encode()
        return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"

    out = b"".join(field(n, v) for n, v in fields)
    if file is not None:
        out += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: {content_type}\r\n\r\n'.encode()
            + file
            + b"\r\n"
        )
    out += b"".join(field(n, v) for n, v in after)
    return out + (f"--{boundary}--\r\n".encode() if end else b"")


def send(s3, bucket, body, content_type=f"multipart/form-data; boundary={BOUNDARY}", more=()):
    with s3.connect() as c:
        c.send(
            head(
                "POST",
                f"/{bucket}",
                [("Host", s3.authority), ("Content-Type", content_type), ("Content-Length", str(len(body))), *more],
            ),
            body,
        )
        return c.answer("POST")


def condition(name, value):
    return ["starts-with", f"${name}", ""] if "${filename}" in value else {name: value}


def post(s3, bucket, fields, file=FILE, conditions=None, keys=None, form=None, signing=None, **how):
    """A form whose policy allows exactly its fields, unless `conditions` says otherwise."""
    if conditions is None:
        conditions = [{"bucket": bucket}, *(condition(n, v) for n, v in fields.items())]
    own = form_fields(keys or s3.keys, conditions, **(signing or {}))
    return send(s3, bucket, encode([*fields.items(), *(form(own) if form else own)], file, **how))


def test_form(s3, shelf, key):
    answer = ok(post(s3, shelf, {"key": key, "Content-Type": "text/x", "x-amz-meta-a": "1", "Cache-Control": "no-store"}), 204)
    assert answer["etag"] == sums.etag(FILE) and answer["location"]
    got = present(s3, shelf, key, FILE)
    assert (got["content-type"], got["x-amz-meta-a"], got["cache-control"]) == ("text/x", "1", "no-store")


@pytest.mark.parametrize("size", [0, 1, 20_000, 300_000])
def test_sizes(s3, shelf, key, size):
    data = bytes(i % 251 for i in range(size))
    ok(post(s3, shelf, {"key": key}, data), 204)
    present(s3, shelf, key, data)


@pytest.mark.parametrize(("asked", "status"), [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("abc", 204), ("", 204)])
def test_status(s3, shelf, key, asked, status):
    answer = ok(post(s3, shelf, {"key": key, "success_action_status": asked}), status)
    if status == 201:
        assert (answer.xml.tag, answer.text("Bucket"), answer.text("Key"), answer.text("ETag")) == (
            "PostResponse",
            shelf,
            key,
            sums.etag(FILE),
        )
        assert answer.text("Location")
    else:
        assert answer.body == b""
    present(s3, shelf, key, FILE)


def test_redirect(s3, shelf, key):
    answer = post(s3, shelf, {"key": key, "success_action_redirect": "http://example.com/done?a=b"})
    assert answer.status == 303, answer
    assert (
        answer["location"].startswith("http://example.com/done?a=b&bucket=")
        and f"key={key}" in answer["location"]
        and "etag=" in answer["location"]
    )
    present(s3, shelf, key, FILE)


def test_redirect_beats_status(s3, shelf, key):
    assert (
        post(s3, shelf, {"key": key, "success_action_redirect": "http://example.com/", "success_action_status": "201"}).status
        == 303
    )


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.txt", "a.txt"),
        ("../../x", "x"),
        ("/etc/passwd", "passwd"),
        ("C:\\dir\\b.txt", "b.txt"),
        ("ä b.txt", "ä b.txt"),
        ("..", ".."),
    ],
)
def test_filename(s3, bucket, filename, expected):
    """Only what follows the last slash or backslash is the name."""
    ok(post(s3, bucket, {"key": "user/${filename}"}, filename=filename), 204)
    assert s3.keys_of(bucket) == [f"user/{expected}"]


def test_key_that_climbs_is_a_key(s3, bucket):
    ok(post(s3, bucket, {"key": "../../etc/x"}), 204)
    assert s3.keys_of(bucket) == ["../../etc/x"]


# The form itself.


def test_fields_after_the_file_are_ignored(s3, shelf, key):
    ok(post(s3, shelf, {"key": key}, after=[("x-amz-meta-late", "1"), ("key", "elsewhere"), ("acl", "public-read")]), 204)
    assert present(s3, shelf, key, FILE)["x-amz-meta-late"] is None
    absent(s3, shelf, "elsewhere")


def test_no_file(s3, shelf, key):
    refused(post(s3, shelf, {"key": key}, None), 400, ("InvalidArgument", "IncorrectNumberOfFilesInPostRequest"))
    absent(s3, shelf, key)


def test_no_key(s3, bucket):
    refused(post(s3, bucket, {}, conditions=[{"bucket": bucket}]), 400, "InvalidArgument")
    assert s3.keys_of(bucket) == []


@pytest.mark.parametrize("key", ["k" * 1025, ""], ids=["too long", "empty"])
def test_bad_key(s3, bucket, key):
    refused(post(s3, bucket, {"key": key}), 400, ("KeyTooLongError", "InvalidArgument", "UserKeyMustBeSpecified"))
    assert s3.keys_of(bucket) == []


TRICKS = {
    "no boundary named": (lambda b: b, "multipart/form-data"),
    "another boundary": (lambda b: b, "multipart/form-data; boundary=other"),
    "not ended": (lambda b: b.replace(f"--{BOUNDARY}--\r\n".encode(), b""), None),
    "cut in the file": (lambda b: b[:-60], None),
    "cut in a field": (lambda b: b[:200], None),
    "nothing": (lambda b: b"", None),
    "empty boundary": (lambda b: b, 'multipart/form-data; boundary=""'),
    "boundary of 100 KB": (lambda b: b, "multipart/form-data; boundary=" + "b" * 4000),
    "garbage": (lambda b: bytes(1000), None),
    "part without name": (lambda b: b.replace(b'; name="key"', b"", 1), None),
    "endless part head": (lambda b: b.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", 1), None),
}


@pytest.mark.parametrize("case", TRICKS)
def test_broken_form(s3, shelf, key, case):
    bend, content_type = TRICKS[case]
    body = encode([("key", key), *form_fields(s3.keys, [{"bucket": shelf}, {"key": key}])])
    answer = send(s3, shelf, bend(body), **({"content_type": content_type} if content_type else {}))
    assert 400 <= answer.status < 500, answer
    absent(s3, shelf, key)


def test_bytes_that_look_like_a_boundary(s3, shelf, key):
    data = (
        b"".join([f"\r\n--{BOUNDARY}"[:-i].encode() + b"x" for i in range(1, len(BOUNDARY))])
        + f"--{BOUNDARY}".encode()
        + b"\r\n--\r\n-"
    )
    ok(post(s3, shelf, {"key": key}, data), 204)
    present(s3, shelf, key, data)


@pytest.mark.parametrize(
    "content_type", [f'multipart/form-data; boundary="{BOUNDARY}"', f"Multipart/Form-Data; charset=utf-8; boundary={BOUNDARY}"]
)
def test_other_ways_to_name_the_boundary(s3, shelf, key, content_type):
    body = encode([("key", key), *form_fields(s3.keys, [{"bucket": shelf}, {"key": key}])])
    ok(send(s3, shelf, body, content_type), 204)


@pytest.mark.parametrize(
    ("before", "after"), [(b"preamble\r\n", b""), (b"\r\n", b""), (b"", b"epilogue")], ids=["preamble", "line end", "epilogue"]
)
def test_around_the_form(s3, shelf, key, before, after):
    """RFC 2046: what stands before the first and behind the last boundary is to be ignored."""
    body = encode([("key", key), *form_fields(s3.keys, [{"bucket": shelf}, {"key": key}])])
    ok(send(s3, shelf, before + body + after), 204)
    present(s3, shelf, key, FILE)


def test_large_field(s3, shelf, key):
    refused(post(s3, shelf, {"key": key, "x-ignore-big": "x" * 2_000_000}), 400)
    absent(s3, shelf, key)


@pytest.mark.parametrize("size", [2048, 2049])
def test_metadata_limit(s3, shelf, key, size):
    answer = post(s3, shelf, {"key": key, "x-amz-meta-a": "v" * (size - 1)})
    if size == 2048:
        ok(answer, 204)
    else:
        refused(answer, 400, "MetadataTooLarge")
        absent(s3, shelf, key)


TAGGING = "<Tagging><TagSet><Tag><Key>t</Key><Value>1 &amp; 2</Value></Tag></TagSet></Tagging>"


def test_tagging(s3, shelf, key):
    ok(post(s3, shelf, {"key": key, "tagging": TAGGING}), 204)
    assert ok(s3.get(shelf, key, ["tagging"])).text("TagSet/Tag/Value") == "1 & 2"


@pytest.mark.parametrize("xml", ["<Tagging>", "t=1", "<Foo/>", TAGGING.replace("<Key>t", "<Key>" + "t" * 129)])
def test_bad_tagging(s3, shelf, key, xml):
    refused(post(s3, shelf, {"key": key, "tagging": xml}), 400, ("MalformedXML", "InvalidTag", "InvalidArgument"))
    absent(s3, shelf, key)


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_checksum(s3, shelf, key, algorithm):
    name = f"x-amz-checksum-{algorithm.lower()}"
    refused(post(s3, shelf, {"key": key, name: sums.value(algorithm, b"other")}), 400, "BadDigest")
    absent(s3, shelf, key)
    ok(post(s3, shelf, {"key": key, name: sums.value(algorithm, FILE)}), 204)
    assert ok(s3.head(shelf, key, headers=[("x-amz-checksum-mode", "ENABLED")]))[name] == sums.value(algorithm, FILE)


def test_acl(s3, anonymous, shelf, key):
    ok(post(s3, shelf, {"key": key, "acl": "public-read"}), 204)
    assert ok(anonymous.get(shelf, key)).body == FILE


def test_bad_acl(s3, shelf, key):
    refused(post(s3, shelf, {"key": key, "acl": "everybody"}), 400, "InvalidArgument")
    absent(s3, shelf, key)


def test_storage_class(s3, shelf, key):
    ok(post(s3, shelf, {"key": key, "x-amz-storage-class": "GLACIER_IR"}), 204)
    assert ok(s3.head(shelf, key))["x-amz-storage-class"] == "GLACIER_IR"


def test_customer_key(s3, shelf, key):
    from test_sse import ONE

    ok(post(s3, shelf, {"key": key, **dict(ONE)}), 204)
    refused(s3.get(shelf, key), 400, "InvalidRequest")
    assert ok(s3.get(shelf, key, headers=ONE)).body == FILE


def test_others_and_nobody(s3, alt, new_bucket):
    mine, public = new_bucket(), new_bucket(headers=[("x-amz-acl", "public-read-write")])
    refused(post(alt, mine, {"key": "k"}), 403, "AccessDenied")
    absent(s3, mine, "k")
    ok(send(s3, public, encode([("key", "k")])), 204)
    assert s3.keys_of(public) == ["k"]


def test_missing_bucket(s3):
    from conftest import fresh_name

    refused(post(s3, fresh_name(), {"key": "k"}), 404, "NoSuchBucket")


def test_versioned(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    version = ok(post(s3, bucket, {"key": "k"}), 204)["x-amz-version-id"]
    assert s3.versions(bucket) == [("Version", "k", version)]
