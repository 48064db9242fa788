"""Installs what a suite needs below .cache, once: a stamp holds what was asked for.

Nothing is installed outside the clone, but for Debian packages (the callers say so).
CONFORMANCE_CACHE names another folder, so that many clones may share one.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("CONFORMANCE_CACHE") or ROOT / ".cache").resolve()
INSTALL_S_MAX = 1800
INSTALL_TRIES_MAX = 3


class Failed(Exception):
    """A step that cannot go on; the text says what to do."""


def say(*words: object) -> None:
    print(*words, flush=True)


def run(command: Sequence[object], *, timeout: float = INSTALL_S_MAX, tries: int = 1, **kw) -> None:
    """Runs to the end, output shown; Failed with the command where it fails."""
    line = [str(c) for c in command]
    for left in reversed(range(tries)):
        try:
            rc = subprocess.run(line, timeout=timeout, stdin=subprocess.DEVNULL, **kw).returncode
        except subprocess.TimeoutExpired:
            rc = f"no end after {timeout} s"
        except FileNotFoundError:
            raise Failed(f"{line[0]} is not installed on this machine") from None
        if rc == 0:
            return
        if left:
            say(f"  {line[0]} failed ({rc}); trying again")
    raise Failed(f"{' '.join(line)}: {rc}")


@contextmanager
def _lock(name: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def made(name: str, asked: str) -> Iterator[tuple[Path, bool]]:
    """(folder, is it to be made?): the stamp is written when the caller's block ends well."""
    folder, digest = CACHE / name, hashlib.sha256(asked.encode()).hexdigest()
    with _lock(name):
        stamp = folder / ".stamp"
        fresh = not stamp.exists() or stamp.read_text() != digest
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        yield folder, fresh
        if fresh:
            stamp.write_text(digest)


def venv(name: str, requirements: str) -> Path:
    """A virtual environment with these requirements (text of a requirements file)."""
    with made(f"venv-{name}", f"{sys.version}\n{CACHE}\n{requirements}") as (folder, fresh):
        if fresh:
            say(f"  installing {name} into {folder.relative_to(CACHE.parent)}")
            run([sys.executable, "-m", "venv", folder])
            wanted = folder / "requirements.txt"
            wanted.write_text(requirements)
            run([folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-r", wanted],
                tries=INSTALL_TRIES_MAX)
        return folder


def go_program(name: str, source: Path, package: str) -> Path:
    """The program of `package`, built from the go.mod and go.sum in `source`, which pin it."""
    asked = "".join(p.read_text() for p in sorted(source.glob("go.*")) + sorted(source.glob("*.go")))
    with made(f"go-{name}", asked + package) as (folder, fresh):
        if fresh:
            say(f"  building {name} into {folder.relative_to(CACHE.parent)}")
            # The clients' own go settings must not reach this build, nor a work file above us.
            env = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off",
                   "CGO_ENABLED": "0"}
            run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", folder / name, package],
                cwd=source, env=env, tries=2)
        return folder / name


def debian(package: str, program: str) -> Path:
    """A program of Debian's, installed by apt-get where we may; Failed with the line to type elsewhere."""
    path = next((p for p in (Path("/usr/bin") / program, Path("/usr/sbin") / program) if p.exists()), None)
    if path is None:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Failed(f"{program}: as root, apt-get install -y {package}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-q"], env=env, tries=2)
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", package], env=env, tries=2)
        path = next(p for p in (Path("/usr/bin") / program, Path("/usr/sbin") / program) if p.exists())
    return path


def copy_of(name: str, source: Path, asked: str = "") -> "Copy":
    """A folder in the cache with a copy of `source`, for package managers that build in place."""
    return Copy(name, source, asked)


class Copy:
    """Context: (folder, fresh) as in `made`, the folder filled from the source when fresh."""

    def __init__(self, name: str, source: Path, asked: str) -> None:
        texts = "".join(f"{p.relative_to(source)}\n{p.read_text()}"
                        for p in sorted(source.rglob("*")) if p.is_file())
        self._made, self._source = made(name, texts + asked), source

    def __enter__(self) -> tuple[Path, bool]:
        folder, fresh = self._made.__enter__()
        if fresh:
            shutil.copytree(self._source, folder, dirs_exist_ok=True)
        return folder, fresh

    def __exit__(self, *exc) -> bool | None:
        return self._made.__exit__(*exc)
