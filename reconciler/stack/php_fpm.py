"""A private PHP-FPM: one pool on a Unix socket, OPcache on, reloaded through its pid file."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.stack.account import check_reachable, find_account, make_folder, write_file
from reconciler.stack.command import Report, StackError
from reconciler.stack.packages import find_php_fpm
from reconciler.stack.process import Lifetime, ServerCommand, ServerProcess, start_server

# An edited file is seen by the next request; a server in earnest would look every 2 s or never.
DEFAULT_SETTINGS: Mapping[str, str] = {
    "opcache.enable": "1",
    "opcache.validate_timestamps": "1",
    "opcache.revalidate_freq": "0",
    "opcache.memory_consumption": "96",
    "memory_limit": "192M",
    "display_errors": "0",
    "sendmail_path": "/bin/true",
}


class PhpFpm:
    """One PHP-FPM in `folder`, as the web server's account. `settings` go over DEFAULT_SETTINGS (php.ini names)."""

    def __init__(
        self,
        folder: Path,
        *,
        report: Report,
        settings: Mapping[str, str] | None = None,
        lifetime: Lifetime = Lifetime.CALLER,
    ) -> None:
        self._folder = folder
        self._report = report
        self._settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self._lifetime = lifetime
        self._account = find_account("www-data")
        self._process: ServerProcess | None = None
        self.socket = folder / "php-fpm.sock"
        self.pid_file = folder / "php-fpm.pid"
        """What an Environment's `php.fpm_service` may name: SIGUSR2 to this process reloads PHP."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start PHP-FPM; returns once its socket is there."""
        program = find_php_fpm()
        if program is None:
            raise StackError("PHP-FPM is not installed; run `make packages`")
        check_reachable(self._folder)
        make_folder(self._folder, owner=self._account)
        log = make_folder(self._folder / "log", owner=self._account)
        for remnant in (self.socket, self.pid_file):
            remnant.unlink(missing_ok=True)
        config = write_file(self._folder / "php-fpm.conf", _make_config(self._folder, log))
        settings = [word for name, value in self._settings.items() for word in ("-d", f"{name}={value}")]
        self._process = start_server(
            ServerCommand(
                name="php-fpm",
                argv=[program, "-F", "-y", config, *settings],
                log=log / "php-fpm.log",
                account=self._account,
                lifetime=self._lifetime,
            )
        )
        self._process.wait_until(self._is_ready, timeout=20)
        self._report(f"PHP-FPM runs on {self.socket}")

    def _is_ready(self) -> bool:
        return self.socket.exists() and self.pid_file.exists()

    def reload(self) -> None:
        """Start the workers anew, with an empty OPcache; requests in flight are finished first."""
        os.kill(int(self.pid_file.read_text(encoding="ascii")), signal.SIGUSR2)

    def stop(self) -> None:
        """Stop PHP-FPM; does nothing when it does not run."""
        if self._process is not None:
            self._process.stop()
            self._process = None


def _make_config(folder: Path, log: Path) -> str:
    return f"""[global]
pid = {folder}/php-fpm.pid
error_log = {log}/error.log
process_control_timeout = 10s
daemonize = no

[www]
listen = {folder}/php-fpm.sock
listen.mode = 0660
listen.backlog = 511
pm = static
pm.max_children = 4
pm.max_requests = 500
request_terminate_timeout = 60s
catch_workers_output = yes
clear_env = yes
php_admin_value[error_log] = {log}/php.log
php_admin_flag[log_errors] = on
"""
