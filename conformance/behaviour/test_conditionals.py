"""Conditions on reads, writes, deletes, copies and completes, alone and in races."""

from __future__ import annotations

import pytest
import sums
from s3 import absent, ok, present, refused

BODY, OTHER = b"body", b"other"
ETAG = sums.etag(BODY)
BARE = ETAG.strip('"')
WRONG = '"00000000000000000000000000000000"'
PAST, FUTURE = "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
N = 16


@pytest.fixture(scope="module")
def there(s3, shelf):
    ok(s3.put(shelf, "there", BODY))
    return "there"


READS = {
    "if-match same": ({"If-Match": ETAG}, 200),
    "if-match other": ({"If-Match": WRONG}, 412),
    "if-match any": ({"If-Match": "*"}, 200),
    "if-match unquoted": ({"If-Match": BARE}, 200),
    "if-match list": ({"If-Match": f"{WRONG}, {ETAG}"}, 200),
    "if-none-match same": ({"If-None-Match": ETAG}, 304),
    "if-none-match other": ({"If-None-Match": WRONG}, 200),
    "if-none-match any": ({"If-None-Match": "*"}, 304),
    "if-none-match unquoted": ({"If-None-Match": BARE}, 304),
    "if-none-match weak": ({"If-None-Match": f"W/{ETAG}"}, 304),
    "if-none-match list": ({"If-None-Match": f"{WRONG}, {ETAG}"}, 304),
    "modified since past": ({"If-Modified-Since": PAST}, 200),
    "modified since itself": ({"If-Modified-Since": "LAST"}, 304),
    "unmodified since past": ({"If-Unmodified-Since": PAST}, 412),
    "unmodified since itself": ({"If-Unmodified-Since": "LAST"}, 200),
    "unmodified since future": ({"If-Unmodified-Since": FUTURE}, 200),
    "modified since nonsense": ({"If-Modified-Since": "yesterday"}, 200),
    "unmodified since nonsense": ({"If-Unmodified-Since": "x"}, 200),
    # If-Match true beats If-Unmodified-Since false; If-None-Match false beats If-Modified-Since true.
    "match beats unmodified": ({"If-Match": ETAG, "If-Unmodified-Since": PAST}, 200),
    "no match in spite of unmodified": ({"If-Match": WRONG, "If-Unmodified-Since": FUTURE}, 412),
    "none-match beats modified": ({"If-None-Match": ETAG, "If-Modified-Since": PAST}, 304),
    "other and not modified": ({"If-None-Match": WRONG, "If-Modified-Since": "LAST"}, 200),
    "match and none-match of the same": ({"If-Match": ETAG, "If-None-Match": ETAG}, 304),
    "no match and none-match": ({"If-Match": WRONG, "If-None-Match": ETAG}, 412),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("case", READS)
def test_read(s3, shelf, there, case, method):
    headers, status = READS[case]
    last = ok(s3.head(shelf, there))["last-modified"]
    answer = s3.request(method, shelf, there, headers=[(n, last if v == "LAST" else v) for n, v in headers.items()])
    assert answer.status == status, answer
    if status == 200:
        assert answer.body == (BODY if method == "GET" else b"")
    elif status == 304:
        assert answer.body == b"" and answer["etag"] == ETAG
    elif method == "GET":
        assert answer.code == "PreconditionFailed"
    else:
        assert answer.body == b""


WRITES = {
    "none-match any, absent": (None, {"If-None-Match": "*"}, 200, None),
    "none-match any, there": (BODY, {"If-None-Match": "*"}, 412, "PreconditionFailed"),
    "match same": (BODY, {"If-Match": ETAG}, 200, None),
    "match unquoted": (BODY, {"If-Match": BARE}, 200, None),
    "match other": (BODY, {"If-Match": WRONG}, 412, "PreconditionFailed"),
    "match, absent": (None, {"If-Match": ETAG}, 404, "NoSuchKey"),
    # AWS has `*` alone and answers 501; a store that compares must then refuse as well.
    "none-match an etag": (BODY, {"If-None-Match": ETAG}, (412, 501), ("PreconditionFailed", "NotImplemented")),
}


@pytest.mark.parametrize("how", ["put", "complete", "copy"])
@pytest.mark.parametrize("case", WRITES)
def test_write(s3, shelf, key, case, how):
    before, condition, status, code = WRITES[case]
    if before is not None:
        ok(s3.put(shelf, key, before))
    headers = list(condition.items())
    if how == "put":
        answer = s3.put(shelf, key, OTHER, headers)
    elif how == "copy":
        ok(s3.put(shelf, key + "s", OTHER))
        answer = s3.put(shelf, key, headers=[("x-amz-copy-source", f"{shelf}/{key}s"), *headers])
    else:
        upload = s3.begin(shelf, key)
        etag = ok(s3.part(shelf, key, upload, 1, OTHER))["etag"]
        answer = s3.complete(shelf, key, upload, [(1, etag)], headers)
    if status == 200:
        ok(answer, 200)
        present(s3, shelf, key, OTHER)
        return
    refused(answer, status, code)
    if before is None:
        absent(s3, shelf, key)
    else:
        present(s3, shelf, key, before)


def test_complete_may_be_tried_again_after_412(s3, shelf, key):
    ok(s3.put(shelf, key, BODY))
    upload = s3.begin(shelf, key)
    etag = ok(s3.part(shelf, key, upload, 1, OTHER))["etag"]
    refused(s3.complete(shelf, key, upload, [(1, etag)], [("If-None-Match", "*")]), 412, "PreconditionFailed")
    ok(s3.complete(shelf, key, upload, [(1, etag)], [("If-Match", ETAG)]))
    present(s3, shelf, key, OTHER)


def test_delete_marker_is_nothing_to_a_write(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    ok(s3.put(bucket, "k", BODY))
    ok(s3.delete(bucket, "k"))
    refused(s3.put(bucket, "k", OTHER, [("If-Match", ETAG)]), 404, "NoSuchKey")
    ok(s3.put(bucket, "k", OTHER, [("If-None-Match", "*")]))
    present(s3, bucket, "k", OTHER)


DELETES = {
    "match": (BODY, ETAG, 204),
    "match unquoted": (BODY, BARE, 204),
    "other": (BODY, WRONG, 412),
    "any": (BODY, "*", 204),
    "absent": (None, ETAG, 404),
}


@pytest.mark.parametrize("case", DELETES)
def test_delete(s3, shelf, key, case):
    before, etag, status = DELETES[case]
    if before is not None:
        ok(s3.put(shelf, key, before))
    answer = s3.delete(shelf, key, headers=[("If-Match", etag)])
    if status == 204:
        ok(answer, 204)
        absent(s3, shelf, key)
    else:
        refused(answer, status, {412: "PreconditionFailed", 404: "NoSuchKey"}[status])
        if before:
            present(s3, shelf, key, before)


def test_delete_of_a_versioned_key(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    ok(s3.put(bucket, "k", BODY))
    refused(s3.delete(bucket, "k", headers=[("If-Match", WRONG)]), 412, "PreconditionFailed")
    ok(s3.delete(bucket, "k", headers=[("If-Match", ETAG)]), 204)
    refused(s3.delete(bucket, "k", headers=[("If-Match", ETAG)]), 412, "PreconditionFailed")
    assert [kind for kind, _, _ in s3.versions(bucket)] == ["DeleteMarker", "Version"]


def test_delete_many_with_etags(s3, bucket):
    from s3 import XMLNS

    for name in ("a", "b"):
        ok(s3.put(bucket, name, BODY))
    xml = (
        (
            f"<Delete {XMLNS}><Object><Key>a</Key><ETag>{ETAG}</ETag></Object>"
            f"<Object><Key>b</Key><ETag>{WRONG}</ETag></Object></Delete>"
        )
        .replace('"0', "&quot;0")
        .replace('0"<', "0&quot;<")
    )
    answer = ok(s3.document("POST", bucket, None, ["delete"], xml))
    assert answer.texts("Deleted/Key") == ["a"]
    assert (answer.texts("Error/Key"), answer.texts("Error/Code")) == (["b"], ["PreconditionFailed"])
    assert s3.keys_of(bucket) == ["b"]


SOURCES = {
    "match": ({"x-amz-copy-source-if-match": ETAG}, 200),
    "match other": ({"x-amz-copy-source-if-match": WRONG}, 412),
    "none-match": ({"x-amz-copy-source-if-none-match": ETAG}, 412),
    "none-match other": ({"x-amz-copy-source-if-none-match": WRONG}, 200),
    "modified since past": ({"x-amz-copy-source-if-modified-since": PAST}, 200),
    "modified since itself": ({"x-amz-copy-source-if-modified-since": "LAST"}, 412),
    "unmodified since past": ({"x-amz-copy-source-if-unmodified-since": PAST}, 412),
    "unmodified since future": ({"x-amz-copy-source-if-unmodified-since": FUTURE}, 200),
    "match beats unmodified": ({"x-amz-copy-source-if-match": ETAG, "x-amz-copy-source-if-unmodified-since": PAST}, 200),
    "none-match beats modified": ({"x-amz-copy-source-if-none-match": ETAG, "x-amz-copy-source-if-modified-since": PAST}, 412),
}


@pytest.mark.parametrize("how", ["copy", "part"])
@pytest.mark.parametrize("case", SOURCES)
def test_copy_source(s3, shelf, there, key, case, how):
    condition, status = SOURCES[case]
    last = ok(s3.head(shelf, there))["last-modified"]
    headers = [("x-amz-copy-source", f"{shelf}/{there}"), *((n, last if v == "LAST" else v) for n, v in condition.items())]
    if how == "copy":
        answer = s3.put(shelf, key, headers=headers)
    else:
        upload = s3.begin(shelf, key)
        answer = s3.part(shelf, key, upload, 1, b"", headers)
    if status == 200:
        ok(answer, 200)
    else:
        refused(answer, status, "PreconditionFailed")
        absent(s3, shelf, key)


@pytest.mark.parametrize("size", [10, 20_000], ids=["inline", "sharded"])
def test_one_creator_wins(s3, shelf, key, size):
    bodies = [bytes([i]) * size for i in range(N)]
    answers = s3.many([lambda b=b: s3.put(shelf, key, b, [("If-None-Match", "*")]) for b in bodies])
    winners = [b for a, b in zip(answers, bodies) if a.status == 200]
    assert len(winners) == 1, answers
    for answer in answers:
        if answer.status != 200:
            refused(answer, (409, 412), ("PreconditionFailed", "ConditionalRequestConflict"))
    present(s3, shelf, key, winners[0])


def test_one_swapper_wins(s3, shelf, key):
    etag = ok(s3.put(shelf, key, b"0"))["etag"]
    for turn in range(3):
        bodies = [f"{turn} {i}".encode() for i in range(N)]
        answers = s3.many([lambda b=b: s3.put(shelf, key, b, [("If-Match", etag)]) for b in bodies])
        winners = [b for a, b in zip(answers, bodies) if a.status == 200]
        assert len(winners) == 1, answers
        etag = present(s3, shelf, key, winners[0])["etag"]


def test_one_deleter_wins(s3, shelf, key):
    ok(s3.put(shelf, key, BODY))
    answers = s3.many([lambda: s3.delete(shelf, key, headers=[("If-Match", ETAG)])] * N)
    assert sorted(a.status for a in answers).count(204) == 1, answers
    absent(s3, shelf, key)


def test_completes_and_puts_race(s3, shelf, key):
    """Of all that say 'only if absent', one wins, whatever call it came by."""
    calls = []
    for i in range(6):
        upload = s3.begin(shelf, key)
        etag = ok(s3.part(shelf, key, upload, 1, f"complete {i}".encode()))["etag"]
        calls.append((f"complete {i}", lambda u=upload, e=etag: s3.complete(shelf, key, u, [(1, e)], [("If-None-Match", "*")])))
        calls.append((f"put {i}", lambda i=i: s3.put(shelf, key, f"put {i}".encode(), [("If-None-Match", "*")])))
    answers = s3.many([c for _, c in calls])
    winners = [body for (body, _), a in zip(calls, answers) if a.status == 200 and a.code is None]
    assert len(winners) == 1, answers
    for answer in answers:
        if answer.status != 200:
            refused(answer, (409, 412), ("PreconditionFailed", "ConditionalRequestConflict"))
    present(s3, shelf, key, winners[0].encode())


def test_complete_after_a_put_that_came_between(s3, shelf, key):
    upload = s3.begin(shelf, key)
    etag = ok(s3.part(shelf, key, upload, 1, OTHER))["etag"]
    ok(s3.put(shelf, key, BODY))
    refused(
        s3.complete(shelf, key, upload, [(1, etag)], [("If-None-Match", "*")]),
        (409, 412),
        ("PreconditionFailed", "ConditionalRequestConflict"),
    )
    present(s3, shelf, key, BODY)
