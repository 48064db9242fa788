"""Lists of versions, uploads, parts and buckets: pages and markers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from s3 import ok, refused


@pytest.fixture(scope="module")
def versioned(s3):
    """Three keys and a folder, with versions and markers: [(kind, key, version id)] newest first."""
    from conftest import fresh_name

    name, made = fresh_name(), []
    ok(s3.request("PUT", name))
    ok(s3.versioning(name, "Enabled"))
    for key, steps in (("a", "vv"), ("b/1", "vdv"), ("b/2", "v"), ("c", "vd"), ("d", "v")):
        own = []
        for step in steps:
            answer = ok(s3.put(name, key, step.encode()) if step == "v" else s3.delete(name, key))
            own.insert(0, ("Version" if step == "v" else "DeleteMarker", key, answer["x-amz-version-id"]))
        made += own
    yield name, made
    s3.remove(name)


def walk(s3, bucket, size, **query):
    found, prefixes, more = [], [], []
    for _ in range(100):
        page = ok(s3.get(bucket, query=["versions", ("max-keys", str(size)), *query.items(), *more]))
        here = [(e.tag, e.findtext("Key"), e.findtext("VersionId")) for e in page.xml if e.tag in ("Version", "DeleteMarker")]
        rolled = page.texts("CommonPrefixes/Prefix")
        assert len(here) + len(rolled) <= size
        found, prefixes = found + here, prefixes + rolled
        if page.text("IsTruncated") == "false":
            return found, prefixes
        more = [("key-marker", page.text("NextKeyMarker"))]
        if page.text("NextVersionIdMarker"):
            more.append(("version-id-marker", page.text("NextVersionIdMarker")))
    raise AssertionError("the walk does not end")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_versions_page_by_page(s3, versioned, size):
    bucket, made = versioned
    found, prefixes = walk(s3, bucket, size)
    assert found == made and prefixes == []


@pytest.mark.parametrize("size", [1, 2, 100])
def test_versions_with_delimiter(s3, versioned, size):
    bucket, made = versioned
    found, prefixes = walk(s3, bucket, size, delimiter="/")
    assert found == [m for m in made if "/" not in m[1]] and prefixes == ["b/"]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_versions_with_prefix(s3, versioned, size):
    bucket, made = versioned
    found, prefixes = walk(s3, bucket, size, prefix="b/")
    assert found == [m for m in made if m[1].startswith("b/")] and prefixes == []


def test_markers_stand_among_the_versions(s3, versioned):
    """One list by key, newest first, whatever an entry is: readers that go down it rely on that."""
    bucket, made = versioned
    assert walk(s3, bucket, 100)[0] == made


def test_version_marker_starts_after_that_version(s3, versioned):
    bucket, made = versioned
    for at, (_, key, version) in enumerate(made):
        page = ok(s3.get(bucket, query=["versions", ("key-marker", key), ("version-id-marker", version)]))
        got = [(e.tag, e.findtext("Key"), e.findtext("VersionId")) for e in page.xml if e.tag in ("Version", "DeleteMarker")]
        assert got == made[at + 1 :]


def test_key_marker_alone_skips_the_key(s3, versioned):
    bucket, made = versioned
    page = ok(s3.get(bucket, query=["versions", ("key-marker", "b/1")]))
    got = [e.findtext("Key") for e in page.xml if e.tag in ("Version", "DeleteMarker")]
    assert got == [k for _, k, _ in made if k > "b/1"]


def test_version_marker_without_key_marker(s3, versioned):
    bucket, made = versioned
    refused(s3.get(bucket, query=["versions", ("version-id-marker", made[0][2])]), 400, "InvalidArgument")


def test_version_marker_that_is_none(s3, versioned):
    refused(
        s3.get(versioned[0], query=["versions", ("key-marker", "a"), ("version-id-marker", "garbage!")]), 400, "InvalidArgument"
    )


def test_is_latest(s3, versioned):
    bucket, made = versioned
    page = ok(s3.get(bucket, query=["versions"]))
    latest = {(e.findtext("Key"), e.findtext("VersionId")) for e in page.xml if e.findtext("IsLatest") == "true"}
    newest = {}
    for _, key, version in made:
        newest.setdefault(key, version)
    assert latest == set(newest.items())


def test_versions_of_a_never_versioned_bucket(s3, bucket):
    ok(s3.put(bucket, "k", b"v"))
    assert s3.versions(bucket) == [("Version", "k", "null")]


@pytest.fixture(scope="module")
def uploads(s3):
    """[(key, upload id)] in the order of a list: by key, then by when they were begun."""
    from conftest import fresh_name

    name = fresh_name()
    ok(s3.request("PUT", name))
    made = [(key, s3.begin(name, key)) for key in ("a", "a", "a", "b/1", "b/2", "c", "ü")]
    yield name, made
    s3.remove(name)


def uploads_walk(s3, bucket, size, **query):
    found, prefixes, more = [], [], []
    for _ in range(50):
        page = ok(s3.get(bucket, query=["uploads", ("max-uploads", str(size)), *query.items(), *more]))
        here = list(zip(page.texts("Upload/Key"), page.texts("Upload/UploadId")))
        rolled = page.texts("CommonPrefixes/Prefix")
        assert len(here) + len(rolled) <= size
        found, prefixes = found + here, prefixes + rolled
        if page.text("IsTruncated") == "false":
            return found, prefixes
        more = [("key-marker", page.text("NextKeyMarker")), ("upload-id-marker", page.text("NextUploadIdMarker") or "")]
    raise AssertionError("the walk does not end")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_uploads_page_by_page(s3, uploads, size):
    bucket, made = uploads
    found, _ = uploads_walk(s3, bucket, size)
    assert [k for k, _ in found] == [k for k, _ in made]
    assert sorted(found) == sorted(made)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_uploads_with_delimiter(s3, uploads, size):
    bucket, made = uploads
    found, prefixes = uploads_walk(s3, bucket, size, delimiter="/")
    assert sorted(found) == sorted(m for m in made if "/" not in m[0]) and prefixes == ["b/"]


@pytest.mark.parametrize("size", [1, 100])
def test_uploads_with_prefix(s3, uploads, size):
    bucket, made = uploads
    assert uploads_walk(s3, bucket, size, prefix="b/")[0] == [m for m in made if m[0].startswith("b/")]


def test_uploads_after_a_key(s3, uploads):
    bucket, _ = uploads
    assert ok(s3.get(bucket, query=["uploads", ("key-marker", "a")])).texts("Upload/Key") == ["b/1", "b/2", "c", "ü"]


def test_upload_id_marker_without_key_marker_is_ignored(s3, uploads):
    bucket, made = uploads
    assert len(ok(s3.get(bucket, query=["uploads", ("upload-id-marker", made[0][1])])).texts("Upload")) == len(made)


@pytest.mark.parametrize("value", ["-1", "abc"])
def test_max_uploads_is_no_count(s3, uploads, value):
    refused(s3.get(uploads[0], query=["uploads", ("max-uploads", value)]), 400, "InvalidArgument")


def test_upload_says_who_and_what(s3, accounts, uploads):
    page = ok(s3.get(uploads[0], query=["uploads", ("prefix", "c")]))
    ids = {page.text(f"Upload/{w}/ID") for w in ("Initiator", "Owner")}
    assert ids == {accounts["main"]["canonical_id"]} and page.text("Upload/StorageClass") == "STANDARD"


@pytest.fixture(scope="module")
def parts(s3):
    from conftest import fresh_name

    name = fresh_name()
    ok(s3.request("PUT", name))
    upload = s3.begin(name, "k")
    made = [(str(n), ok(s3.part(name, "k", upload, n, bytes(n)))["etag"], str(n)) for n in (1, 2, 5, 7, 10_000)]
    yield name, upload, made
    s3.remove(name)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_parts_page_by_page(s3, parts, size):
    bucket, upload, made = parts
    found, more = [], []
    for _ in range(20):
        page = ok(s3.get(bucket, "k", [("uploadId", upload), ("max-parts", str(size)), *more]))
        here = list(zip(page.texts("Part/PartNumber"), page.texts("Part/ETag"), page.texts("Part/Size")))
        assert len(here) <= size and page.text("MaxParts") == str(size)
        found += here
        if page.text("IsTruncated") == "false":
            break
        more = [("part-number-marker", page.text("NextPartNumberMarker"))]
    assert found == made


def test_parts_after_a_number(s3, parts):
    bucket, upload, _ = parts
    page = ok(s3.get(bucket, "k", [("uploadId", upload), ("part-number-marker", "3")]))
    assert page.texts("Part/PartNumber") == ["5", "7", "10000"] and page.text("PartNumberMarker") == "3"


@pytest.mark.parametrize(
    ("name", "value"), [("max-parts", "-1"), ("max-parts", "abc"), ("part-number-marker", "-1"), ("part-number-marker", "abc")]
)
def test_parts_by_no_count(s3, parts, name, value):
    bucket, upload, _ = parts
    refused(s3.get(bucket, "k", [("uploadId", upload), (name, value)]), 400, "InvalidArgument")


def test_parts_of_no_upload(s3, parts):
    bucket, upload, _ = parts
    refused(s3.get(bucket, "k", [("uploadId", "none")]), 404, "NoSuchUpload")
    refused(s3.get(bucket, "other", [("uploadId", upload)]), 404, "NoSuchUpload")


def test_buckets_page_by_page(s3, new_bucket):
    mine = sorted(new_bucket() for _ in range(5))
    found, more = [], []
    for _ in range(500):
        page = ok(s3.get("", query=[("max-buckets", "2"), ("prefix", "b-"), *more]))
        here = page.texts("Buckets/Bucket/Name")
        assert len(here) <= 2
        found += here
        if not (token := page.text("ContinuationToken")):
            break
        more = [("continuation-token", token)]
    assert [b for b in found if b in mine] == mine and found == sorted(found)


def test_buckets_are_the_owners(s3, alt, new_bucket):
    mine, theirs = new_bucket(), new_bucket(alt)
    assert theirs not in ok(s3.get("")).texts("Buckets/Bucket/Name")
    assert mine not in ok(alt.get("")).texts("Buckets/Bucket/Name")


# Query → the element that repeats the size of a page.
CLAMPED = {
    "versions": (None, ["versions"], "max-keys", "MaxKeys"),
    "uploads": (None, ["uploads"], "max-uploads", "MaxUploads"),
    "parts": ("k", [], "max-parts", "MaxParts"),
}


@pytest.mark.parametrize("case", CLAMPED)
@pytest.mark.parametrize("asked", ["1000", "1001", "2147483647"])
def test_page_size_is_clamped(s3, parts, case, asked):
    bucket, upload, _ = parts
    key, query, name, shown = CLAMPED[case]
    page = ok(s3.get(bucket, key, [*query, *([("uploadId", upload)] if key else []), (name, asked)]))
    assert (page.text(shown), page.text("IsTruncated")) == ("1000", "false")


@pytest.mark.parametrize("value", ["0", "10001", "-1", "abc"])
def test_max_buckets_is_no_count(s3, value):
    refused(s3.get("", query=[("max-buckets", value)]), 400, "InvalidArgument")


@pytest.mark.parametrize("token", ["garbage", "", "AAAA"])
def test_buckets_by_a_tampered_token(s3, token):
    refused(s3.get("", query=[("max-buckets", "1"), ("continuation-token", token)]), 400, "InvalidArgument")


def test_versions_after_a_marker_within_a_rolled_up_prefix(s3, versioned):
    """The prefix comes again, as in the lists of objects: keys after the marker lie in it."""
    bucket, _ = versioned
    page = ok(s3.get(bucket, query=["versions", ("delimiter", "/"), ("key-marker", "b/1")]))
    assert page.texts("CommonPrefixes/Prefix") == ["b/"] and "a" not in page.texts("Version/Key")
    page = ok(s3.get(bucket, query=["versions", ("delimiter", "/"), ("key-marker", "b/")]))
    assert page.texts("CommonPrefixes/Prefix") == []


def test_uploads_with_encoded_names(s3, bucket):
    for key in ("a b/c", "x&y", "ä+"):
        s3.begin(bucket, key)
    page = ok(s3.get(bucket, query=["uploads", ("encoding-type", "url")]))
    assert page.texts("Upload/Key") in (["a+b/c", "x%26y", "%C3%A4%2B"], ["a%20b/c", "x%26y", "%C3%A4%2B"])
    assert page.text("EncodingType") == "url"
    refused(s3.get(bucket, query=["uploads", ("encoding-type", "base64")]), 400, "InvalidArgument")


def test_versions_while_others_write_and_delete(s3, bucket):
    """What stands is in every walk, once, whatever is written around it."""
    ok(s3.versioning(bucket, "Enabled"))
    stand = [("Version", f"s{i:02}", ok(s3.put(bucket, f"s{i:02}"))["x-amz-version-id"]) for i in range(12)]

    def churn(i):
        name = f"s{i % 12:02}-{i}"
        version = ok(s3.put(bucket, name))["x-amz-version-id"]
        ok(s3.delete(bucket, name), 204)
        return s3.delete(bucket, name, [("versionId", version)])

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(churn, i) for i in range(40)]
        for _ in range(6):
            found, _ = walk(s3, bucket, 5)
            assert [e for e in found if e in stand] == stand and len(found) == len(set(found))
        for writer in writers:
            ok(writer.result(), 204)
