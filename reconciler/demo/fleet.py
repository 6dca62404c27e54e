"""The demonstration's fleet repo: one local node, one site with production and staging."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid5

from reconciler.stack.site import Site
from schemas.document import dump
from schemas.fleet import (
    Database,
    Environment,
    EnvironmentSpec,
    Fleet,
    Health,
    Node,
    NodeSpec,
    Php,
    SiteSpec,
    WebServer,
)
from schemas.fleet import Site as SiteDocument
from schemas.model import IdentifiedMetadata, Metadata, Model
from schemas.state import EnvironmentType

SPACE = UUID("0d4f8c52-5f0b-4a53-8f0c-6b1f2f6f7d10")
GIT = ("git", "-c", "user.name=Olive Operator", "-c", "user.email=olive@example.test")


def make_fleet_repo(folder: Path, *, production: Site, staging: Site, node: NodeSpec | None = None) -> Path:
    """Create the bare repo with the first commit; returns its path. The node is this machine unless given."""
    bare, clone = folder / "fleet.git", folder / "clone"
    run_git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    run_git("clone", "--quiet", str(bare), str(clone))
    for name, document in make_documents(
        production=production, staging=staging, node=node or make_local_node()
    ).items():
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dump(document))
    run_git("add", "--all", folder=clone)
    run_git(
        "commit", "--quiet", "--message", "Describe the fleet: acme with production and staging", folder=clone
    )
    run_git("push", "--quiet", "origin", "HEAD:main", folder=clone)
    return bare


def run_git(*words: str, folder: Path | None = None) -> None:
    """Run git as the demonstration's operator. Raises `CalledProcessError`."""
    subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True)


def make_local_node() -> NodeSpec:
    """Describe this machine as a node that is reached without SSH."""
    return NodeSpec(host="localhost", python_interpreter=sys.executable)


def make_documents(*, production: Site, staging: Site, node: NodeSpec) -> dict[str, Model]:
    """Make all documents of the fleet by their paths."""
    return {
        "pressluft.yaml": Fleet(metadata=Metadata(name="pressluft")),
        "nodes/local.yaml": Node(metadata=identify("local"), spec=node),
        "sites/acme/site.yaml": SiteDocument(metadata=identify("acme"), spec=SiteSpec(display_name="Acme")),
        "sites/acme/environments/production.yaml": make_environment(production, EnvironmentType.PRODUCTION),
        "sites/acme/environments/staging.yaml": make_environment(staging, EnvironmentType.STAGING),
    }


def make_environment(site: Site, kind: EnvironmentType) -> Environment:
    """Describe a site of the stack as an environment."""
    return Environment(
        metadata=identify(kind.value),
        spec=EnvironmentSpec(
            type=kind,
            node="local",
            source=None if kind is EnvironmentType.PRODUCTION else "production",
            url=site.url,
            root=str(site.root),
            database=Database(name=site.database_name, table_prefix=site.table_prefix),
            php=Php(fpm_service=str(site.stack.php_fpm.pid_file), cli="php"),
            web_server=WebServer(cache_path=str(site.cache_path) if site.cache_path else None),
            health=Health.model_validate({"urls": ["/", "/wp-login.php"], "stable_for": "1s"}),
        ),
    )


def identify(name: str) -> IdentifiedMetadata:
    """Name a document and give it the same id each time."""
    return IdentifiedMetadata(name=name, id=uuid5(SPACE, name))
