"""A whole Pressluft on three hosts: production on one node, staging on another, the daemon on a third."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.daemon import Daemon
from reconciler.demo.fleet import identify, make_documents, run_git
from reconciler.stack.node_config import write_node_config
from reconciler.stack.site import Page, Site, create_empty_site, create_site, seed_content
from reconciler.stack.sshd import Sshd
from reconciler.stack.stack import Stack
from schemas.document import dump
from schemas.fleet import Environment, Node, NodeSpec
from tests.e2e.hosts import Cable, Host, make_cables, make_hosts
from tests.e2e.world import World, make_settings
from tests.light_wordpress import fetch_light_wordpress


def ignore(_line: str) -> None:
    """Drop a line of progress."""


@dataclass
class FarNode:
    """A node with all its servers, and the cable to it."""

    host: Host
    cable: Cable
    stack: Stack
    sshd: Sshd
    state_dir: Path

    def fetch(self, site: Site, path: str = "/", *, form: Mapping[str, str] | None = None) -> Page:
        """Ask a site as its node's own visitors do."""
        return self.host.do(lambda: site.fetch(path, form=form))


@dataclass
class FarWorld(World):
    """The world whose daemon is on a host of its own."""

    controller: Host | None = None
    here: FarNode | None = None
    there: FarNode | None = None

    def run_daemon(self) -> None:
        """Run a daemon on the controller until nothing is left to do."""
        assert self.controller is not None
        self.controller.do(lambda: Daemon(self.settings).run_once())

    @property
    def target(self) -> FarNode:
        """Production's node."""
        assert self.here is not None
        return self.here

    @property
    def origin(self) -> FarNode:
        """Staging's node."""
        assert self.there is not None
        return self.there

    def show(self, path: str = "/") -> Page:
        """A page of production."""
        return self.target.fetch(self.production, path)

    def show_staging(self, path: str = "/") -> Page:
        """A page of staging."""
        return self.origin.fetch(self.staging, path)


@contextmanager
def make_far_world(folder: Path, *, python: str = sys.executable) -> Iterator[FarWorld]:
    """Make it; staging is still empty. The nodes run everything with `python`."""
    folder.mkdir(mode=0o711)
    with ExitStack() as stack:
        controller, *nodes = stack.enter_context(make_hosts("c", "p", "s"))
        cables = stack.enter_context(make_cables(controller, *nodes))
        here, there = (
            stack.enter_context(make_node(folder, host, cable, name=name))
            for host, cable, name in zip(nodes, cables, ("p", "s"), strict=True)
        )
        production = here.host.do(lambda: create_site(here.stack, "production", host="127.0.0.1"))
        here.host.do(lambda: seed_content(production, posts=40, comments=60, uploads=6))
        here.fetch(production)  # the first visit makes WordPress write its widgets' options
        staging = there.host.do(lambda: create_empty_site(there.stack, "staging", host="127.0.0.2"))
        repo = make_fleet(folder, production=(production, here), staging=(staging, there), python=python)
        trust_both(here, there)
        settings = make_settings(folder, repo=repo, node_config=folder / "node-config", sshd=here.sshd)
        yield FarWorld(folder, production, staging, settings, controller=controller, here=here, there=there)


@contextmanager
def make_node(folder: Path, host: Host, cable: Cable, *, name: str) -> Iterator[FarNode]:
    """Start a node's servers on its host; its state and configuration lie where the other node's lie, too."""
    own = folder / name
    own.mkdir(mode=0o711)
    (own / "state").mkdir(mode=0o700)
    (own / "config").mkdir(mode=0o700)
    host.bind(own / "state", at=folder / "node-state")
    host.bind(own / "config", at=folder / "node-config")
    servers = Stack(own / "stack", report=ignore, wordpress=fetch_light_wordpress())
    sshd = host.do(lambda: Sshd(own / "sshd", report=ignore, host=cable.address))
    host.do(servers.start)
    try:
        host.do(sshd.start)
        host.do(lambda: write_config(servers, folder / "node-config", own / "restic"))
        yield FarNode(host, cable, servers, sshd, own / "state")
    finally:
        host.do(sshd.stop)
        host.do(servers.stop)


def write_config(servers: Stack, folder: Path, restic: Path) -> None:
    """Tell the node where its servers are, and make its storage for backups."""
    write_node_config(servers, folder, restic_repository=restic)
    command = ["restic", "--repo", str(restic), "--password-file", str(folder / "restic.password"), "init"]
    subprocess.run(command, check=True, capture_output=True)


def trust_both(here: FarNode, there: FarNode) -> None:
    """Let one key of the controller's into both nodes, and know both nodes' keys."""
    there.sshd.known_hosts.with_name("authorized_keys").write_text(
        here.sshd.client_key.with_suffix(".pub").read_text()
    )
    with here.sshd.known_hosts.open("a") as known:
        known.write(there.sshd.known_hosts.read_text())
    there.sshd.client_key.unlink()


def make_fleet(
    folder: Path, *, production: tuple[Site, FarNode], staging: tuple[Site, FarNode], python: str
) -> Path:
    """Create the bare fleet repo with production and staging on different nodes."""
    bare, clone = folder / "fleet.git", folder / "clone"
    run_git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    run_git("clone", "--quiet", str(bare), str(clone))
    specs = {
        name: NodeSpec(
            host=node.sshd.host, port=node.sshd.port, user=node.sshd.user, python_interpreter=python
        )
        for name, (_site, node) in {"local": production, "second": staging}.items()
    }
    documents = make_documents(production=production[0], staging=staging[0], node=specs["local"])
    documents["nodes/second.yaml"] = Node(metadata=identify("second"), spec=specs["second"])
    path = "sites/acme/environments/staging.yaml"
    copy = documents[path]
    assert isinstance(copy, Environment)
    documents[path] = copy.model_copy(update={"spec": copy.spec.model_copy(update={"node": "second"})})
    for name, document in documents.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes(dump(document))
    run_git("add", "--all", folder=clone)
    run_git("commit", "--quiet", "--message", "Describe the fleet: acme on two nodes", folder=clone)
    run_git("push", "--quiet", "origin", "HEAD:main", folder=clone)
    shutil.rmtree(clone)
    return bare
