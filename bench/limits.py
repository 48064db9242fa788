"""The limit of each workload on this machine, computed from its roofline.

Every stage runs on some core, so the limit is: cores / (sum of the stages' CPU seconds). A byte's
stages are measured here (`datamesh-roofline`); an operation's fixed costs are the CPU time such a
stage takes where it was measured alone, in microseconds, and are the same for everybody.
"""
from __future__ import annotations

import os

from workloads import Workload

# Client, HTTP with signature, MD5 and AES of a few KiB, replicated commit of five voters here.
PUT_US = 10 + 18 + 9 + 88
# Client, HTTP with signature, row, open.
GET_US = 10 + 14 + 4 + 3
# 4+2: six shards for four, all of them on this machine.
SPREAD = 1.5


def limit(work: Workload, roof: dict) -> float | None:
    """In the workload's own figure; None where none is computed."""
    cores = os.cpu_count() or 1
    if work.kind in ("put", "get") and work.size > 16 << 10:
        stages = put_stages(work, roof) if work.kind == "put" else get_stages(roof)
        return cores / sum(stages.values()) * 1000
    if work.kind == "put":
        return cores / PUT_US * 1e6
    if work.kind in ("get", "head"):
        return cores / GET_US * 1e6
    return None


def put_stages(work: Workload, roof: dict) -> dict[str, float]:
    """CPU seconds a GB. Both ends of the connection are counted: the client runs here too."""
    md5 = roof["md5_one"] if work.connections == 1 else roof["md5_eight"] if work.connections <= 8 else roof["md5_all"]
    return {"connection": 1 / roof["tcp"], "client signs": 1 / roof["sha256"], "signature": 1 / roof["sha256"],
            "copy": 1 / roof["memcpy"], "md5": 1 / md5, "seal": 1 / roof["aes_gcm"],
            "encode": 1 / roof["encode"], "checksum": SPREAD / roof["crc32c"], "write": SPREAD * 0.067}


def get_stages(roof: dict) -> dict[str, float]:
    """CPU seconds a GB, of what lies in the page cache: what is asked for again does."""
    return {"connection": 1 / roof["tcp"], "read": 1 / roof["page_cache"], "checksum": 1 / roof["crc32c"],
            "open": 1 / roof["aes_gcm"]}
