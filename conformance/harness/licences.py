#!/usr/bin/env python3
"""Licences, bans and sources of all dependencies by cargo-deny, which is built into .cache once.

Where it cannot be built, the licences alone are checked, from cargo's own metadata against the
same list in deny.toml, and the verdict says so (`by`).
"""
from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.cache import ROOT, Failed, made, run, say  # noqa: E402

VERSION = "0.20.2"
CHECKS = ("licenses", "bans", "sources")


def cargo_deny() -> str:
    found = shutil.which("cargo-deny")
    if found:
        return found
    with made("cargo-deny", VERSION) as (folder, fresh):
        if fresh:
            say(f"  building cargo-deny {VERSION} into .cache: minutes, once")
            run(["cargo", "install", "--quiet", "--locked", "cargo-deny", "--version", VERSION,
                 "--root", folder, "--target-dir", folder / "target"], timeout=3600)
            shutil.rmtree(folder / "target", ignore_errors=True)
        return str(folder / "bin" / "cargo-deny")


def permitted(expression: str, allowed: set[str]) -> bool:
    """An SPDX expression of names, AND, OR, WITH and parentheses (`/` is an old OR)."""
    text = expression.replace("/", " OR ")
    names = re.sub(r"(\S+) WITH (\S+)", lambda m: f"{m[1]}~WITH~{m[2]}", text)

    def value(m: re.Match) -> str:
        word = m[0]
        return word.lower() if word in ("AND", "OR") else str(word.replace("~", " ") in allowed)

    logic = re.sub(r"[\w.+~-]+", value, names)
    return bool(re.fullmatch(r"(True|False|and|or|[()\s])+", logic)) and bool(eval(logic, {"__builtins__": {}}))


def by_metadata() -> dict:
    allowed = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    text = subprocess.run(["cargo", "metadata", "--format-version", "1", "--locked"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout
    foreign = [p for p in json.loads(text)["packages"] if p["source"]]
    odd = [f"{p['name']} {p['version']}: {p['license']}" for p in foreign
           if not permitted(p["license"] or "", allowed)]
    for line in odd:
        say(f"licence: {line}")
    return {"ok": not odd, "by": "metadata", "packages": len(foreign), "refused": len(odd)}


def main() -> int:
    try:
        deny = cargo_deny()
        code = subprocess.run([deny, "--log-level", "error", "check", *CHECKS], cwd=ROOT, stdin=subprocess.DEVNULL).returncode
        verdict = {"ok": code == 0, "by": f"cargo-deny {VERSION}", "checks": list(CHECKS)}
    except Failed as why:
        say(why)
        verdict = by_metadata()
    print(json.dumps({"target": "licences", **verdict}), flush=True)
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
