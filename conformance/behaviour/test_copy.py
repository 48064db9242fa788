"""CopyObject: sources, directives, onto itself, and what does not come along."""

from __future__ import annotations

import pytest
import sums
from s3 import absent, ok, present, refused
from sign import quoted
from test_sse import customer


def source_of(bucket, key, version=None):
    return ("x-amz-copy-source", f"{bucket}/{quoted(key, safe='/')}" + (f"?versionId={version}" if version else ""))


def copy(s3, bucket, key, source, *more):
    return s3.put(bucket, key, headers=[source, *more])


@pytest.fixture
def there(s3, shelf, key):
    ok(
        s3.put(
            shelf,
            key,
            b"source",
            [("x-amz-meta-a", "1"), ("Content-Type", "text/x"), ("Cache-Control", "no-store"), ("x-amz-tagging", "t=1")],
        )
    )
    return key


def test_plain(s3, shelf, there):
    answer = ok(copy(s3, shelf, there + "c", source_of(shelf, there)))
    assert answer.text("ETag") == sums.etag(b"source") and answer.text("LastModified")
    got = present(s3, shelf, there + "c", b"source")
    assert (got["x-amz-meta-a"], got["content-type"], got["cache-control"], got["x-amz-tagging-count"]) == (
        "1",
        "text/x",
        "no-store",
        "1",
    )


