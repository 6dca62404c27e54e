"""A private sshd for the account we run as: for nodes and git remotes over SSH."""

import getpass
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.stack.account import find_own_account, make_folder, write_file
from reconciler.stack.command import Report, run_command
from reconciler.stack.ports import LOOPBACK, find_free_port, find_open_port
from reconciler.stack.process import Lifetime, ServerCommand, ServerProcess, start_server

# Compiled into sshd; only root's sshd separates its privileges and needs it.
_PRIVILEGE_SEPARATION_FOLDER = Path("/run/sshd")


class Sshd:
    """One sshd on a loopback port, or on another address of this machine's, with keys of its own in `folder`.

    A context manager.
    """

    def __init__(
        self, folder: Path, *, report: Report, lifetime: Lifetime = Lifetime.CALLER, host: str = LOOPBACK
    ) -> None:
        self._folder = folder
        self._report = report
        self._lifetime = lifetime
        self._process: ServerProcess | None = None
        self.host = host
        self.port = find_free_port(host)
        self.user = getpass.getuser()
        self.client_key = folder / "client_key"
        """The private key that is let in."""
        self.known_hosts = folder / "known_hosts"
        """Holds the server's host key, for strict checking."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ssh_options(self) -> list[str]:
        """Options of `ssh` that use our key and host key and nothing of the user's own; without a destination."""
        return [
            *("-F", "none", "-i", str(self.client_key), "-p", str(self.port)),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}"),
        ]

    @property
    def git_ssh_command(self) -> str:
        """A value for GIT_SSH_COMMAND."""
        return " ".join(["ssh", *self.ssh_options])

    def make_git_url(self, path: Path) -> str:
        """Return the ssh:// address of a repository on this machine."""
        return f"ssh://{self.user}@{self.host}:{self.port}{path}"

    def start(self) -> None:
        """Start sshd; returns once it accepts connections. Keys are made at the first start and stay."""
        make_folder(self._folder, mode=0o700)
        if os.geteuid() == 0:
            _PRIVILEGE_SEPARATION_FOLDER.mkdir(mode=0o755, exist_ok=True)
        self._write_keys()
        config = write_file(self._folder / "sshd_config", _make_config(self._folder, self.host, self.port))
        self._process = start_server(
            ServerCommand(
                name="sshd",
                argv=["sshd", "-D", "-e", "-f", config],
                log=self._folder / "sshd.log",
                account=find_own_account(),
                lifetime=self._lifetime,
            )
        )
        self._process.wait_until(lambda: find_open_port(self.port, self.host), timeout=20)
        self._report(f"sshd runs on {self.host}:{self.port}")

    def stop(self) -> None:
        """Stop sshd and end its connections; does nothing when it does not run."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _write_keys(self) -> None:
        for name in ("host_key", "client_key"):
            key = self._folder / name
            if not key.exists():
                run_command(
                    ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"pressluft {name}", "-f", key]
                )
        host_key = (self._folder / "host_key.pub").read_text(encoding="ascii")
        write_file(self.known_hosts, f"[{self.host}]:{self.port} {host_key}")
        client_key = (self._folder / "client_key.pub").read_text(encoding="ascii")
        write_file(self._folder / "authorized_keys", client_key, mode=0o600)


def _make_config(folder: Path, host: str, port: int) -> str:
    # StrictModes: the folder may lie below /tmp, which others can write to.
    return f"""ListenAddress {host}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
MaxStartups 100
MaxSessions 50
Subsystem sftp internal-sftp
"""
