"""Load from real clients: threads that each own keys, by boto3, s5cmd and the aws cli.

No client tries again by itself: what it says of a request is what the history says of it.
"""
from __future__ import annotations

import itertools
import os
import random
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from history import Key, State

PLAIN, VERSIONED = "crash-plain", "crash-versioned"
KEYS_PER_WORKER = 10
PART_BYTES = 5 << 20
COMMAND_S_MAX = 120
ANSWER_S_MAX = 60
NUMBERS = itertools.count(1)


def length(chance: random.Random) -> int:
    """Inline in the metadata, on the border, one stripe, many."""
    kind = chance.randrange(10)
    if kind == 0:
        return chance.randrange(64)
    if kind < 5:
        return chance.randrange(64, 16_384)
    if kind == 5:
        return 16_384 + chance.randrange(2)
    return chance.randrange(16_386, 300_000) if kind < 9 else chance.randrange(300_000, 9_500_000)


def s3_client(env: dict[str, str]):
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=ANSWER_S_MAX,
                    max_pool_connections=16, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=env["S3_ENDPOINT"], aws_access_key_id=env["S3_ACCESS_KEY"],
                        aws_secret_access_key=env["S3_SECRET_KEY"], region_name=env["S3_REGION"], config=config)


@dataclass
class Tools:
    """What sends: one boto3 client, and two programs with their environment."""

    s3: object
    endpoint: str
    s5cmd: Path
    aws: Path
    env: dict[str, str]
    work: Path

    @classmethod
    def of(cls, server_env: dict[str, str], s5cmd: Path, aws: Path, work: Path) -> "Tools":
        keep = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
        env = {**keep, "AWS_ACCESS_KEY_ID": server_env["S3_ACCESS_KEY"], "AWS_DEFAULT_REGION": "us-east-1",
               "AWS_SECRET_ACCESS_KEY": server_env["S3_SECRET_KEY"], "AWS_REGION": "us-east-1",
               "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
               "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "HOME": str(work), "NO_PROXY": "*", "no_proxy": "*"}
        return cls(s3_client(server_env), server_env["S3_ENDPOINT"], s5cmd, aws, env, work)

    def program(self, *words: object) -> bool:
        try:
            return subprocess.run([str(w) for w in words], env=self.env, cwd=self.work, timeout=COMMAND_S_MAX,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode == 0
        except subprocess.TimeoutExpired:
            return False


@dataclass
class Versions:
    """The versioned bucket: what each acknowledged version id must read as."""

    there: dict[tuple[str, str], State] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    # Deletes that were sent and not acknowledged.
    perhaps: dict[tuple[str, str], State] = field(default_factory=dict)
    fresh: set[tuple[str, str]] = field(default_factory=set)


class Worker(threading.Thread):
    """Sends one request after another until told to stop, or until the server is gone."""

    def __init__(self, number: int, seed: str, tools: Tools, keys: dict[str, Key], versions: Versions,
                 stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self.tools, self.keys, self.versions = number, tools, keys, versions
        self.chance, self.halt = random.Random(seed), stop
        self.acknowledged = self.unknown = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.halt.is_set():
                good = self.versioned() if self.chance.randrange(5) == 0 else self.plain()
                self.acknowledged += good
                self.unknown += not good
        except BaseException as error:  # noqa: BLE001 - shown by whoever joins this thread
            self.error = error

    def plain(self) -> bool:
        name = f"w{self.number}/k{self.chance.randrange(KEYS_PER_WORKER)}"
        state = State(next(NUMBERS), length(self.chance))
        kind = self.chance.randrange(20)
        if kind < 3:
            state = None
            good = self.tools.program(*self.s5("rm", f"s3://{PLAIN}/{name}")) if kind == 0 else \
                self.boto(lambda s3: s3.delete_object(Bucket=PLAIN, Key=name))
        elif kind == 3:
            state = State(state.number, PART_BYTES + self.chance.randrange(1, 400_000))
            good = self.multipart(name, state)
        elif kind < 8:
            good = self.from_file(name, state, aws=kind == 4)
        else:
            good = self.boto(lambda s3: s3.put_object(Bucket=PLAIN, Key=name, Body=state.data()))
        self.keys.setdefault(name, Key()).sent(state, good)
        return good

    def versioned(self) -> bool:
        mine = [at for at in list(self.versions.there) if at[0].startswith(f"v{self.number}/")]
        if mine and self.chance.randrange(4) == 0:
            at = self.chance.choice(mine)
            state = self.versions.there.pop(at)
            good = self.boto(lambda s3: s3.delete_object(Bucket=VERSIONED, Key=at[0], VersionId=at[1]))
            if good:
                self.versions.gone.add(at)
            else:
                self.versions.perhaps[at] = state
            return good
        name = f"v{self.number}/k{self.chance.randrange(3)}"
        state = State(next(NUMBERS), min(length(self.chance), 400_000))
        answer: dict = {}
        good = self.boto(lambda s3: answer.update(s3.put_object(Bucket=VERSIONED, Key=name, Body=state.data())))
        if good:
            at = (name, answer["VersionId"])
            self.versions.there[at] = state
            self.versions.fresh.add(at)
        return good

    def boto(self, request) -> bool:
        try:
            request(self.tools.s3)
            return True
        except (ClientError, BotoCoreError):
            return False

    def multipart(self, name: str, state: State) -> bool:
        whole = state.data()

        def send(s3) -> None:
            upload = s3.create_multipart_upload(Bucket=PLAIN, Key=name)["UploadId"]
            at, parts = {"Bucket": PLAIN, "Key": name, "UploadId": upload}, []
            for number, piece in ((1, whole[:PART_BYTES]), (2, whole[PART_BYTES:])):
                tag = s3.upload_part(**at, PartNumber=number, Body=piece)["ETag"]
                parts.append({"PartNumber": number, "ETag": tag})
            s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})

        return self.boto(send)

    def from_file(self, name: str, state: State, aws: bool) -> bool:
        path = self.tools.work / f"upload-{self.number}"
        path.write_bytes(state.data())
        to = f"s3://{PLAIN}/{name}"
        if aws:
            return self.tools.program(self.tools.aws, "--endpoint-url", self.tools.endpoint, "s3", "cp", "--quiet",
                                      path, to)
        return self.tools.program(*self.s5("cp", "-p", "5", path, to))

    def s5(self, *words: object) -> list[object]:
        return [self.tools.s5cmd, "--endpoint-url", self.tools.endpoint, "--retry-count", "0", *words]
