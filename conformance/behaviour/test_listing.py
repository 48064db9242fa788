"""Lists of objects, v1 and v2: pages, delimiters, markers, order, and while others write."""

from __future__ import annotations

import threading

import pytest
from s3 import ok, refused

MIXED = ["a", "a-", "a/1", "a/2", "a/b/3", "a0", "b", "b/1", "c/", "c/1", "d//1", "e"]
LISTS = {"v1": [], "v2": [("list-type", "2")]}


def put_all(s3, bucket, names):
    for answer in s3.many([lambda n=n: s3.put(bucket, n, n.encode()) for n in names]):
        ok(answer)


@pytest.fixture(scope="module")
def mixed(s3):
    from conftest import fresh_name

    name = fresh_name()
    ok(s3.request("PUT", name))
    put_all(s3, name, MIXED)
    yield name
    s3.remove(name)


def rolled(names, prefix="", delimiter=""):
    """What a whole list should hold: ('key', k) and ('prefix', p), in order."""
    out = []
    for name in sorted((n for n in names if n.startswith(prefix)), key=str.encode):
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        entry = ("key", name) if cut < 0 else ("prefix", name[: cut + len(delimiter)])
        if entry not in out:
            out.append(entry)
    return out


def entries(page):
    found = [("key", k) for k in page.texts("Contents/Key")] + [("prefix", p) for p in page.texts("CommonPrefixes/Prefix")]
    return sorted(found, key=lambda e: e[1].encode())


def walk(s3, bucket, version, size, **query):
    """Every entry page by page, with each page's count."""
    found, counts, more = [], [], []
    while True:
        page = ok(s3.get(bucket, query=[*LISTS[version], ("max-keys", str(size)), *query.items(), *more]))
        here = entries(page)
        found, counts = found + here, [*counts, len(here)]
        if version == "v2":
            assert page.text("KeyCount") == str(len(here))
        if page.text("IsTruncated") == "false":
            assert page.text("NextContinuationToken") is None and page.text("NextMarker") is None
            return found, counts
        assert len(counts) < 3000, "the walk does not end"
        if version == "v2":
            more = [("continuation-token", page.text("NextContinuationToken"))]
        else:
            marker = page.text("NextMarker")
            assert (marker is not None) == ("delimiter" in query), "NextMarker comes with a delimiter, and only then"
            more = [("marker", marker or here[-1][1])]


@pytest.mark.parametrize("size", [1, 2, 3, 5, len(MIXED), 1000])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"delimiter": "/"},
        {"prefix": "a"},
        {"prefix": "a/", "delimiter": "/"},
        {"prefix": "d/", "delimiter": "/"},
        {"delimiter": "1"},
        {"prefix": "zzz"},
        {"delimiter": "zzz"},
    ],
    ids=str,
)
@pytest.mark.parametrize("version", LISTS)
def test_walk(s3, mixed, version, query, size):
    """Each entry once, in order, whole pages until the last."""
    found, counts = walk(s3, mixed, version, size, **query)
    assert found == rolled(MIXED, **query)
    assert all(c == size for c in counts[:-1])


BIG = ["a", *(f"big/{i:04}" for i in range(1050)), "c", "d/1", "d/2"]


@pytest.fixture(scope="module")
def big(s3):
    from conftest import fresh_name

    name = fresh_name()
    ok(s3.request("PUT", name))
    put_all(s3, name, BIG)
    yield name
    for at in range(0, len(BIG), 500):
        ok(s3.delete_many(name, BIG[at : at + 500], quiet=True))
    s3.remove(name)


@pytest.mark.xdist_group("big-listing")
class TestMoreThanAPage:
    """1,050 keys in one prefix and a few around it: a page ends inside the common prefix."""

    @pytest.mark.parametrize("version", LISTS)
    @pytest.mark.parametrize("query", [{}, {"delimiter": "/"}, {"prefix": "big/"}, {"prefix": "big/", "delimiter": "/"}], ids=str)
    def test_whole(self, s3, big, version, query):
        found, counts = walk(s3, big, version, 1000, **query)
        assert found == rolled(BIG, **query)
        assert counts[0] == min(1000, len(found))

    @pytest.mark.parametrize("size", [1, 3])
    def test_a_rolled_prefix_costs_one_entry(self, s3, big, size):
        found, _ = walk(s3, big, "v2", size, delimiter="/")
        assert found == [("key", "a"), ("prefix", "big/"), ("key", "c"), ("prefix", "d/")]

    @pytest.mark.parametrize("version", LISTS)
    def test_max_keys_is_clamped(self, s3, big, version):
        page = ok(s3.get(big, query=[*LISTS[version], ("max-keys", "5000")]))
        assert len(entries(page)) == 1000 and page.text("MaxKeys") == "1000" and page.text("IsTruncated") == "true"

    def test_default_is_a_thousand(self, s3, big):
        page = ok(s3.get(big, query=LISTS["v2"]))
        assert len(entries(page)) == 1000 and page.text("MaxKeys") == "1000"


