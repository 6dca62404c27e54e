"""S3-compatible storage of a test's own: rclone serving a folder, which refuses wrong keys."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from reconciler.stack.ports import LOOPBACK, find_free_port, find_open_port

BUCKET = "backups"
READY_SECONDS = 60


@dataclass
class S3Storage:
    """A server on the loopback interface while the context lasts; `write_keys` makes what node.ini names."""

    folder: Path
    port: int = field(default_factory=find_free_port)
    key_id: str = field(default_factory=lambda: "key" + secrets.token_hex(8))
    secret: str = field(default_factory=lambda: secrets.token_hex(20))
    _server: subprocess.Popen[bytes] | None = None

    @property
    def repository(self) -> str:
        """The location for restic."""
        return f"s3:http://{LOOPBACK}:{self.port}/{BUCKET}/site"

    def write_keys(self, path: Path, *, secret: str = "") -> None:
        """Write an environment_file with these keys, or with a wrong one."""
        path.write_text(f"AWS_ACCESS_KEY_ID={self.key_id}\nAWS_SECRET_ACCESS_KEY={secret or self.secret}\n")
        path.chmod(0o600)

    def __enter__(self) -> Self:
        (self.folder / BUCKET).mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve the folder, on the same port as before."""
        rclone = Path(sys.executable).parent / "rclone"
        self._server = subprocess.Popen(
            [rclone, "serve", "s3", "--addr", f"{LOOPBACK}:{self.port}", self.folder],
            env={
                "PATH": os.environ["PATH"],
                "RCLONE_CONFIG": os.devnull,
                "RCLONE_AUTH_KEY": f'"{self.key_id},{self.secret}"',  # a list of pairs, in the manner of CSV
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + READY_SECONDS
        while not find_open_port(self.port):
            assert self._server.poll() is None, "rclone ended at once"
            assert time.monotonic() < deadline, "rclone does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server; what is stored stays."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(READY_SECONDS)
            self._server = None
