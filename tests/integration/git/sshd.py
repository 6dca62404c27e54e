"""A real sshd on loopback for git, with one user key and one host key."""

from __future__ import annotations

import getpass
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Sshd:
    """Where the server listens, and the files with which it is reached."""

    port: int
    user: str
    key: Path
    known_hosts: Path

    def url(self, path: Path) -> str:
        """Return the ssh URL of a repository on this machine."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"


def make_key(path: Path) -> Path:
    """Make an ed25519 key without a passphrase; returns the private one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)
    return path


@pytest.fixture(scope="session")
def sshd(session_folder: Path) -> Iterator[Sshd]:
    """One sshd for all tests of a folder."""
    folder = Path(tempfile.mkdtemp(prefix="git-sshd-", dir=session_folder))
    host_key, user_key = make_key(folder / "host"), make_key(folder / "user")
    port = _find_free_port()
    Path("/run/sshd").mkdir(exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {user_key}.pub\nUsePAM no\n"
        "StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\n"
        "MaxStartups 100\n"
        # The default key exchange takes twice the time; a shell that thinks it is nested reads no start-up files.
        "KexAlgorithms curve25519-sha256\nSetEnv SHLVL=2\n"
        "AcceptEnv GIT_PROTOCOL\n"
    )
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {host_key.with_suffix('.pub').read_text()}")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=log)
    try:
        _wait_until_it_listens(port, server)
        yield Sshd(port=port, user=getpass.getuser(), key=user_key, known_hosts=known_hosts)
    finally:
        server.terminate()
        server.wait()


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(port: int, server: subprocess.Popen[bytes]) -> None:
    for _attempt in range(200):
        assert server.poll() is None, "sshd ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("sshd does not listen")