@pytest.mark.parametrize("version", LISTS)
def test_max_keys_zero(s3, mixed, version):
    page = ok(s3.get(mixed, query=[*LISTS[version], ("max-keys", "0")]))
    assert entries(page) == [] and page.text("IsTruncated") == "false"


@pytest.mark.parametrize("value", ["-1", "abc", "2147483648", "1.5", "99999999999999999999"])
@pytest.mark.parametrize("query", [[], [("list-type", "2")], ["versions"]], ids=["v1", "v2", "versions"])
def test_max_keys_is_no_count(s3, mixed, query, value):
    refused(s3.get(mixed, query=[*query, ("max-keys", value)]), 400, "InvalidArgument")


def token_of(s3, bucket):
    return ok(s3.get(bucket, query=[("list-type", "2"), ("max-keys", "2")])).text("NextContinuationToken")


@pytest.mark.parametrize(
    "bend",
    [lambda t: t[:-2], lambda t: "x" + t, lambda t: "garbage", lambda t: "", lambda t: t[::-1]],
    ids=["cut", "longer", "garbage", "empty", "reversed"],
)
def test_tampered_token(s3, mixed, bend):
    refused(s3.get(mixed, query=[("list-type", "2"), ("continuation-token", bend(token_of(s3, mixed)))]), 400, "InvalidArgument")


def test_token_of_another_bucket(s3, mixed, bucket):
    refused(s3.get(bucket, query=[("list-type", "2"), ("continuation-token", token_of(s3, mixed))]), 400, "InvalidArgument")


@pytest.mark.parametrize("name", ["list-type", "encoding-type"])
def test_unknown_type(s3, mixed, name):
    refused(s3.get(mixed, query=[(name, "3")]), 400, "InvalidArgument")


START = [
    ("a", "", ["a-", "a/1", "a/2", "a/b/3", "a0"]),
    ("a/2", "", ["a/b/3", "a0", "b"]),
    ("", "", ["a", "a-"]),
    ("zzz", "", []),
    ("a", "/", ["a-", "a/", "a0"]),
    ("a/", "/", ["a0", "b", "b/"]),
    ("a/2", "/", ["a/", "a0"]),
    ("a0", "/", ["b", "b/"]),
]


@pytest.mark.parametrize("version", LISTS)
@pytest.mark.parametrize(("after", "delimiter", "first"), START)
def test_start_after(s3, mixed, version, after, delimiter, first):
    """Inside a rolled-up prefix the prefix still comes: keys after the marker lie in it."""
    name = "marker" if version == "v1" else "start-after"
    page = ok(s3.get(mixed, query=[*LISTS[version], (name, after), *([("delimiter", delimiter)] if delimiter else [])]))
    got = [e[1] for e in entries(page)]
    assert got[: len(first)] == first and (first or not got)
    assert (page.text("Marker" if version == "v1" else "StartAfter") or "") == after


def test_token_beats_start_after(s3, mixed):
    token = token_of(s3, mixed)
    page = ok(s3.get(mixed, query=[("list-type", "2"), ("continuation-token", token), ("start-after", "d")]))
    assert page.texts("Contents/Key")[0] == "a/1"


@pytest.mark.parametrize(
    ("names", "prefix", "delimiter"),
    [
        (["a--b", "a-b", "a--c", "b"], "", "--"),
        (["x/y/z", "x/y", "xx"], "", "/y"),
        (["aXXb", "aXb", "aXXXc"], "a", "XX"),
        (["a/b", "a/ca/d", "a/a/e"], "a/", "a/"),
        (["äöä", "äöb", "ö"], "ä", "ö"),
        (["a%2Fb", "a/b"], "", "%2F"),
        (["a b c", "a c"], "", " "),
    ],
    ids=str,
)
def test_odd_delimiters(s3, bucket, names, prefix, delimiter):
    put_all(s3, bucket, names)
    for version in LISTS:
        found, _ = walk(s3, bucket, version, 1, **({"prefix": prefix} if prefix else {}), delimiter=delimiter)
        assert found == rolled(names, prefix, delimiter)


