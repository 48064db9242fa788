#!/usr/bin/env python3
"""Large transfers by real clients, byte for byte, each cleaned away before the next.

  aws       one object of 5 GiB up and down, over http and over https
  rclone    sync of 10,000 files, then check --download
  restic    backup of 2 GiB, a changed second one, forget --prune, check --read-data, restore

--only aws,rclone,restic some of them. Room: 2.5 times the object beside what restic needs (3 times its tree).
"""
from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

from drill import HERE, MIB, Failed, Node, Short, Trial, cache, clock_s, main, until

sys.path.insert(0, str(HERE.parent / "clients"))
import common  # noqa: E402

AWS = "awscli==1.46.3\n"
FREE_S_MAX = 600
KINDS = ("aws", "rclone", "restic")


def case(t: Trial, node: Node, name: str, secure: bool) -> common.Case:
    """One client against our server; its files lie in the drill's folder."""
    env = node.environment()
    if secure:
        env["S3_ENDPOINT"] = node.https
    os.environ.update(env, SEED=str(t.seed))
    c = common.Case(f"big-{name}")
    shutil.rmtree(c.work)
    c.work = t.folder / f"{name}-work"
    c.work.mkdir()
    return c


def room(t: Trial, size: int) -> None:
    free = shutil.disk_usage(t.folder).free
    if free < size:
        raise Failed(f"{free >> 30} GiB are free, {size >> 30} GiB are needed")


async def freed(t: Trial, node: Node) -> None:
    """What was deleted is gone from the drives."""
    await until(lambda: node.metric("datamesh_drive_live_bytes") < 64 * MIB, FREE_S_MAX, "deleted bytes are freed", 2)


async def aws(t: Trial, node: Node, secure: bool, figures: dict) -> None:
    size = t.size(5 << 30, 200 * MIB)
    room(t, size * 5 // 2 + (2 << 30))
    c = case(t, node, "aws", secure)
    program = cache.venv("aws-cli-v1", AWS) / "bin" / "aws"

    def s3(*words: object) -> None:
        c.run(program, "--endpoint-url", c.endpoint, "s3", *words)
    path = c.file("big", size)
    digest = common.digest(path)
    s3("mb", f"s3://{c.bucket}")
    began = clock_s()
    await asyncio.to_thread(s3, "cp", "--only-show-errors", path, f"s3://{c.bucket}/big")
    up = clock_s() - began
    path.unlink()
    began = clock_s()
    await asyncio.to_thread(s3, "cp", "--only-show-errors", f"s3://{c.bucket}/big", c.work / "back")
    down = clock_s() - began
    if common.digest(c.work / "back") != digest:
        raise Short("the object came back with other bytes")
    (c.work / "back").unlink()
    s3("rb", "--force", f"s3://{c.bucket}")
    shutil.rmtree(c.work)
    figures[f"aws {'https' if secure else 'http'}"] = {
        "bytes": size, "up_mb_s": round(size / up / 1e6), "down_mb_s": round(size / down / 1e6)}
    t.note(figures)
    await freed(t, node)


async def rclone(t: Trial, node: Node, figures: dict) -> None:
    program = cache.go_program("rclone", HERE.parent / "clients" / "go" / "rclone", "github.com/rclone/rclone")
    files = t.size(10_000, 500)
    c = case(t, node, "rclone", False)
    env = c.env_go(RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_DM_TYPE="s3", RCLONE_CONFIG_DM_PROVIDER="Other",
                   RCLONE_CONFIG_DM_ENDPOINT=c.endpoint, RCLONE_CONFIG_DM_ACCESS_KEY_ID=c.access,
                   RCLONE_CONFIG_DM_SECRET_ACCESS_KEY=c.secret, RCLONE_CONFIG_DM_REGION=c.region, RCLONE_RETRIES="1",
                   RCLONE_S3_FORCE_PATH_STYLE="true", RCLONE_TRANSFERS="8", RCLONE_CHECKERS="8")
    tree, there = c.tree("tree", files), f"dm:{c.bucket}/tree"
    c.run(program, "mkdir", f"dm:{c.bucket}", env=env)
    began = clock_s()
    await asyncio.to_thread(c.run, program, "sync", tree, there, env=env)
    synced = clock_s() - began
    began = clock_s()
    await asyncio.to_thread(c.run, program, "check", "--download", tree, there, env=env)
    checked = clock_s() - began
    counted = json.loads(c.run(program, "size", "--json", there, env=env))["count"]
    if counted != files:
        raise Short(f"{counted} of {files} files are there")
    await asyncio.to_thread(c.run, program, "purge", f"dm:{c.bucket}", env=env)
    shutil.rmtree(c.work)
    figures["rclone"] = {"files": files, "sync_s": round(synced), "check_s": round(checked)}
    t.note(figures["rclone"])
    await freed(t, node)


async def restic(t: Trial, node: Node, figures: dict) -> None:
    program = cache.go_program("restic", HERE.parent / "clients" / "go" / "restic", "github.com/restic/restic/cmd/restic")
    size = t.size(2 << 30, 100 * MIB)
    room(t, size * 4 + (2 << 30))
    c = case(t, node, "restic", False)
    env = c.env_go(RESTIC_REPOSITORY=f"s3:{c.endpoint}/{c.bucket}/repo", RESTIC_PASSWORD="only a test",
                   RESTIC_CACHE_DIR=str(c.work / "cache"))

    async def run(*words: object) -> str:
        return await asyncio.to_thread(c.run, program, *words, env=env)

    tree = c.tree("tree", t.size(2000, 100))
    for n in range(16):
        c.file(f"tree/large-{n}", size // 16)
    await run("init")
    began = clock_s()
    await run("backup", tree)
    backed = clock_s() - began
    for n in range(0, 16, 3):
        (tree / f"large-{n}").unlink()
    c.file("tree/newer", size // 8)
    await run("backup", tree)
    await run("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    began = clock_s()
    await run("check", "--read-data")
    checked = clock_s() - began
    await run("restore", "latest", "--target", c.work / "back")
    c.same_tree(tree, c.work / "back" / tree.relative_to("/"), "restore")
    figures["restic"] = {"bytes": size, "backup_s": round(backed), "check_s": round(checked)}
    t.note(figures["restic"])
    shutil.rmtree(c.work)


async def drill_(t: Trial) -> dict:
    figures: dict = {}
    only = [k for k in t.a.only.split(",") if k] or list(KINDS)
    with Node(t, tls="both", settings="reserve_bytes = 1073741824") as node:
        try:
            if "aws" in only:
                await aws(t, node, False, figures)
                await aws(t, node, True, figures)
            if "rclone" in only:
                await rclone(t, node, figures)
            if "restic" in only:
                await restic(t, node, figures)
        except common.Mismatch as why:
            return {"ok": False, "why": str(why)[-600:], **figures}
        figures["resident_at_end"] = node.resident()
        alive = node.alive()
    return {"ok": alive, **figures}


def more(ap) -> None:
    ap.add_argument("--only", default="", help=", ".join(KINDS))


main("big", drill_, more)
