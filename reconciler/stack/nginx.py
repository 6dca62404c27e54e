"""A private nginx: one port for each site, all temporary paths in its own folder."""

import signal
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.stack.account import Account, check_reachable, find_account, make_folder, write_file
from reconciler.stack.command import Report, StackError
from reconciler.stack.ports import find_free_port, find_open_port
from reconciler.stack.process import Lifetime, ServerCommand, ServerProcess, start_server

_FASTCGI_PARAMS = Path("/etc/nginx/fastcgi_params")
_MIME_TYPES = Path("/etc/nginx/mime.types")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class VirtualHost:
    """One site as nginx sees it: an address, a document root, and a page cache if `cache_path` names a folder."""

    name: str
    host: str
    port: int
    document_root: Path
    cache_path: Path | None = None


class Nginx:
    """One nginx in `folder`, as the web server's account, in front of the PHP-FPM that listens on `fpm_socket`."""

    def __init__(
        self, folder: Path, *, fpm_socket: Path, report: Report, lifetime: Lifetime = Lifetime.CALLER
    ) -> None:
        self._folder = folder
        self._fpm_socket = fpm_socket
        self._report = report
        self._lifetime = lifetime
        self._account = find_account("www-data")
        self._process: ServerProcess | None = None
        # nginx ends at once without a listener; this one also tells when it is ready.
        self._idle_port = find_free_port()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def account(self) -> Account:
        """Who nginx and PHP run as, so who must be able to read the sites and to write their uploads."""
        return self._account

    def start(self) -> None:
        """Start nginx with the sites it has; returns once it accepts connections."""
        check_reachable(self._folder)
        make_folder(self._folder, owner=self._account)
        for name in ("log", "sites", *_TEMPORARY):
            make_folder(self._folder / name, owner=self._account)
        config = write_file(self._folder / "nginx.conf", _make_config(self._folder, self._idle_port))
        self._process = start_server(
            ServerCommand(
                name="nginx",
                argv=["nginx", "-e", self._folder / "log" / "error.log", "-c", config],
                log=self._folder / "log" / "nginx.log",
                account=self._account,
                lifetime=self._lifetime,
            )
        )
        self._process.wait_until(lambda: find_open_port(self._idle_port), timeout=20)
        self._report("nginx runs")

    def stop(self) -> None:
        """Stop nginx; does nothing when it does not run."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def serve(self, site: VirtualHost) -> None:
        """Serve one more site; returns once its port is open. The document root may not exist yet: then 404."""
        if self._process is None:
            raise StackError("nginx does not run")
        if site.cache_path is not None:
            make_folder(site.cache_path, owner=self._account)
        write_file(self._folder / "sites" / f"{site.name}.conf", _make_site_config(site, self._fpm_socket))
        self._process.send(signal.SIGHUP)
        self._process.wait_until(lambda: find_open_port(site.port, site.host), timeout=20)

    def drop(self, name: str) -> None:
        """Stop serving the site `name`; does nothing if it was not served."""
        (self._folder / "sites" / f"{name}.conf").unlink(missing_ok=True)
        if self._process is not None:
            self._process.send(signal.SIGHUP)

    def read_error_log(self) -> str:
        """Return what nginx has complained about since it first started."""
        return (self._folder / "log" / "error.log").read_text(encoding="utf-8", errors="replace")


def _make_config(folder: Path, idle_port: int) -> str:
    temporary = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in _TEMPORARY)
    return f"""daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    include {_MIME_TYPES};
    default_type application/octet-stream;
    access_log {folder}/log/access.log;
{temporary}
    client_max_body_size 64m;
    server {{ listen 127.0.0.1:{idle_port}; return 204; }}
    include {folder}/sites/*.conf;
}}
"""


def _make_site_config(site: VirtualHost, fpm_socket: Path) -> str:
    # $realpath_root: PHP and OPcache see the release, not the link, so a switch never mixes two releases.
    # HTTP_HOST: Debian's parameters leave out the port, and WordPress would redirect to itself for ever.
    zone, use = _make_cache_config(site)
    return f"""{zone}server {{
    listen {site.host}:{site.port};
    server_name _;
    root {site.document_root};
    index index.php;
    location / {{ try_files $uri $uri/ /index.php?$args; }}
    location ~ \\.php$ {{
        try_files $uri =404;
        include {_FASTCGI_PARAMS};
        fastcgi_param HTTP_HOST $host:$server_port;
        fastcgi_param DOCUMENT_ROOT $realpath_root;
        fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
        fastcgi_pass unix:{fpm_socket};
{use}    }}
    location ~ /\\. {{ deny all; }}
}}
"""


def _make_cache_config(site: VirtualHost) -> tuple[str, str]:
    if site.cache_path is None:
        return "", ""
    zone = f"fastcgi_cache_path {site.cache_path} levels=1:2 keys_zone={site.name}:1m inactive=1h;\n"
    use = f"""        fastcgi_cache {site.name};
        fastcgi_cache_key $scheme$request_method$host$server_port$request_uri;
        fastcgi_cache_valid 200 10m;
        fastcgi_cache_bypass $http_cookie;
        fastcgi_no_cache $http_cookie;
        add_header X-Cache $upstream_cache_status always;
"""
    return zone, use
