"""Headers that come back: user metadata, system metadata, storage class, tags."""

from __future__ import annotations

from email.header import decode_header, make_header

import pytest
from s3 import absent, ok, present, refused


@pytest.mark.parametrize(
    "value", ["plain", "two words", "a,b;c=d", '"quoted"', "=?UTF-8?B?w6Q=?=", "%41+%2B", "x" * 1000, "0", "null"]
)
def test_value_is_kept(s3, shelf, key, value):
    ok(s3.put(shelf, key, b"v", [("x-amz-meta-a", value)]))
    assert ok(s3.head(shelf, key))["x-amz-meta-a"] == value
    assert present(s3, shelf, key, b"v")["x-amz-meta-a"] == value


def test_utf8_value(s3, shelf, key):
    """Raw UTF-8 comes back raw, or as RFC 2047 has it, which is what AWS does."""
    ok(s3.put(shelf, key, headers=[("x-amz-meta-a", "grün 日本")]))
    got = ok(s3.head(shelf, key))["x-amz-meta-a"]
    assert "grün 日本" in (got, str(make_header(decode_header(got))))


def test_repeated_header_is_joined(s3, shelf, key):
    ok(s3.put(shelf, key, headers=[("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")]))
    got = [v for n, v in ok(s3.head(shelf, key)).headers if n == "x-amz-meta-a"]
    assert got == ["1,2"]


def test_names_are_lower_case(s3, shelf, key):
    ok(s3.put(shelf, key, headers=[("X-Amz-Meta-FooBar", "Value")]))
    assert ok(s3.head(shelf, key))["x-amz-meta-foobar"] == "Value"


def test_empty_value(s3, shelf, key):
    ok(s3.put(shelf, key, headers=[("x-amz-meta-a", "")]))
    assert ok(s3.head(shelf, key))["x-amz-meta-a"] == ""


def test_space_around_is_not_kept(s3, shelf, key):
    ok(s3.put(shelf, key, headers=[("x-amz-meta-a", "  v  ")]))
    assert ok(s3.head(shelf, key))["x-amz-meta-a"] == "v"


def test_odd_names(s3, shelf, key):
    names = ["x-amz-meta-a.b", "x-amz-meta-a_b", "x-amz-meta-1", "x-amz-meta-x-amz-meta-a", "x-amz-meta-content-type"]
    ok(s3.put(shelf, key, headers=[(n, n) for n in names]))
    got = ok(s3.head(shelf, key))
    assert [got[n] for n in names] == names


def test_metadata_is_replaced_whole(s3, shelf, key):
    ok(s3.put(shelf, key, headers=[("x-amz-meta-a", "1"), ("Cache-Control", "no-store")]))
    ok(s3.put(shelf, key, headers=[("x-amz-meta-b", "2")]))
    got = ok(s3.head(shelf, key))
    assert (got["x-amz-meta-a"], got["x-amz-meta-b"], got["cache-control"]) == (None, "2", None)


SYSTEM = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "max-age=60, public",
    "Content-Disposition": 'attachment; filename="a b"',
    "Content-Encoding": "gzip",
    "Content-Language": "de, en",
    "Expires": "Thu, 01 Dec 2033 16:00:00 GMT",
    "x-amz-website-redirect-location": "/elsewhere",
}


@pytest.mark.parametrize("how", ["put", "copy", "multipart"])
@pytest.mark.parametrize("name", SYSTEM)
def test_system_metadata(s3, shelf, key, name, how):
    headers = [(name, SYSTEM[name])]
    if how == "put":
        ok(s3.put(shelf, key, b"v", headers))
    elif how == "copy":
        ok(s3.put(shelf, key + "s", b"v"))
        ok(
            s3.put(
                shelf, key, headers=[*headers, ("x-amz-copy-source", f"{shelf}/{key}s"), ("x-amz-metadata-directive", "REPLACE")]
            )
        )
    else:
        s3.multipart(shelf, key, [b"v"], headers)
    assert ok(s3.head(shelf, key))[name] == SYSTEM[name]
    assert present(s3, shelf, key, b"v")[name] == SYSTEM[name]


def test_disposition_in_utf8(s3, shelf, key):
    """Browsers send file names so; the bytes come back as they came."""
    value = 'attachment; filename="ä b"'
    ok(s3.put(shelf, key, headers=[("Content-Disposition", value)]))
    assert ok(s3.head(shelf, key))["content-disposition"] == value


