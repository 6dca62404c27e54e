"""A real site as most people have it: one folder, served by nginx and PHP-FPM by its path, no releases anywhere."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from reconciler.stack.nginx import VirtualHost
from reconciler.stack.site import Site


def make_plain(site: Site, *, variable: str = "$document_root") -> Path:
    """Put a site's release and what it shares together in one folder beside its root, which goes; returns it.

    nginx hands scripts to PHP by `variable`: Debian's own configuration does by `$document_root`, so that PHP
    remembers files by the docroot's path.
    """
    plain, release = site.root.with_name(f"html_{site.name}"), Path(os.path.realpath(site.current))
    for name in ("wp-content/uploads", "wp-config.php"):
        (release / name).unlink()
        (site.root / "shared" / name).rename(release / name)
    release.rename(plain)
    shutil.rmtree(site.root)
    host = VirtualHost(name=site.name, host=site.host, port=site.port, document_root=plain)
    site.stack.nginx.serve(host)
    folder = site.stack.folder / "nginx"
    config = folder / "sites" / f"{site.name}.conf"
    config.write_text(config.read_text().replace("$realpath_root", variable))
    os.kill(int((folder / "nginx.pid").read_text()), signal.SIGHUP)
    site.fetch("/")
    return plain
