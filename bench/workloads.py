"""The workloads that are measured, and one measured run of each."""
from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Workload:
    """One line of the table: what each connection does, and which figure counts."""

    name: str
    kind: str
    size: int
    connections: int
    figure: str
    objects: int = 1000


WORKLOADS = [
    Workload("PUT 4 KiB x32", "put", 4 * KIB, 32, "per_s"),
    Workload("GET 4 KiB x32", "get", 4 * KIB, 32, "per_s"),
    Workload("HEAD 4 KiB x32", "head", 4 * KIB, 32, "per_s"),
    Workload("PUT 1 MiB x16", "put", MIB, 16, "mb_per_s"),
    Workload("GET 1 MiB x16", "get", MIB, 16, "mb_per_s", 200),
    Workload("PUT 16 MiB x8", "put", 16 * MIB, 8, "mb_per_s"),
    Workload("GET 16 MiB x8", "get", 16 * MIB, 8, "mb_per_s", 24),
    Workload("PUT 16 MiB x1", "put", 16 * MIB, 1, "mb_per_s"),
    Workload("GET 16 MiB x1", "get", 16 * MIB, 1, "mb_per_s", 24),
    Workload("LIST 1 KiB x8", "list", KIB, 8, "entries_per_s", 10_000),
    Workload("MIXED 256 KiB x16", "mixed", 256 * KIB, 16, "per_s", 500),
    Workload("DELETE 1 KiB x16, hundreds", "delete", KIB, 16, "entries_per_s", 40_000),
]


@dataclass
class Endpoint:
    """Where to measure, and which process's CPU time to count."""

    name: str
    address: str
    access_key: str
    secret_key: str
    pid: int | None = None
    figures: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def median(self, workload: Workload) -> float:
        return median(self.figures.get(workload.name, [0.0]))


def cpu_seconds(pid: int | None) -> float:
    """CPU time of a process so far; 0 where it is not ours to see."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, TypeError):
        return 0.0


def measured(generator: Path, at: Endpoint, work: Workload, seconds: float, bucket: str) -> dict:
    """One run of our generator; its figures, and CPU seconds of the server a request (of the whole
    run, warm-up and preparation included, so a little too much)."""
    command = [str(generator), "--address", at.address, "--bucket", bucket, "--kind", work.kind,
               "--size", str(work.size), "--connections", str(work.connections),
               "--objects", str(work.objects), "--time", str(seconds), "--warm-up", "2"]
    keys = {"AWS_ACCESS_KEY_ID": at.access_key, "AWS_SECRET_ACCESS_KEY": at.secret_key}
    before = cpu_seconds(at.pid)
    done = subprocess.run(command, env={**os.environ, **keys}, capture_output=True, text=True,
                          timeout=seconds * 10 + 300)
    if done.returncode != 0:
        raise RuntimeError(f"{at.name}, {work.name}: {done.stdout} {done.stderr}")
    found = json.loads(done.stdout)
    found["server_cpu_s"] = round(cpu_seconds(at.pid) - before, 2)
    at.figures.setdefault(work.name, []).append(found[work.figure])
    at.cpu.setdefault(work.name, []).append(found["server_cpu_s"])
    return found


def resident(pid: int) -> dict[str, float]:
    """MB resident now and at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"now": round(kib["VmRSS"] / 1024, 1), "most": round(kib["VmHWM"] / 1024, 1)}