@pytest.mark.parametrize("value", ["tomorrow", "0", "-1", "Thu, 41 Dec 2033", "2033-12-01T16:00:00Z"])
def test_expires_that_is_no_date_is_kept(s3, shelf, key, value):
    ok(s3.put(shelf, key, headers=[("Expires", value)]))
    assert ok(s3.head(shelf, key))["expires"] == value
    assert ok(s3.get(shelf, key))["expires"] == value


def test_default_content_type(s3, shelf, key):
    ok(s3.put(shelf, key))
    assert ok(s3.head(shelf, key))["content-type"] == "binary/octet-stream"


@pytest.mark.parametrize("to", ["http://example.com/x", "https://example.com/", "/x"])
def test_redirect_location(s3, shelf, key, to):
    ok(s3.put(shelf, key, headers=[("x-amz-website-redirect-location", to)]))
    assert ok(s3.head(shelf, key))["x-amz-website-redirect-location"] == to


@pytest.mark.parametrize("to", ["elsewhere", "ftp://example.com/", "javascript:alert(1)"])
def test_redirect_location_elsewhere(s3, shelf, key, to):
    refused(s3.put(shelf, key, headers=[("x-amz-website-redirect-location", to)]), 400, "InvalidRedirectLocation")
    absent(s3, shelf, key)


@pytest.mark.parametrize("how", ["put", "copy", "multipart"])
@pytest.mark.parametrize("named", ["STANDARD", "INTELLIGENT_TIERING", "GLACIER_IR"])
def test_storage_class(s3, bucket, key, named, how):
    headers, shown = [("x-amz-storage-class", named)], None if named == "STANDARD" else named
    if how == "put":
        ok(s3.put(bucket, key, b"v", headers))
    elif how == "copy":
        ok(s3.put(bucket, key + "s", b"v"))
        ok(s3.put(bucket, key, headers=[*headers, ("x-amz-copy-source", f"{bucket}/{key}s")]))
    else:
        s3.multipart(bucket, key, [b"v"], headers)
    assert ok(s3.head(bucket, key))["x-amz-storage-class"] == shown
    assert present(s3, bucket, key, b"v")["x-amz-storage-class"] == shown
    for query in (["list-type"], ["versions"], []):
        page = ok(s3.get(bucket, query=[("prefix", key), *((q, "2") if q == "list-type" else q for q in query)]))
        entry = next(e for e in page.xml.iter() if e.findtext("Key") == key)
        assert entry.findtext("StorageClass") == named


@pytest.mark.parametrize("named", ["FAST", "standard", ""])
def test_storage_class_unknown(s3, shelf, key, named):
    refused(s3.put(shelf, key, headers=[("x-amz-storage-class", named)]), 400, "InvalidStorageClass")
    refused(s3.request("POST", shelf, key, ["uploads"], [("x-amz-storage-class", named)]), 400, "InvalidStorageClass")
    absent(s3, shelf, key)


@pytest.mark.parametrize(("header", "count"), [("a=1", "1"), ("a=1&b=2&c=", "3"), ("a%20b=c%2Bd", "1"), ("k%26=v%3D", "1")])
def test_tagging_header_and_count(s3, shelf, key, header, count):
    ok(s3.put(shelf, key, b"v", [("x-amz-tagging", header)]))
    assert present(s3, shelf, key, b"v")["x-amz-tagging-count"] == count
    assert ok(s3.head(shelf, key))["x-amz-tagging-count"] == count
    assert len(ok(s3.get(shelf, key, query=["tagging"])).texts("TagSet/Tag")) == int(count)


def test_tags_are_a_set_told_by_key(s3, shelf, key):
    ok(s3.put(shelf, key, b"v", [("x-amz-tagging", "b=2&c&a=1")]))
    tags = ok(s3.get(shelf, key, query=["tagging"]))
    assert list(zip(tags.texts("TagSet/Tag/Key"), tags.texts("TagSet/Tag/Value"))) == [("a", "1"), ("b", "2"), ("c", "")]


def test_no_tagging_count_without_tags(s3, shelf, key):
    ok(s3.put(shelf, key))
    assert ok(s3.head(shelf, key))["x-amz-tagging-count"] is None


@pytest.mark.parametrize(
    "header", ["a=1&a=2", "&".join(f"k{i}=v" for i in range(11)), "k" * 129 + "=v", "k=" + "v" * 257, "aws:a=1", "=v"]
)
def test_bad_tagging_header(s3, shelf, key, header):
    refused(s3.put(shelf, key, headers=[("x-amz-tagging", header)]), 400, ("InvalidArgument", "InvalidTag", "BadRequest"))
    absent(s3, shelf, key)


