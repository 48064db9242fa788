#!/usr/bin/env python3
"""Runs the drills one after another, each in a process of its own; the last line is one JSON object.

  run.py [--only races,trace] [--small] [--seed N] [--server PATH]

Without --only all of them, the quick ones first. A drill's own line stands above the last.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Every program beside these is a drill; those without a place here come last.
FIRST = ["races", "trace", "plants", "term", "cleanup", "keyring", "sockets", "memory", "drives", "replace", "nonces", "bitflips", "scale", "big"]
NOT_DRILLS = {"run", "drill", "client", "shards", "raftlog"}
DRILL_S_MAX = 3 * 3600


def names() -> list[str]:
    found = {p.stem for p in HERE.glob("*.py")} - NOT_DRILLS
    return [n for n in FIRST if n in found] + sorted(found - set(FIRST))


def one(name: str, words: list[str]) -> dict:
    """The drill's own verdict; none, or an end that contradicts it, is a failure."""
    last = ""
    with subprocess.Popen([sys.executable, str(HERE / f"{name}.py"), *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, errors="replace") as child:
        for line in child.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
        code = child.wait(DRILL_S_MAX)
    try:
        verdict = json.loads(last)
    except ValueError:
        verdict = {"why": "no verdict"}
    verdict["ok"] = code == 0 and verdict.get("ok") is True
    return verdict


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--only", default="", help=", ".join(names()))
    ap.add_argument("--small", action="store_true", help="quick looks, not the proof")
    ap.add_argument("--seed", default=os.environ.get("SEED") or str(random.SystemRandom().randrange(1 << 32)))
    ap.add_argument("--server", help="the program under test (default: the younger build)")
    a = ap.parse_args()
    chosen = [n for n in a.only.split(",") if n] or names()
    if unknown := [n for n in chosen if n not in names()]:
        ap.error(f"no drill {unknown}; there are {', '.join(names())}")
    words = ["--seed", a.seed] + (["--small"] if a.small else []) + (["--server", a.server] if a.server else [])
    verdicts = {name: one(name, words) for name in chosen}
    passed = sum(v["ok"] for v in verdicts.values())
    print(json.dumps({"target": "drills", "ok": passed == len(verdicts) > 0, "passed": passed, "of": len(verdicts),
                      "seed": int(a.seed), "small": a.small,
                      "failed": {n: v.get("why", "short; see its line") for n, v in verdicts.items() if not v["ok"]}},
                     ensure_ascii=False), flush=True)
    return 0 if passed == len(verdicts) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
