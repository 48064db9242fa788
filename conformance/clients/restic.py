#!/usr/bin/env python3
"""restic: two backups, forget and prune, check of all data, restore."""
import json
from pathlib import Path

from common import HERE, Case, cache, main


def install() -> Path:
    return cache.go_program("restic", HERE / "go" / "restic", "github.com/restic/restic/cmd/restic")


def round_trip(c: Case, program: Path) -> str:
    env = c.env_go(RESTIC_REPOSITORY=f"s3:{c.endpoint}/{c.bucket}/repo", RESTIC_PASSWORD="only a test",
                   RESTIC_CACHE_DIR=str(c.work / "cache"))
    if c.ca:
        env["RESTIC_CACERT"] = c.ca

    def restic(*words: object) -> str:
        return c.run(program, "--retry-lock", "10s", *words, env=env)

    restic("init")
    tree = c.tree("tree")
    c.file("tree/big", c.big_bytes)
    restic("backup", tree)
    for old in list(tree.rglob("f-1*.dat")):
        old.unlink()
    c.file("tree/newer", 2_000_000)
    restic("backup", tree)
    c.expect(len(json.loads(restic("snapshots", "--json"))) == 2, "two snapshots were made")
    restic("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    c.expect(len(json.loads(restic("snapshots", "--json"))) == 1, "one snapshot was to be kept")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", c.work / "back")
    c.same_tree(tree, c.work / "back" / tree.relative_to("/"), "restore")
    return restic("version")


main("restic", install, round_trip)