def test_headers_of_every_object(s3, shelf, key):
    ok(s3.put(shelf, key, b"12345"))
    got = ok(s3.head(shelf, key))
    assert got["content-length"] == "5" and got["accept-ranges"] == "bytes"
    assert got["etag"].startswith('"') and got["last-modified"].endswith("GMT")


@pytest.mark.parametrize("header", ["x-amz-object-lock-legal-hold", "x-amz-object-lock-mode"])
def test_guarantees_not_given_are_refused(s3, shelf, key, header):
    """Never ignored: a client that asks for a lock must not believe it has one."""
    more = {
        "x-amz-object-lock-legal-hold": [(header, "ON")],
        "x-amz-object-lock-mode": [(header, "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", "2033-01-01T00:00:00Z")],
    }[header]
    refused(s3.put(shelf, key, headers=more), (400, 501), ("NotImplemented", "InvalidRequest"))
    refused(s3.request("POST", shelf, key, ["uploads"], more), (400, 501), ("NotImplemented", "InvalidRequest"))
    absent(s3, shelf, key)


EXPECTED_OWNER = [
    ("GET", None, []),
    ("PUT", "k", []),
    ("GET", "k", []),
    ("HEAD", "k", []),
    ("DELETE", "k", []),
    ("GET", None, ["versions"]),
    ("GET", None, ["versioning"]),
    ("POST", "k", ["uploads"]),
    ("DELETE", None, []),
    ("GET", None, ["uploads"]),
    ("GET", "k", ["tagging"]),
]


@pytest.mark.parametrize(("method", "name", "query"), EXPECTED_OWNER)
def test_expected_bucket_owner(s3, accounts, bucket, method, name, query):
    ok(s3.put(bucket, "k", b"keep"))
    wrong = [("x-amz-expected-bucket-owner", accounts["alt"]["canonical_id"])]
    refused(s3.request(method, bucket, name, query, wrong), 403, None if method == "HEAD" else "AccessDenied")
    present(s3, bucket, "k", b"keep", [("x-amz-expected-bucket-owner", accounts["main"]["canonical_id"])])


def test_source_expected_bucket_owner(s3, accounts, shelf, key):
    ok(s3.put(shelf, key + "s", b"v"))
    copy = ("x-amz-copy-source", f"{shelf}/{key}s")
    refused(
        s3.put(shelf, key, headers=[copy, ("x-amz-source-expected-bucket-owner", accounts["alt"]["canonical_id"])]),
        403,
        "AccessDenied",
    )
    absent(s3, shelf, key)
    ok(s3.put(shelf, key, headers=[copy, ("x-amz-source-expected-bucket-owner", accounts["main"]["canonical_id"])]))


@pytest.mark.parametrize("how", ["put", "copy", "multipart"])
@pytest.mark.parametrize(("sent", "stored"), [("aws-chunked", None), ("gzip,aws-chunked", "gzip"), ("gzip, br", "gzip, br")])
def test_aws_chunked_is_never_stored(s3, shelf, key, how, sent, stored):
    """It says how a body comes, not what the object is, whoever sends it along."""
    headers = [("Content-Encoding", sent)]
    if how == "put":
        ok(s3.put(shelf, key, b"v", headers))
    elif how == "multipart":
        s3.multipart(shelf, key, [b"v"], headers)
    else:
        ok(s3.put(shelf, key + "s", b"v"))
        replaced = [("x-amz-copy-source", f"{shelf}/{key}s"), ("x-amz-metadata-directive", "REPLACE")]
        ok(s3.put(shelf, key, headers=[*replaced, *headers]))
    assert present(s3, shelf, key, b"v")["content-encoding"] == stored


def test_metadata_is_not_on_errors_nor_lost_on_304(s3, shelf, key):
    etag = ok(s3.put(shelf, key, b"v", [("x-amz-meta-a", "secret"), ("Cache-Control", "max-age=5")]))["etag"]
    unchanged = s3.get(shelf, key, headers=[("If-None-Match", etag)])
    assert (unchanged.status, unchanged["etag"], unchanged["cache-control"]) == (304, etag, "max-age=5")
    failed = refused(s3.get(shelf, key, headers=[("If-Match", '"0"')]), 412, "PreconditionFailed")
    assert failed["x-amz-meta-a"] is None
