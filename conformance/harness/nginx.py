"""nginx with TLS before a server: the block that docs/OPERATIONS.md shows is what runs, but for names and ports."""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from harness.cache import CACHE, ROOT, Failed, debian
from harness.server import Server, certificates, die_with_parent, ports

OPERATIONS = ROOT / "docs" / "OPERATIONS.md"
# What the server behind it must be told.
SETTINGS = 'trusted_proxies = ["127.0.0.1/32"]\ndomains = ["localhost"]'
READY_S_MAX = 20
END_S_MAX = 20


def documented() -> str:
    """The block of the manual that begins with ```nginx."""
    _, found, rest = OPERATIONS.read_text().partition("```nginx\n")
    if not found:
        raise Failed(f"{OPERATIONS} shows no nginx block")
    return rest.partition("```")[0]


class Nginx:
    """A context manager; `endpoint` is https on a port that the server does not know."""

    def __init__(self, server: Server) -> None:
        self.server, self.folder = server, server.folder / "nginx"
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Nginx":
        program = debian("nginx-light", "nginx")
        self.folder.mkdir()
        self.port, = ports(1)
        self.endpoint = f"https://127.0.0.1:{self.port}"
        config = self.folder / "nginx.conf"
        config.write_text(self._config())
        self.process = subprocess.Popen(
            [str(program), "-p", str(self.folder), "-c", str(config), "-e", str(self.folder / "error.log")],
            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def _config(self) -> str:
        block, pem = documented(), certificates()
        for shown, ours in (("server 127.0.0.1:9000", f"server 127.0.0.1:{self.server.port}"),
                            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
                            ("server_name s3.example.com *.s3.example.com", "server_name localhost *.localhost 127.0.0.1"),
                            ("/etc/nginx/s3.pem", str(pem / "cert.pem")), ("/etc/nginx/s3.key", str(pem / "key.pem"))):
            if block.count(shown) != 1:
                raise Failed(f"the nginx block of {OPERATIONS} has not one {shown!r}")
            block = block.replace(shown, ours)
        # The workers must reach the folder, which is ours alone; Debian's gzip setting is what a user has, too.
        user = "user root;\n" if os.geteuid() == 0 else ""
        kept = "".join(f"{kind}_temp_path {self.folder}/{kind};\n"
                       for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return (f"daemon off;\n{user}pid {self.folder}/nginx.pid;\nworker_processes 2;\n"
                f"events {{ worker_connections 4096; }}\nhttp {{\ngzip on;\naccess_log {self.folder}/access.log;\n{kept}{block}}}\n")

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failed(f"nginx does not listen:\n{self.log_tail()}")

    def alive(self) -> bool:
        """Both of them."""
        return self.process is not None and self.process.poll() is None and self.server.alive()

    def log_tail(self, lines: int = 20) -> str:
        log = self.folder / "error.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if log := self.log_tail():
            (CACHE / "nginx-error.log").write_text(log + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        ca: Path = certificates() / "ca.pem"
        return {**self.server.environment(), "S3_ENDPOINT": self.endpoint, "S3_CA_FILE": str(ca)}
