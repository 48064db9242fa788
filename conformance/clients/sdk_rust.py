#!/usr/bin/env python3
"""AWS SDK for Rust, built in a workspace of its own."""
import re
from pathlib import Path

from common import HERE, ODD_KEY, SMALL_BYTES, Case, cache, main


def install() -> Path:
    with cache.copy_of("sdk-rust", HERE / "sdk-rust") as (folder, fresh):
        if fresh:
            # Our build settings (target folder, flags of a sabotage build) are not the client's.
            import os
            env = {k: v for k, v in os.environ.items() if k not in ("CARGO_TARGET_DIR", "RUSTFLAGS")}
            cache.run(["cargo", "build", "--locked", "--quiet"], cwd=folder, env=env, tries=2)
        return folder


def round_trip(c: Case, folder: Path) -> str:
    small, big = c.file("small", SMALL_BYTES), c.file("big", c.big_bytes)
    c.run(folder / "target" / "debug" / "sdk-rust", small, big, c.bucket, ODD_KEY, env=c.env(S3_ENDPOINT=c.endpoint))
    lock = (folder / "Cargo.lock").read_text()
    return re.search(r'name = "aws-sdk-s3"\nversion = "(.*)"', lock).group(1)


main("sdk-rust", install, round_trip)
