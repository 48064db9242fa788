#!/usr/bin/env python3
"""Fuzzes every parser of foreign bytes: run.py [--seconds 60] [--only log,policy] [--seed N] [--jobs N]

libFuzzer, guided by coverage, on the stable toolchain: `rustc.sh` adds the counters. Needs a C++
compiler and nothing else. Corpora grow in .cache/fuzz/corpus from run to run; what crashes a target
is kept in .cache/fuzz/crashes, and belongs into `regressions/TARGET/` once it is mended.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness.cache import CACHE, ROOT, Failed, say  # noqa: E402

HOME = CACHE / "fuzz"
BUILD_S_MAX = 3600
INPUT_S_MAX = 10
MEMORY_MIB_MAX = 2048
INPUT_BYTES_MAX = 16 << 10
# Some targets read files; in memory where that is to be had.
SCRATCH = Path("/dev/shm")


def built() -> Path:
    if not any(shutil.which(c) for c in ("c++", "g++", "clang++")):
        raise Failed("a C++ compiler is needed for libFuzzer: apt-get install g++")
    env = {**os.environ, "RUSTC_WORKSPACE_WRAPPER": str(HERE / "rustc.sh")}
    line = ["cargo", "build", "-p", "fuzz", "--features", "libfuzzer", "--bin", "fuzz", "--ignore-rust-version",
            "--message-format=json-render-diagnostics"]
    done = subprocess.run(line, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          timeout=BUILD_S_MAX, text=True)
    made = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    programs = {m["target"]["name"]: m["executable"] for m in made if m.get("executable")}
    if done.returncode or "fuzz" not in programs:
        raise Failed("the build of the fuzzer failed")
    # Copied: another build may put its own there while we run.
    HOME.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(programs["fuzz"], HOME / "fuzz"))


def seeds(program: Path) -> list[str]:
    """Writes the seeds; the targets' names."""
    folder = HOME / "seeds"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([program], env={**os.environ, "FUZZ_SEEDS": str(folder)}, check=True, stdin=subprocess.DEVNULL)
    return sorted(p.name for p in folder.iterdir())


def one(program: Path, name: str, seconds: int, seed: int) -> dict:
    """Figures of one target; stops at its first crash."""
    corpus, crashes = HOME / "corpus" / name, HOME / "crashes"
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    known = [d for d in (HOME / "seeds" / name, HERE / "regressions" / name) if d.is_dir()]
    line = [program, f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_S_MAX}",
            f"-rss_limit_mb={MEMORY_MIB_MAX}", f"-seed={seed}", "-print_final_stats=1",
            f"-artifact_prefix={crashes}/{name}-", corpus, *known]
    with tempfile.TemporaryDirectory(dir=SCRATCH if SCRATCH.is_dir() else None) as scratch:
        env = {**os.environ, "FUZZ_TARGET": name, "RUST_BACKTRACE": "0", "TMPDIR": scratch}
        done = subprocess.run([str(w) for w in line], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds * 3 + 300)
    text = done.stdout.decode(errors="replace")
    inputs = re.search(r"number_of_executed_units: (\d+)", text)
    reached = re.findall(r" cov: (\d+)", text)
    figures = {"inputs": int(inputs[1]) if inputs else 0, "edges": int(reached[-1]) if reached else 0,
               "crashes": int(done.returncode != 0)}
    say(f"   {name}: {figures['inputs']} inputs, {figures['edges']} edges" + (", CRASHED" if done.returncode else ""))
    if done.returncode:
        say("\n".join(text.splitlines()[-40:]))
    return figures


def words() -> argparse.Namespace:
    env = os.environ
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=int, default=int(env.get("FUZZ_SECONDS") or 60), help="each target (FUZZ_SECONDS)")
    ap.add_argument("--only", default=env.get("FUZZ_ONLY", ""), help="targets, comma between (FUZZ_ONLY)")
    ap.add_argument("--seed", type=int, default=int(env.get("SEED") or random.SystemRandom().randrange(1, 1 << 31)))
    ap.add_argument("--jobs", type=int, default=int(env.get("FUZZ_JOBS") or min(os.cpu_count() or 1, 8)),
                    help="targets at a time (FUZZ_JOBS)")
    return ap.parse_args()


def main() -> int:
    a = words()
    seconds, seed, jobs = a.seconds, a.seed, a.jobs
    line: dict = {"target": "fuzz", "ok": False, "inputs": 0, "crashes": 0, "seed": seed, "seconds": seconds}
    try:
        program = built()
        every = seeds(program)
        names = [n for n in a.only.split(",") if n] or every
        say(f"-- fuzz: {len(names)} targets, {seconds} s each, {jobs} at a time, seed {seed}")
        with ThreadPoolExecutor(jobs) as pool:
            results = dict(zip(names, pool.map(lambda n: one(program, n, seconds, seed), names)))
        line.update(targets=len(results), inputs=sum(r["inputs"] for r in results.values()),
                    crashes=sum(r["crashes"] for r in results.values()),
                    crashed=[n for n, r in results.items() if r["crashes"]],
                    idle=[n for n, r in results.items() if r["inputs"] < 1000 or not r["edges"]])
        line["ok"] = not line["crashes"] and not line["idle"] and len(results) > 0
    except Failed as why:
        say(why)
        line["why"] = str(why).splitlines()[0]
    print(json.dumps(line), flush=True)
    return 0 if line["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