def test_metadata_replaced(s3, shelf, there):
    ok(copy(s3, shelf, there + "c", source_of(shelf, there), ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")))
    got = present(s3, shelf, there + "c", b"source")
    assert (got["x-amz-meta-a"], got["x-amz-meta-b"], got["content-type"], got["cache-control"]) == (
        None,
        "2",
        "binary/octet-stream",
        None,
    )
    assert got["x-amz-tagging-count"] == "1"


def test_metadata_without_directive_is_ignored(s3, shelf, there):
    ok(copy(s3, shelf, there + "c", source_of(shelf, there), ("x-amz-meta-b", "2")))
    got = present(s3, shelf, there + "c", b"source")
    assert (got["x-amz-meta-a"], got["x-amz-meta-b"]) == ("1", None)


@pytest.mark.parametrize(
    ("directive", "tagging", "expected"),
    [("REPLACE", "u=2", {"u": "2"}), ("REPLACE", None, {}), ("COPY", None, {"t": "1"}), (None, "u=2", {"t": "1"})],
    ids=str,
)
def test_tagging_directive(s3, shelf, there, directive, tagging, expected):
    more = [("x-amz-tagging-directive", directive)] if directive else []
    more += [("x-amz-tagging", tagging)] if tagging else []
    ok(copy(s3, shelf, there + "c", source_of(shelf, there), *more))
    got = ok(s3.get(shelf, there + "c", ["tagging"]))
    assert dict(zip(got.texts("TagSet/Tag/Key"), got.texts("TagSet/Tag/Value"))) == expected


@pytest.mark.parametrize("name", ["x-amz-metadata-directive", "x-amz-tagging-directive"])
@pytest.mark.parametrize("value", ["replace", "MERGE", ""])
def test_unknown_directive(s3, shelf, there, name, value):
    refused(copy(s3, shelf, there + "c", source_of(shelf, there), (name, value)), 400, "InvalidArgument")
    absent(s3, shelf, there + "c")


ODD = ["a b", "a+b", "a%2Bb", "ä/ö", "a?versionId=x", "a&b", "/a", "a//b", "../a", "😀", "a#b", "a=b"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("lead", ["", "/"], ids=["plain", "leading slash"])
def test_source_names(s3, bucket, name, lead):
    ok(s3.put(bucket, name, b"odd"))
    ok(copy(s3, bucket, "to", ("x-amz-copy-source", lead + source_of(bucket, name)[1])))
    present(s3, bucket, "to", b"odd")


def test_source_encoded_whole(s3, shelf, there):
    ok(copy(s3, shelf, there + "c", ("x-amz-copy-source", f"{shelf}%2F{there}")))
    present(s3, shelf, there + "c", b"source")


@pytest.mark.parametrize("how", ["plain", "encoded value"])
def test_source_version(s3, bucket, how):
    ok(s3.versioning(bucket, "Enabled"))
    one = ok(s3.put(bucket, "k", b"1"))["x-amz-version-id"]
    ok(s3.put(bucket, "k", b"2"))
    answer = ok(copy(s3, bucket, "to", source_of(bucket, "k", one if how == "plain" else quoted(one))))
    assert answer["x-amz-copy-source-version-id"] == one and answer["x-amz-version-id"] not in (None, one)
    present(s3, bucket, "to", b"1")


@pytest.mark.parametrize("source", ["", "/", "noslash", "//", "bucket/", "%zz/k"])
def test_malformed_source(s3, shelf, key, source):
    refused(
        copy(s3, shelf, key, ("x-amz-copy-source", source)),
        (400, 404),
        ("InvalidArgument", "InvalidRequest", "NoSuchBucket", "NoSuchKey"),
    )
    absent(s3, shelf, key)


def test_missing_source(s3, shelf, key):
    from conftest import fresh_name

    refused(copy(s3, shelf, key, source_of(shelf, key + "none")), 404, "NoSuchKey")
    refused(copy(s3, shelf, key, source_of(fresh_name(), "k")), 404, "NoSuchBucket")
    ok(s3.put(shelf, key + "s"))
    refused(copy(s3, fresh_name(), key, source_of(shelf, key + "s")), 404, "NoSuchBucket")


@pytest.mark.parametrize("version", ["garbage!", ""])
def test_malformed_source_version(s3, shelf, there, version):
    refused(copy(s3, shelf, there + "c", ("x-amz-copy-source", f"{shelf}/{there}?versionId={version}")), 400, "InvalidArgument")


def test_delete_marker_as_source(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    ok(s3.put(bucket, "k", b"v"))
    marker = ok(s3.delete(bucket, "k"))["x-amz-version-id"]
    refused(copy(s3, bucket, "to", source_of(bucket, "k")), 404, "NoSuchKey")
    refused(copy(s3, bucket, "to", source_of(bucket, "k", marker)), 400, "InvalidRequest")
    absent(s3, bucket, "to")


@pytest.mark.parametrize("state", ["never", "Enabled", "Suspended"])
def test_onto_itself_without_a_change(s3, bucket, state):
    ok(s3.put(bucket, "k", b"v"))
    if state != "never":
        ok(s3.versioning(bucket, state))
    refused(copy(s3, bucket, "k", source_of(bucket, "k")), 400, "InvalidRequest")
    present(s3, bucket, "k", b"v")
    assert len(s3.versions(bucket)) == 1


CHANGES = {
    "metadata": ("x-amz-metadata-directive", "REPLACE"),
    "storage class": ("x-amz-storage-class", "GLACIER_IR"),
    "redirect": ("x-amz-website-redirect-location", "/x"),
    "encryption": ("x-amz-server-side-encryption", "AES256"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", ["never", "Enabled", "Suspended"])
def test_onto_itself_with_a_change(s3, bucket, state, change):
    ok(s3.put(bucket, "k", b"v", [("x-amz-meta-a", "1")]))
    if state != "never":
        ok(s3.versioning(bucket, state))
    ok(copy(s3, bucket, "k", source_of(bucket, "k"), CHANGES[change]))
    got = present(s3, bucket, "k", b"v")
    assert got["x-amz-meta-a"] == (None if change == "metadata" else "1")
    assert len(s3.versions(bucket)) == (2 if state == "Enabled" else 1)


def test_old_version_made_current_again(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    one = ok(s3.put(bucket, "k", b"1"))["x-amz-version-id"]
    ok(s3.put(bucket, "k", b"2"))
    ok(copy(s3, bucket, "k", source_of(bucket, "k", one)))
    present(s3, bucket, "k", b"1")
    assert len(s3.versions(bucket)) == 3


def test_from_customer_key_to_customer_key(s3, shelf, key):
    one, two = b"1" * 32, b"2" * 32
    ok(s3.put(shelf, key, b"secret", customer(one)))
    refused(copy(s3, shelf, key + "c", source_of(shelf, key)), 400, ("InvalidRequest", "InvalidArgument"))
    wrong = copy(s3, shelf, key + "c", source_of(shelf, key), *customer(two, source=True))
    refused(wrong, (400, 403), ("AccessDenied", "InvalidRequest"))
    absent(s3, shelf, key + "c")
    ok(copy(s3, shelf, key + "c", source_of(shelf, key), *customer(one, source=True), *customer(two)))
    assert ok(s3.get(shelf, key + "c", headers=customer(two))).body == b"secret"
    refused(s3.get(shelf, key + "c", headers=customer(one)), (400, 403), ("AccessDenied", "InvalidRequest"))
    ok(copy(s3, shelf, key + "d", source_of(shelf, key), *customer(one, source=True)))
    present(s3, shelf, key + "d", b"secret")


def test_acl_does_not_come_along(s3, anonymous, shelf, key):
    ok(s3.put(shelf, key, b"public", [("x-amz-acl", "public-read")]))
    ok(anonymous.get(shelf, key))
    ok(copy(s3, shelf, key + "c", source_of(shelf, key)))
    refused(anonymous.get(shelf, key + "c"), 403, "AccessDenied")
    ok(copy(s3, shelf, key + "d", source_of(shelf, key), ("x-amz-acl", "public-read")))
    ok(anonymous.get(shelf, key + "d"))


def test_storage_class_does_not_come_along(s3, shelf, key):
    ok(s3.put(shelf, key, b"v", [("x-amz-storage-class", "GLACIER_IR")]))
    ok(copy(s3, shelf, key + "c", source_of(shelf, key)))
    assert ok(s3.head(shelf, key + "c"))["x-amz-storage-class"] is None


def test_encryption_does_not_come_along(s3, shelf, key):
    ok(
        s3.put(
            shelf,
            key,
            b"v",
            [("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", "testkey-1")],
        )
    )
    ok(copy(s3, shelf, key + "c", source_of(shelf, key)))
    assert ok(s3.head(shelf, key + "c"))["x-amz-server-side-encryption"] in (None, "AES256")


def test_other_accounts(s3, alt, new_bucket):
    mine, theirs = new_bucket(), new_bucket(alt)
    ok(s3.put(mine, "k", b"mine"))
    refused(copy(alt, theirs, "stolen", source_of(mine, "k")), 403, "AccessDenied")
    ok(alt.put(theirs, "k", b"theirs"))
    refused(copy(alt, mine, "planted", source_of(theirs, "k")), 403, "AccessDenied")
    absent(s3, mine, "planted")
    absent(alt, theirs, "stolen")


def test_of_a_body_is_no_copy(s3, shelf, there):
    """The body of a copy is not the object's."""
    answer = s3.put(shelf, there + "c", b"body", [source_of(shelf, there)])
    if answer.status == 200:
        present(s3, shelf, there + "c", b"source")
    else:
        refused(answer, 400)
        absent(s3, shelf, there + "c")


@pytest.mark.parametrize("size", [0, 1, 16 << 10, (16 << 10) + 1, 100_000])
def test_sizes(s3, shelf, key, size):
    data = bytes(i % 249 for i in range(size))
    ok(s3.put(shelf, key, data))
    ok(copy(s3, shelf, key + "c", source_of(shelf, key)))
    ok(s3.delete(shelf, key), 204)
    present(s3, shelf, key + "c", data)


def test_plus_in_a_source_is_a_plus(s3, bucket):
    """As in a path, where `+` was never a space."""
    for name in ("a+b", "a b"):
        ok(s3.put(bucket, name, name.encode()))
    for source, expected in (("a+b", b"a+b"), ("a%2Bb", b"a+b"), ("a%20b", b"a b")):
        ok(copy(s3, bucket, "to", ("x-amz-copy-source", f"{bucket}/{source}")))
        present(s3, bucket, "to", expected)


@pytest.mark.parametrize("state", ["never", "Enabled", "Suspended"])
def test_onto_itself_by_directives_that_say_copy(s3, bucket, state):
    ok(s3.put(bucket, "k", b"v", [("x-amz-meta-a", "1"), ("x-amz-tagging", "t=1")]))
    if state != "never":
        ok(s3.versioning(bucket, state))
    same = [("x-amz-metadata-directive", "COPY"), ("x-amz-tagging-directive", "COPY"), ("x-amz-meta-a", "2")]
    refused(copy(s3, bucket, "k", source_of(bucket, "k"), *same), 400, "InvalidRequest")
    got = present(s3, bucket, "k", b"v")
    assert (got["x-amz-meta-a"], got["x-amz-tagging-count"], len(s3.versions(bucket))) == ("1", "1", 1)


@pytest.mark.parametrize("state", ["never", "Enabled", "Suspended"])
def test_onto_itself_with_both_directives(s3, bucket, state):
    ok(s3.put(bucket, "k", b"v", [("x-amz-meta-a", "1"), ("x-amz-tagging", "t=1")]))
    if state != "never":
        ok(s3.versioning(bucket, state))
    changed = [("x-amz-metadata-directive", "REPLACE"), ("x-amz-tagging-directive", "REPLACE")]
    ok(copy(s3, bucket, "k", source_of(bucket, "k"), *changed, ("x-amz-meta-b", "2"), ("x-amz-tagging", "u=1&w=2")))
    got = present(s3, bucket, "k", b"v")
    assert (got["x-amz-meta-a"], got["x-amz-meta-b"], got["x-amz-tagging-count"]) == (None, "2", "2")
    assert len(s3.versions(bucket)) == (2 if state == "Enabled" else 1)


def test_older_version_onto_its_key_where_suspended(s3, bucket):
    """It becomes the null version; the one it came from stays."""
    ok(s3.versioning(bucket, "Enabled"))
    one = ok(s3.put(bucket, "k", b"1"))["x-amz-version-id"]
    ok(s3.versioning(bucket, "Suspended"))
    ok(s3.put(bucket, "k", b"null"))
    ok(copy(s3, bucket, "k", source_of(bucket, "k", one)))
    present(s3, bucket, "k", b"1")
    assert s3.versions(bucket) == [("Version", "k", "null"), ("Version", "k", one)]
