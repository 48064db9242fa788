#!/usr/bin/env python3
"""AWS SDK for Go v2."""
from pathlib import Path

from common import HERE, ODD_KEY, SMALL_BYTES, Case, cache, main


def install() -> Path:
    return cache.go_program("sdk-go", HERE / "sdk-go", ".")


def round_trip(c: Case, program: Path) -> str:
    small, big = c.file("small", SMALL_BYTES), c.file("big", c.big_bytes)
    c.run(program, small, big, c.bucket, ODD_KEY, env=c.env_go(S3_ENDPOINT=c.endpoint))
    pins = (HERE / "sdk-go" / "go.mod").read_text().splitlines()
    return next(line.split()[-1] for line in pins if "service/s3 v" in line)


main("sdk-go", install, round_trip)
