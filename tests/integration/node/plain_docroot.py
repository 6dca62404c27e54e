"""A plain docroot as most people have it, a web server that serves it, and a PHP-FPM that can only be reloaded."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible_collections.pressluft.wordpress.plugins.module_utils.adopt import adopt
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import Call
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    Job,
    make_environment,
)

from reconciler.stack.ports import find_free_port

CONFIG = """<?php
define( 'DB_NAME', 'shop' );
if ( ! defined( 'ABSPATH' ) ) {
	define( 'ABSPATH', __DIR__ . '/' );
}
require_once ABSPATH . 'wp-settings.php';
"""
FILES = {
    "index.php": "<?php // the front page",
    "wp-load.php": "<?php",
    "wp-settings.php": "<?php",
    "wp-admin/index.php": "<?php",
    "wp-includes/version.php": "<?php $wp_version = '7.1';",
    "wp-config.php": CONFIG,
    ".htaccess": "# nothing",
    "robots.txt": "User-agent: *",
    "wp-content/index.php": "<?php",
    "wp-content/object-cache.php": "<?php require __DIR__ . '/plugins/cache/drop-in.php';",
    "wp-content/plugins/cache/drop-in.php": "<?php",
    "wp-content/uploads/2026/01/photo.jpg": "a photo",
    "wp-content/uploads/price list.txt": "1 EUR",
}
SHARED = ("robots.txt", "wp-config.php", "wp-content/uploads")
PROTECTION = {
    "protected_paths": ["wp-content/uploads"],
    "preserved_files": ["wp-config.php", ".env", "wp-content/object-cache.php", "robots.txt"],
}
Photo = dict[str, tuple[object, ...]]


@dataclass
class Docroot:
    """One docroot, and the environment that it is or was adopted into."""

    folder: Path
    path: Path
    environment: Environment
    protection: dict[str, Any] = field(default_factory=lambda: dict(PROTECTION))

    @property
    def root(self) -> Path:
        return Path(self.environment.root)

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def call(self, *, check_mode: bool = False, **request: Any) -> Call:
        """What the module is given by one run of the command."""
        return Call(
            job=Job(str(uuid4()), 1, "env_adopt", "adopt"),
            state_dir=str(self.state_dir),
            config_dir=str(self.folder / "config"),
            production=None,
            source=None,
            environment=self.environment,
            protection=self.protection,
            request=request,
            check_mode=check_mode,
        )

    def adopt(self, on_step: Callable[[str], None] | None = None, **given: Any) -> dict[str, Any]:
        """Adopt it, or foresee that with `check_mode`."""
        return dict(adopt(self.call(**{"docroot": str(self.path), **given}), on_step=on_step))

    def undo(self, on_step: Callable[[str], None] | None = None, **given: Any) -> dict[str, Any]:
        """Undo it."""
        return self.adopt(on_step, undo=True, **given)

    def photo(self) -> Photo:
        """All that is found from the docroot's path on, links to `shared` followed: files with all that they are."""
        return {
            name[len(str(self.path)) + 1 :]: describe(name)
            for folder, folders, files in os.walk(self.path, followlinks=True)
            for name in (f"{folder}/{name}" for name in [*folders, *files])
        }

    def list_all(self) -> set[str]:
        """Every name below the folder that holds docroot and root, what links lead to left out."""
        return {
            os.path.relpath(f"{folder}/{name}", self.folder / "srv")
            for folder, folders, files in os.walk(self.folder / "srv")
            for name in [*folders, *files]
        }

    def assert_adopted(self) -> None:
        """The docroot leads to the release, which holds nothing that is shared."""
        assert self.path.readlink() == self.root / "current"
        release = Path(os.path.realpath(self.root / "current"))
        assert release.parent == self.root / "releases"
        assert {path.name for path in self.root.iterdir()} == {"current", "releases", "shared"}
        assert {path.name for path in release.parent.iterdir()} == {release.name}
        for name in SHARED:
            assert (release / name).is_symlink(), name
            assert Path(os.path.realpath(release / name)) == self.root / "shared" / name
            assert not (self.root / "shared" / name).is_symlink(), name
        assert [name for name in self.list_all() if "pressluft-" in name] == []


def describe(path: str) -> tuple[object, ...]:
    """Owner and mode of a folder; of a file its inode, times and content too."""
    found = Path(path).stat()
    common = (found.st_mode, found.st_uid, found.st_gid)
    if Path(path).is_dir():
        return common
    return (*common, found.st_ino, found.st_mtime_ns, Path(path).read_bytes())


def make_files(path: Path) -> None:
    """Write a WordPress, as far as anybody looks at it; some of it belongs to the web server's user."""
    for name, text in FILES.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.utime(file, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    (path / "wp-config.php").chmod(0o640)
    (path / "wp-content/uploads").chmod(0o775)
    if os.geteuid() == 0:
        for file in (path / "wp-content/uploads", path / "wp-content/uploads/2026", path / "wp-config.php"):
            os.chown(file, 33, 33)


@contextmanager
def make_docroot(folder: Path) -> Iterator[Docroot]:
    """A docroot that is served, beside an environment's root that does not exist yet."""
    path = folder / "srv/html"
    make_files(path)
    with serve(path) as server, run_php_fpm(folder) as pid_file:
        environment = make_environment(
            {
                "id": str(uuid4()),
                "name": "production",
                "type": "production",
                "url": server,
                "root": str(folder / "srv/acme/production"),
                "database": {"name": "shop", "table_prefix": "wp_"},
                "php": {"fpm_service": str(pid_file)},
            }
        )
        yield Docroot(folder, path, environment)


@contextmanager
def serve(path: Path) -> Iterator[str]:
    """Serve a folder as a web server does that runs no PHP: by its path, anew for each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.partition("?")[0].lstrip("/") or "index.php"
            try:
                body, status = (path / name).read_bytes(), 200
            except OSError:
                body, status = b"", 404
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def run_php_fpm(folder: Path) -> Iterator[Path]:
    """A process of that name that takes the signal to reload; yields its pid file."""
    program = folder / "php-fpm"
    program.write_text("#!/bin/sh\ntrap : USR2\necho ready\nwhile read -r _; do :; done\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pid_file = folder / "php-fpm.pid"
        pid_file.write_text(str(process.pid))
        try:
            yield pid_file
        finally:
            process.kill()


@contextmanager
def run_php(path: Path, setting: str) -> Iterator[str]:
    """Serve a folder by PHP's own server, with one setting of php.ini; yields its address."""
    port = find_free_port("127.0.0.1")
    words = ["php", "-d", setting, "-S", f"127.0.0.1:{port}", "-t", str(path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("started" in line for line in process.stderr)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
