"""Keys and bucket names: kept byte for byte, never normalised, never a path on a disk."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from s3 import absent, ok, present, refused

# id → key. Each is stored, read, listed and deleted, alone and beside look-alikes.
KEYS = {
    "dot": ".",
    "two dots": "..",
    "climbs": "a/../b",
    "climbs out": "../../etc/passwd",
    "stays": "a/./b",
    "leading slash": "/a",
    "leading double slash": "//a",
    "double slash": "a//b",
    "triple slash": "a///b",
    "only slash": "/",
    "trailing slash": "a/",
    "trailing double slash": "a//",
    "backslash": "a\\b",
    "backslash climb": "..\\..\\x",
    "drive": "C:\\x",
    "space": "a b",
    "leading space": " a",
    "trailing space": "a ",
    "only space": " ",
    "plus": "a+b",
    "percent": "a%b",
    "percent literal": "a%2Fb",
    "percent twice": "a%252Fb",
    "percent null": "a%00b",
    "query mark": "a?b",
    "sub-resource": "?acl",
    "acl": "acl",
    "uploads": "uploads",
    "hash": "a#b",
    "ampersand": "a&b=c",
    "quote": "a\"b'c",
    "angle": "<a>&amp;</a>",
    "comma": "a,b;c",
    "colon": "a:b@c",
    "tilde": "~a",
    "brackets": "a[b]{c}|^`",
    "emoji": "😀/👩‍👩‍👧",
    "cjk": "日本語",
    "rtl": "שלום",
    "nfc": "\u00e9",
    "nfd": "e\u0301",
    "bom": "\ufeffa",
    "last plane": "\U0010fffd",
    "private": "\ue000",
    "soft hyphen": "a\u00adb",
    "no-break space": "a\u00a0b",
    "line separator": "a\u2028b",
    "dash": "-",
    "double dash": "--help",
    "star": "*",
    "wildcard": "a*?b",
    "dollar": "${x}",
}
CONTROLS = {
    "tab": "a\tb",
    "newline": "a\nb",
    "return": "a\rb",
    "one": "a\x01b",
    "escape": "a\x1bb",
    "delete": "a\x7fb",
    "c1": "a\x85b",
    "last of the plane": "\uffff",
}


@pytest.mark.parametrize("case", KEYS)
def test_key_is_kept(s3, bucket, case):
    name = KEYS[case]
    body = name.encode()
    ok(s3.put(bucket, name, body))
    present(s3, bucket, name, body)
    assert s3.keys_of(bucket) == [name]
    assert s3.versions(bucket) == [("Version", name, "null")]
    assert [unquote(k) for k in s3.keys_of(bucket, **{"encoding-type": "url"})] == [name]
    ok(s3.delete(bucket, name), 204)
    absent(s3, bucket, name)


@pytest.mark.parametrize("case", KEYS)
def test_key_by_url_and_by_multi_delete(s3, bucket, case):
    name = KEYS[case]
    ok(s3.put(bucket, name, b"by url", presign=True))
    assert ok(s3.get(bucket, name, presign=True)).body == b"by url"
    assert ok(s3.delete_many(bucket, [name])).texts("Deleted/Key") == [name]
    assert s3.keys_of(bucket) == []


@pytest.mark.parametrize("case", CONTROLS)
def test_control_character(s3, bucket, case):
    name = CONTROLS[case]
    ok(s3.put(bucket, name, b"v"))
    present(s3, bucket, name, b"v")
    page = ok(s3.get(bucket, query=[("list-type", "2"), ("encoding-type", "url")]))
    assert [unquote(k.replace("+", " ")) for k in page.texts("Contents/Key")] == [name]
    ok(s3.delete(bucket, name), 204)


def test_nul_is_kept_or_refused(s3, bucket):
    answer = s3.put(bucket, b"a\0b", b"v")
    if answer.status == 200:
        present(s3, bucket, b"a\0b", b"v")
    else:
        refused(answer, 400)
    absent(s3, bucket, "a")


BAD_UTF8 = {
    "lone continuation": b"a\x80",
    "surrogate": b"\xed\xa0\x80",
    "overlong slash": b"\xc0\xaf",
    "cut": b"\xe2\x82",
    "not utf-8": b"\xff\xfe",
    "beyond unicode": b"\xf4\x90\x80\x80",
}


@pytest.mark.parametrize("case", BAD_UTF8)
def test_invalid_utf8(s3, bucket, case):
    refused(s3.put(bucket, BAD_UTF8[case], b"v"), 400, ("InvalidURI", "InvalidArgument"))
    assert s3.keys_of(bucket) == []


@pytest.mark.parametrize("path", ["%zz", "a%2", "a%"])
def test_broken_percent_encoding(s3, bucket, path):
    """Refused, or kept as it is written; never half decoded."""
    answer = s3.request("PUT", path=f"/{bucket}/{path}", body=b"v")
    assert answer.status in (200, 400, 403), answer
    assert s3.keys_of(bucket) in ([], [path])


def test_look_alikes_are_different(s3, bucket):
    names = [
        "a",
        "A",
        "a/",
        "/a",
        "a//",
        "a/.",
        "a/..",
        "a b",
        "a+b",
        "a%20b",
        "\u00e9",
        "e\u0301",
        "é/",
        "a\\",
        "a ",
        "á",
        "./a",
        "../a",
    ]
    for answer in s3.many([lambda n=n: s3.put(bucket, n, n.encode()) for n in names]):
        ok(answer)
    assert s3.keys_of(bucket) == sorted(names, key=str.encode)
    for name in names:
        present(s3, bucket, name, name.encode())


def test_prefixes_of_each_other(s3, bucket):
    names = ["a", "a/", "a/b", "a/b/", "a/b/c"]
    for name in names:
        ok(s3.put(bucket, name, name.encode()))
    for gone in ["a/b", "a"]:
        ok(s3.delete(bucket, gone), 204)
        names.remove(gone)
        absent(s3, bucket, gone)
        for name in names:
            present(s3, bucket, name, name.encode())
    assert s3.keys_of(bucket) == names


@pytest.mark.parametrize("body", [b"", b"a folder with a body"])
def test_trailing_slash_is_an_object(s3, bucket, body):
    ok(s3.put(bucket, "folder/", body))
    present(s3, bucket, "folder/", body)
    absent(s3, bucket, "folder")
    refused(s3.delete(bucket), 409, "BucketNotEmpty")


def test_sub_resource_words_as_keys_and_as_questions(s3, bucket):
    ok(s3.put(bucket, "?acl", b"key"))
    assert s3.get(bucket, query=["acl"]).xml.tag == "AccessControlPolicy"
    present(s3, bucket, "?acl", b"key")


def test_climbing_stays_in_the_bucket(s3, new_bucket):
    one, other = new_bucket(), new_bucket()
    ok(s3.put(other, "secret", b"secret"))
    for path in (f"/{one}/../{other}/secret", f"/{one}/%2e%2e/{other}/secret", f"/{one}/..%2f{other}%2fsecret"):
        refused(s3.request("GET", path=path), (400, 404), ("NoSuchKey", "InvalidURI"))
    for path in (f"/{one}/../../../../etc/passwd", f"/{one}/%2e%2e/%2e%2e/%2e%2e/etc/passwd"):
        assert b"root:" not in s3.request("GET", path=path).body


@pytest.mark.parametrize(
    "name",
    [
        "buckets",
        "admin",
        "metrics",
        "console",
        "health",
        "api",
        "static",
        "minio",
        "favicon.ico",
        "index.html",
        "robots.txt",
        "datamesh",
        "system",
    ],
)
def test_bucket_with_a_path_of_ours(s3, anonymous, name):
    ok(s3.request("PUT", name))
    try:
        for key in ("live", "ready", "health/live", "v1/x"):
            ok(s3.put(name, key, b"mine"))
            present(s3, name, key, b"mine")
            refused(anonymous.get(name, key), 403, "AccessDenied")
    finally:
        s3.remove(name)


BAD_BUCKETS = [
    "ab",
    "a" * 64,
    "Abc",
    "a_b_c",
    "a..b",
    "-abc",
    "abc-",
    ".abc",
    "abc.",
    "192.168.1.1",
    "xn--abc",
    "abc-s3alias",
    "abc--ol-s3",
    "sthree-abc",
    "a b c",
    "a%b",
    "äöü",
    "abc--x-s3",
]


@pytest.mark.parametrize("name", BAD_BUCKETS)
def test_bad_bucket_name(s3, name):
    refused(s3.request("PUT", name), 400, "InvalidBucketName")


@pytest.mark.parametrize("name", ["abc", "a" * 63, "a.b.c", "1ab", "a-b", "192.168.1.1a"])
def test_good_bucket_name(s3, name):
    ok(s3.request("PUT", name))
    ok(s3.head(name))
    s3.remove(name)
    refused(s3.get(name), 404, "NoSuchBucket")
