#!/usr/bin/env python3
"""Conditional writes that race: exactly one winner, whoever wins.

  100 keys x 1,000 concurrent PUT If-None-Match: *      one 200 each, the rest 412
  If-Match chains                                       a counter counts every success once
  PUT and DELETE with If-Match on one ETag              one of all
  Complete and PUT, both If-None-Match: *               one of all; so Completes of one upload with If-Match
What is stored afterwards must be the winner's.
"""
from __future__ import annotations

import asyncio
from collections import Counter

from client import Answer, Client, Cut, completion
from drill import Node, Short, Trial, main

BUCKET = "races"
AGAIN_MAX = 60
INLINE_BYTES, STRIPED_BYTES = 900, 20_000
WRITERS = 32


async def settled(c: Client, counts: Counter, method: str, path: str, query=(), headers=(), body=b"") -> Answer:
    """Asks until the answer says won or lost: 409 and 503 say neither. A cut would leave it open: Short."""
    for _ in range(AGAIN_MAX):
        try:
            answer = await c.request(method, path, query, headers, body)
        except Cut as why:
            raise Short(f"an answer is missing: {why}") from why
        counts[f"{answer.status} {answer.code}".strip()] += 1
        if answer.status not in (409, 503):
            return answer
        await asyncio.sleep(0.05)
    raise Short(f"{method} {path}: neither won nor lost after {AGAIN_MAX} times ({answer})")


def body_of(key: int, writer: int) -> bytes:
    text = f"key {key} writer {writer}\n".encode()
    return text.ljust(STRIPED_BYTES if key % 5 == 0 else INLINE_BYTES, b".")


async def none_match(t: Trial, c: Client, keys: int, writers: int, counts: Counter) -> int:
    """Keys with exactly one winner whose bytes are there."""
    right = 0
    for key in range(keys):
        path = f"/{BUCKET}/none-match-{key}"
        calls = [settled(c, counts, "PUT", path, (), [("If-None-Match", "*")], body_of(key, w)) for w in range(writers)]
        answers = await asyncio.gather(*calls)
        won = [w for w, a in enumerate(answers) if a.status == 200]
        odd = {a.status for a in answers} - {200, 412}
        found = await c.get(path)
        if len(won) == 1 and not odd and found.body == body_of(key, won[0]) and found.etag == answers[won[0]].etag:
            right += 1
        else:
            t.note(f"{path}: winners {won[:5]}, odd {odd}, stored {found.body[:40]!r} {found.status}")
    return right


async def chains(c: Client, counters: int, steps: int, counts: Counter) -> tuple[int, int]:
    """(successes, sum of the counters at the end): the same where no write was lost or done twice."""
    wins = 0

    async def climb(path: str) -> None:
        nonlocal wins
        for _ in range(steps):
            while True:
                seen = await c.get(path)
                value = int(seen.body.strip(b".")) + 1
                fat = b"%d" % value if path.endswith("0") else (b"%d" % value).ljust(STRIPED_BYTES, b".")
                put = await settled(c, counts, "PUT", path, (), [("If-Match", seen.etag)], fat)
                if put.status == 200:
                    wins += 1
                    break
                if put.status != 412:
                    raise Short(f"a chain's PUT: {put}")

    paths = [f"/{BUCKET}/counter-{n}" for n in range(counters)]
    for path in paths:
        await c.put(path, b"0")
    await asyncio.gather(*[climb(path) for path in paths for _ in range(WRITERS)])
    return wins, sum([int((await c.get(path)).body.strip(b".")) for path in paths])


async def one_etag(t: Trial, c: Client, keys: int, writers: int, counts: Counter) -> int:
    """PUTs and DELETEs that all name the same ETag: one of them all may have it."""
    right = 0
    for key in range(keys):
        path = f"/{BUCKET}/one-etag-{key}"
        first = await c.put(path, body_of(key, 9_999))
        match = [("If-Match", first.etag)]
        calls = [settled(c, counts, "DELETE", path, (), match) if w % 2 else
                 settled(c, counts, "PUT", path, (), match, body_of(key, w)) for w in range(writers)]
        answers = await asyncio.gather(*calls)
        won = [w for w, a in enumerate(answers) if a.good]
        # After a DELETE has won there is no object: AWS answers 404 to the PUTs.
        odd = {a.status for a in answers if not a.good} - {412, 404}
        found = await c.get(path)
        there = found.status == 404 if won and won[0] % 2 else bool(won) and found.body == body_of(key, won[0])
        if len(won) == 1 and not odd and there:
            right += 1
        else:
            t.note(f"{path}: winners {won[:5]}, odd {odd}, then {found.status} {found.body[:40]!r}")
    return right


async def completes(t: Trial, c: Client, keys: int, writers: int, counts: Counter) -> int:
    right = 0
    for key in range(keys):
        path, uploads = f"/{BUCKET}/complete-{key}", []
        for w in range(writers // 2):
            made = await c.tried("POST", path, [("uploads", None)])
            upload = made.find("UploadId")
            part = await c.tried("PUT", path, [("partNumber", "1"), ("uploadId", upload)], (), body_of(key, w))
            uploads.append((upload, completion([(1, part.etag)])))
        none = [("If-None-Match", "*")]
        calls = [settled(c, counts, "POST", path, [("uploadId", u)], none, doc) for u, doc in uploads]
        calls += [settled(c, counts, "PUT", path, (), none, body_of(key, w)) for w in range(len(uploads), writers)]
        answers = await asyncio.gather(*calls)
        won = [w for w, a in enumerate(answers) if a.good and a.code == ""]
        odd = {(a.status, a.code) for w, a in enumerate(answers) if w not in won and a.status != 412}
        found = await c.get(path)
        if len(won) == 1 and not odd and found.body == body_of(key, won[0]):
            right += 1
        else:
            t.note(f"{path}: winners {won[:5]}, odd {odd}, then {found.status} {found.body[:40]!r}")
    return right


async def drill_(t: Trial) -> dict:
    keys, writers = t.size(100, 10), t.size(1000, 100)
    few, steps = t.size(20, 4), t.size(20, 5)
    counts: dict[str, Counter] = {n: Counter() for n in ("none_match", "chains", "one_etag", "complete")}
    with Node(t) as node:
        async with Client(node, links_max=writers) as c:
            await c.make_bucket(BUCKET)
            t.note(f"{keys} keys x {writers} If-None-Match")
            one = await none_match(t, c, keys, writers, counts["none_match"])
            t.note("chains")
            wins, total = await chains(c, t.size(4, 2), steps, counts["chains"])
            t.note("PUT and DELETE of one ETag")
            etag = await one_etag(t, c, few, t.size(100, 20), counts["one_etag"])
            t.note("Complete and PUT")
            complete = await completes(t, c, few, t.size(40, 10), counts["complete"])
        alive = node.alive()
    figures = {"keys": keys, "writers": writers, "one_winner": one, "chain_wins": wins, "chain_total": total,
               "one_etag": f"{etag}/{few}", "complete": f"{complete}/{few}",
               "answers": {n: dict(c) for n, c in counts.items()}}
    return {"ok": alive and one == keys and wins == total > 0 and etag == complete == few, **figures}


main("races", drill_)
