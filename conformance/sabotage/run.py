#!/usr/bin/env python3
"""Shows that each promise is watched: every break in breaks.toml turns its named test red.

  run.py [--only NAME,NAME] [--explore NAME [--crate CRATE]]

One build with `--cfg sabotage` (its own target folder) holds all breaks; DATAMESH_SABOTAGE picks one at
run time. Every named test is first run with none chosen and must be green. A break in the sources that
the table does not name, or the other way round, fails the target. `--explore` says which tests of a
crate a break turns red: for whoever adds one.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness.cache import ROOT, Failed, say  # noqa: E402

TARGET = ROOT / "target" / "sabotage"
CRATES = ("engine-core", "engine-disk", "engine-meta", "engine-node", "gateway-policy", "gateway-s3",
          "gateway-server")
BUILD_S_MAX = 7200
TEST_S_MAX = 300
EXPLORE_S_MAX = 1200
BREAKS_MIN = 20
JOBS = int(os.environ.get("SABOTAGE_JOBS") or min(os.cpu_count() or 1, 4))
SUITE = threading.Lock()
NAME = re.compile(r'sabotage\(\s*"([a-z0-9-]+)"')
# A break whose name is a value: `match … { A => "skip-a", B => "skip-b" }` behind `sabotage(match`.
NAMES_OF_MATCH = re.compile(r'sabotage\(match [^{]*\{(.*?)\}\)', re.S)


@dataclass(frozen=True)
class Named:
    """`CRATE/TARGET::path::of::test` (TARGET `lib`, `bin`, or a file in tests/), `behaviour:FILE::test`,
    or `script:FILE`."""

    text: str

    def command(self, built: dict) -> tuple[list[str], Path]:
        if self.text.startswith("script:"):
            return [sys.executable, str(HERE / self.text.removeprefix("script:"))], ROOT
        if self.text.startswith("behaviour:"):
            suite = ROOT / "conformance" / "behaviour"
            return [sys.executable, str(suite / "run.py"), str(suite / self.text.removeprefix("behaviour:"))], ROOT
        target, _, path = self.text.partition("::")
        if target not in built:
            raise Failed(f"{self.text}: there are no tests {target}; there are {', '.join(sorted(built))}")
        program, folder = built[target]
        return [program, "--exact", path, "--test-threads=1"], folder

    def run(self, built: dict, chosen: str | None) -> tuple[str, str]:
        """`green`, `red`, or what else; and the output."""
        command, folder = self.command(built)
        env = {k: v for k, v in os.environ.items() if not k.startswith("DATAMESH_")}
        env.update(CARGO_MANIFEST_DIR=str(folder), CARGO_TARGET_DIR=str(TARGET), RUST_BACKTRACE="0",
                   CONFORMANCE_BIN=str(TARGET / "debug" / "datamesh"), BEHAVIOUR_WORKERS="0",
                   PYTHONDONTWRITEBYTECODE="1")
        if chosen:
            env["DATAMESH_SABOTAGE"] = chosen
        try:
            # The behaviour suite has one report file: one of its runs at a time.
            with SUITE if self.text.startswith("behaviour:") else nullcontext():
                done = subprocess.run(command, env=env, cwd=folder, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TEST_S_MAX)
        except subprocess.TimeoutExpired as late:
            return f"no end after {TEST_S_MAX} s", (late.stdout or b"").decode(errors="replace")
        text = done.stdout.decode(errors="replace")
        if self.text.startswith("script:"):
            # A script says so itself: 0 the promise holds, 3 it is broken; all else is a mishap.
            return {0: "green", 3: "red"}.get(done.returncode, f"exit code {done.returncode}"), text
        if self.text.startswith("behaviour:"):
            return behaviour_colour(text), text
        if " 1 passed;" in text and done.returncode == 0:
            return "green", text
        if " 1 failed;" in text or done.returncode < 0:
            return "red", text
        return "not run (renamed?)", text


def behaviour_colour(text: str) -> str:
    try:
        figures = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        return "no verdict"
    if figures.get("failed"):
        return "red"
    return "green" if figures.get("ok") and figures.get("passed") else "not run (renamed?)"


def build() -> dict:
    """(`CRATE/TARGET` → test program, folder of the crate)."""
    env = {**os.environ, "RUSTFLAGS": "--cfg sabotage", "CARGO_TARGET_DIR": str(TARGET)}
    words = [w for crate in (*CRATES, "recorder", "powercut") for w in ("-p", crate)]
    line = ["cargo", "build", "--ignore-rust-version", "--lib", "--bins", "--tests",
            "--message-format=json-render-diagnostics", *words]
    done = subprocess.run(line, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          timeout=BUILD_S_MAX)
    if done.returncode:
        raise Failed("the build with --cfg sabotage failed")
    found: dict = {}
    for text in done.stdout.splitlines():
        made = json.loads(text) if text.startswith("{") else {}
        if not made.get("executable") or not made.get("profile", {}).get("test"):
            continue
        folder = Path(made["manifest_path"]).parent
        crate = tomllib.loads((folder / "Cargo.toml").read_text())["package"]["name"]
        kind = made["target"]["kind"][0]
        name = made["target"]["name"] if kind == "test" else kind
        found[f"{crate}/{name}"] = (made["executable"], folder)
    return found


def in_sources() -> set[str]:
    names: set[str] = set()
    for top in ("engine", "gateway"):
        for path in (ROOT / top).rglob("*.rs"):
            text = path.read_text()
            names |= set(NAME.findall(text))
            for arms in NAMES_OF_MATCH.findall(text):
                names |= set(re.findall(r'"([a-z0-9-]+)"', arms))
    return names


def table() -> list[dict]:
    entries = tomllib.loads((HERE / "breaks.toml").read_text())["break"]
    names = [e["name"] for e in entries]
    if twice := {n for n in names if names.count(n) > 1}:
        raise Failed(f"named twice: {', '.join(sorted(twice))}")
    if odd := set(names) ^ in_sources():
        raise Failed(f"in breaks.toml or in the sources, not in both: {', '.join(sorted(odd))}")
    if len(names) < BREAKS_MIN:
        raise Failed(f"{len(names)} breaks; at least {BREAKS_MIN} are promised")
    return entries


def explore(name: str, crate: str | None, built: dict) -> None:
    for target, (program, folder) in sorted(built.items()):
        if crate and not target.startswith(crate):
            continue
        env = {**os.environ, "DATAMESH_SABOTAGE": name, "CARGO_MANIFEST_DIR": str(folder), "RUST_BACKTRACE": "0"}
        try:
            done = subprocess.run([program], env=env, cwd=folder, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=EXPLORE_S_MAX)
            text = done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as late:
            text = (late.stdout or b"").decode(errors="replace") + "\ntest (a test hangs) ... FAILED"
        red = re.findall(r"^test (.+?)(?: - should panic)? \.\.\. FAILED", text, re.M)
        say(f"   {name}: {target}: {', '.join(red) or 'nothing'}")


def judge(entries: list[dict], built: dict) -> dict:
    tests = sorted({e["test"] for e in entries})
    with ThreadPoolExecutor(JOBS) as pool:
        whole = dict(zip(tests, pool.map(lambda t: Named(t).run(built, None), tests)))
    for test, (colour, text) in whole.items():
        if colour != "green":
            say(f"!! without any break: {test}: {colour}\n{text[-3000:]}")
    with ThreadPoolExecutor(JOBS) as pool:
        broken = list(pool.map(lambda e: Named(e["test"]).run(built, e["name"]), entries))
    caught, missed = 0, []
    for entry, (colour, text) in zip(entries, broken):
        good = colour == "red" and whole[entry["test"]][0] == "green"
        caught += good
        say(f"   {'caught' if good else 'MISSED'}  {entry['name']}: {entry['test']}"
            + ("" if colour == "red" else f": {colour}\n{text[-2000:]}"))
        if not good:
            missed.append(entry["name"])
    return {"ok": not missed, "caught": caught, "of": len(entries), "missed": missed, "tests": len(tests)}


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--only", default="", help="names of breaks")
    ap.add_argument("--explore", default="", help="names of breaks, or all")
    ap.add_argument("--crate")
    a = ap.parse_args()
    line: dict = {"target": "sabotage", "ok": False, "caught": 0, "of": 0}
    try:
        entries = [] if a.explore else table()
        if a.only:
            entries = [e for e in entries if e["name"] in a.only.split(",")]
        say("-- sabotage: building with --cfg sabotage")
        built = build()
        for name in sorted(in_sources()) if a.explore == "all" else [n for n in a.explore.split(",") if n]:
            explore(name, a.crate, built)
        if not a.explore:
            line.update(judge(entries, built))
    except Failed as why:
        say(why)
        line["why"] = str(why).splitlines()[0]
    print(json.dumps(line), flush=True)
    return 0 if line["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