def test_order_is_of_bytes(s3, bucket):
    names = [
        "A",
        "Z",
        "a",
        "a-",
        "a/",
        "a/b",
        "a0",
        "aa",
        "z",
        "~",
        "é",
        "e\u0301",
        "\u07ff",
        "\u0800",
        "\ufffd",
        "\U00010000",
        "😀",
        "_",
        "1",
        "10",
        "2",
        " ",
    ]
    put_all(s3, bucket, names)
    assert s3.keys_of(bucket) == sorted(names, key=str.encode)
    assert [k for _, k, _ in s3.versions(bucket)] == sorted(names, key=str.encode)


def test_url_encoding_of_everything(s3, bucket):
    put_all(s3, bucket, ["a b/c", "a+b", "ä/1", "x&y"])
    page = ok(
        s3.get(
            bucket, query=[("list-type", "2"), ("encoding-type", "url"), ("delimiter", "/"), ("prefix", ""), ("start-after", " ")]
        )
    )
    assert page.texts("CommonPrefixes/Prefix") in (["a+b/", "%C3%A4/"], ["a%20b/", "%C3%A4/"])
    assert page.texts("Contents/Key") == ["a%2Bb", "x%26y"]
    assert page.text("EncodingType") == "url"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ([("list-type", "2")], False),
        ([("list-type", "2"), ("fetch-owner", "true")], True),
        ([("list-type", "2"), ("fetch-owner", "false")], False),
        ([], True),
    ],
    ids=str,
)
def test_owner(s3, accounts, mixed, query, shown):
    owner = ok(s3.get(mixed, query=query)).text("Contents/Owner/ID")
    assert owner == (accounts["main"]["canonical_id"] if shown else None)


@pytest.mark.parametrize("version", LISTS)
def test_empty_prefix_and_bucket(s3, bucket, version):
    page = ok(s3.get(bucket, query=[*LISTS[version], ("prefix", "none/")]))
    assert entries(page) == [] and page.text("Name") == bucket and page.text("Prefix") == "none/"
    assert page.text("IsTruncated") == "false"
    if version == "v2":
        assert page.text("KeyCount") == "0"


def test_optional_attributes(s3, mixed):
    page = ok(s3.get(mixed, query=LISTS["v2"], headers=[("x-amz-optional-object-attributes", "RestoreStatus")]))
    assert len(page.texts("Contents")) == len(MIXED)


def test_delete_markers_are_not_listed(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    put_all(s3, bucket, ["a", "b/1", "c"])
    ok(s3.delete(bucket, "b/1"))
    ok(s3.delete(bucket, "c"))
    for version in LISTS:
        assert walk(s3, bucket, version, 1, delimiter="/")[0] == [("key", "a")]


def test_missing_bucket(s3):
    from conftest import fresh_name

    for query in (*LISTS.values(), ["versions"], ["uploads"]):
        refused(s3.get(fresh_name(), query=query), 404, "NoSuchBucket")


def test_entry_says_what_the_object_is(s3, bucket):
    etag = ok(s3.put(bucket, "k", b"12345"))["etag"]
    page = ok(s3.get(bucket, query=LISTS["v2"]))
    assert (page.text("Contents/ETag"), page.text("Contents/Size"), page.text("Contents/StorageClass")) == (etag, "5", "STANDARD")
    assert page.text("Contents/LastModified").endswith("Z")


def test_while_others_write_and_delete(s3, bucket):
    """Keys that stand are in every list, once and in order, whatever happens around them."""
    stable = [f"s{i:03}" for i in range(0, 60)]
    put_all(s3, bucket, stable)
    stop, faults = threading.Event(), []

    def churn():
        i = 0
        while not stop.is_set():
            i += 1
            name = f"s{i % 60:03}-{i}"
            for answer in (s3.put(bucket, name, b"x"), s3.delete(bucket, name)):
                if answer.status >= 300:
                    faults.append(answer)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for _ in range(10):
            names = [e[1] for e in walk(s3, bucket, "v2", 25)[0]]
            assert [n for n in names if n in set(stable)] == stable
            assert names == sorted(set(names))
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not faults
