"""Proof by plain means: checksums by `mariadb-dump` and `sha256sum`. Shares no code with the product."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from reconciler.stack.site import Site

PROTECTED_TABLES = (
    "posts", "postmeta", "terms", "term_taxonomy", "term_relationships", "comments", "commentmeta",
)  # fmt: skip


def take_evidence(site: Site) -> Mapping[str, str]:
    """Return a checksum for each protected table and for the uploads of a site.

    The next free number is left out: a server finds it anew when it starts.
    """
    sums = {
        f"table {name}": run_shell(
            'mariadb-dump --defaults-extra-file="$1" --skip-comments --order-by-primary --skip-extended-insert '
            "--hex-blob \"$2\" \"$3\" | sed 's/ AUTO_INCREMENT=[0-9]*//' | sha256sum",
            str(site.stack.mariadb.client_file), site.database_name, site.table_prefix + name,
        )
        for name in PROTECTED_TABLES
    }  # fmt: skip
    listing = 'cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum'
    return {**sums, "uploads": run_shell(listing, str(site.uploads))}


def count_traces(site: Site, text: str) -> int:
    """Count the lines of a whole dump of a site's database that contain a text."""
    found = run_shell(
        'mariadb-dump --defaults-extra-file="$1" --skip-comments --skip-extended-insert "$2" '
        '| { grep -cF -- "$3" || true; }',
        str(site.stack.mariadb.client_file),
        site.database_name,
        text,
    )
    return int(found)


def run_shell(script: str, *arguments: str) -> str:
    """Run a shell pipeline and return its output. Raises `CalledProcessError` if any part fails."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, "evidence", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
