#!/usr/bin/env python3
"""AWS SDK for JavaScript v3, on node."""
import json
from pathlib import Path

from common import HERE, ODD_KEY, SMALL_BYTES, Case, cache, main


def install() -> Path:
    with cache.copy_of("sdk-js", HERE / "sdk-js") as (folder, fresh):
        if fresh:
            cache.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, tries=3)
        return folder


def round_trip(c: Case, folder: Path) -> str:
    small, big = c.file("small", SMALL_BYTES), c.file("big", c.big_bytes)
    env = c.env(S3_ENDPOINT=c.endpoint)
    c.run("node", folder / "round_trip.mjs", small, big, c.bucket, ODD_KEY, env=env)
    return json.loads((folder / "package.json").read_text())["dependencies"]["@aws-sdk/client-s3"]


main("sdk-js", install, round_trip)
