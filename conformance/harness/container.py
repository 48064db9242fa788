"""The image as a container over six volumes: not root, nothing writable but those, healthy by its own check."""
from __future__ import annotations

import json
import os
import subprocess
import time

from harness.cache import Failed, say
from harness.server import PROFILE, account, ports

IMAGE = os.environ.get("DATAMESH_IMAGE", "datamesh")
VOLUMES = ["/data/1", "/data/2", "/data/3", "/data/4", "/data/5", "/data/6", "/keys"]
HEALTHY_S_MAX = 120
DOCKER_S_MAX = 120
USER = "10001"


def docker(*words: str) -> str:
    """What docker said; Failed with its complaint."""
    try:
        done = subprocess.run(["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DOCKER_S_MAX)
    except FileNotFoundError:
        raise Failed("docker is not installed on this machine") from None
    if done.returncode:
        raise Failed(f"docker {' '.join(words[:2])}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


class Container:
    """A context manager over `docker run`, as hardened as compose.yaml has it. On the host's network, so that
    it works where docker may not build bridges."""

    def __enter__(self) -> "Container":
        port, admin = ports(2)
        self.endpoint, self.admin = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
        volumes = [word for path in VOLUMES for word in ("--volume", path)]
        self.id = docker(
            "run", "--detach", "--network", "host", "--read-only", "--cap-drop", "ALL", "--security-opt",
            "no-new-privileges:true", *volumes, "--volume", f"{PROFILE}:/etc/datamesh.toml:ro",
            "--env", "DATAMESH_CONFIG=/etc/datamesh.toml", "--env", f"DATAMESH_LISTEN=127.0.0.1:{port}",
            "--env", f"DATAMESH_ADMIN_LISTEN=127.0.0.1:{admin}", IMAGE)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline, state = time.monotonic() + HEALTHY_S_MAX, {}
        while time.monotonic() < deadline:
            state = json.loads(docker("inspect", "--format", "{{json .State}}", self.id))
            if state["Status"] != "running":
                raise Failed(f"the container ended with {state['ExitCode']}:\n{self.log_tail()}")
            if state["Health"]["Status"] == "healthy":
                return self._not_root()
            time.sleep(0.5)
        raise Failed(f"not healthy after {HEALTHY_S_MAX} s: {state.get('Health')}\n{self.log_tail()}")

    def _not_root(self) -> None:
        uid = docker("exec", self.id, "cat", "/proc/1/status").partition("Uid:")[2].split()[:3]
        if uid != [USER] * 3:
            raise Failed(f"the server runs as {uid} in its container")
        say(f"   container {self.id[:12]} of {IMAGE} is healthy; its server runs as {USER}")

    def alive(self) -> bool:
        return docker("inspect", "--format", "{{.State.Health.Status}}", self.id) == "healthy"

    def log_tail(self, lines: int = 40) -> str:
        done = subprocess.run(["docker", "logs", "--tail", str(lines), self.id], capture_output=True, text=True)
        return done.stderr[-8000:]

    def stop(self) -> None:
        """SIGTERM, waited out; the volumes go too."""
        docker("stop", "--time", "60", self.id)
        if (code := docker("inspect", "--format", "{{.State.ExitCode}}", self.id)) != "0":
            say(f"!! the container ended with {code}:\n{self.log_tail()}")
        docker("rm", "--volumes", self.id)

    def environment(self) -> dict[str, str]:
        keys = account("main")
        return {"S3_ENDPOINT": self.endpoint, "S3_ADMIN": self.admin, "S3_REGION": "us-east-1",
                "S3_ACCESS_KEY": keys["access_key"], "S3_SECRET_KEY": keys["secret_key"]}
