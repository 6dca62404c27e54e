"""`pressluft init DIR`: scaffold a fleet repo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import uuid4

import pygit2
import typer

from reconciler.cli.common import explained, out, stop

FILES = {
    "pressluft.yaml": """\
# Fleet-wide policy. Every field has a default; see docs/reference/fleet-repo.md.
apiVersion: pressluft/v1
kind: Fleet
metadata: {name: pressluft}
spec:
  backup_max_age: 1h
  drift_check_max_age: 15m
  overwrite_policy: block
""",
    "nodes/web-1.yaml": """\
apiVersion: pressluft/v1
kind: Node
metadata: {name: web-1, id: ID}
spec: {host: web-1.example.org, user: root}
""",
    "sites/acme/site.yaml": """\
apiVersion: pressluft/v1
kind: Site
metadata: {name: acme, id: ID}
spec: {display_name: Acme}
""",
    "sites/acme/environments/production.yaml": """\
apiVersion: pressluft/v1
kind: Environment
metadata: {name: production, id: ID}
spec:
  type: production
  node: web-1
  url: https://acme.example.org
  root: /srv/www/acme/production
  database: {name: acme, table_prefix: wp_}
  php: {fpm_service: php8.2-fpm, cli: php8.2}
""",
    "sites/acme/environments/staging.yaml": """\
apiVersion: pressluft/v1
kind: Environment
metadata: {name: staging, id: ID}
spec:
  type: staging
  node: web-1
  source: production
  url: https://staging.acme.example.org
  root: /srv/www/acme/staging
  database: {name: acme_staging, table_prefix: wp_}
  php: {fpm_service: php8.2-fpm, cli: php8.2}
""",
    "intents/acme/README.md": """\
One file here is one request. The shortest promotion:

    apiVersion: pressluft/v1
    kind: Promotion
    metadata: {name: spring-release}
    spec: {source: staging, target: production, reason: New checkout theme}
""",
}


@explained
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
) -> None:
    """Scaffold a fleet repo with an example site, committed on branch main.

    Example: pressluft init ~/fleet
    """
    if directory.exists() and any(directory.iterdir()):
        stop(f"{directory} is not empty; choose a new folder")
    repo = pygit2.init_repository(str(directory), initial_head="main")
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fill_ids(text))
    repo.index.add_all()
    repo.index.write()
    author = find_author(repo)
    repo.create_commit("HEAD", author, author, "Scaffold the fleet", repo.index.write_tree(), [])
    out.print(
        f"{directory} is a fleet repo. Edit nodes/ and sites/, then: pressluft check {directory}",
        markup=False,
    )


def fill_ids(text: str) -> str:
    """Give each document an id of its own."""
    return text.replace("id: ID", f"id: {uuid4()}")


def find_author(repo: pygit2.Repository) -> pygit2.Signature:
    """Return the person git knows, else the program's name."""
    try:
        return repo.default_signature
    except (KeyError, pygit2.GitError):
        return pygit2.Signature("pressluft", "pressluft@localhost")
