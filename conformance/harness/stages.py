#!/usr/bin/env python3
"""Runs stages in order and prints one JSON object last: stages.py TARGET NAME=COMMAND...

A stage is a shell command. Its own last line, where it is a JSON object, is taken up into the
summary; `test result:` lines of cargo are added up. After a stage that fails, only stages written
`?NAME=COMMAND` are still run: those whose findings one wants at once, as in `verify`.
"""
from __future__ import annotations

import json
import re
import subprocess
import sys
import time

CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")


def stage(command: str) -> tuple[int, dict]:
    """Exit code and figures; output is passed on as it comes."""
    figures: dict = {}
    tests, last = [0, 0, 0], ""
    process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
        if found := CARGO.match(line):
            tests = [a + int(b) for a, b in zip(tests, found.groups())]
    code = process.wait()
    if any(tests):
        figures.update(passed=tests[0], failed=tests[1], ignored=tests[2])
    if last.startswith("{"):
        try:
            figures.update(json.loads(last))
        except ValueError:
            pass
    return code, figures


def main() -> int:
    target, *given = sys.argv[1:]
    ok, stages = True, {}
    for item in given:
        name, _, command = item.partition("=")
        every = name.startswith("?")
        name = name.lstrip("?")
        if not ok and not every:
            stages[name] = {"ok": False, "not_run": True}
            continue
        print(f"\n== {target}: {name}\n   {command}", flush=True)
        began = time.monotonic()
        code, figures = stage(command)
        figures.pop("target", None)
        good = code == 0 and figures.get("ok", True) is True
        stages[name] = {**figures, "ok": good, "seconds": round(time.monotonic() - began)}
        ok = ok and good
        if not good:
            print(f"!! {target}: {name} failed ({code})", flush=True)
    print()
    print(json.dumps({"target": target, "ok": ok, "stages": stages}), flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
