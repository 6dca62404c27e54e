"""What this machine has and lacks: programs, Ansible, keys, the clock, the fleet repo."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from reconciler.adapters.git_repo import GitFleetRepo
from reconciler.adapters.process import ProgramTimedOut, run_program
from reconciler.adapters.signing import sign_payload
from reconciler.daemon import SystemClock, open_repo
from reconciler.errors import PressluftError
from reconciler.ports import Branch
from reconciler.service import Service
from reconciler.settings import Settings, find_bundled
from schemas.fleet import Environment, Node
from schemas.observation import Finding
from schemas.state import FindingState

OLDEST_GIT: Final = (2, 31)
"""The first whose `git maintenance` knows a schedule and whose `%(trailers)` formats are as we read them."""
SECONDS: Final = 10.0
PROGRAMS: Final = {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
SECRETS: Final = ("ssh_key", "signing_key", "admin_password_hash", "webhook_secret", "api_tokens")


def find(name: str, detail: str, *, state: FindingState = FindingState.OK, remedy: str = "") -> Finding:
    """Make a finding; what is there needs no remedy."""
    return Finding(name=name, state=state, detail=detail, remedy=remedy)


def miss(name: str, detail: str, *, remedy: str) -> Finding:
    """Make the finding of something that Pressluft does not work without."""
    return find(name, detail, state=FindingState.MISSING, remedy=remedy)


def warn(name: str, detail: str, *, remedy: str) -> Finding:
    """Make the finding of something that works without, or that could not be told."""
    return find(name, detail, state=FindingState.WARNING, remedy=remedy)


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Look at everything but the fleet repo."""
    yield find("python", f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}")
    yield examine_git()
    for name, package in PROGRAMS.items():
        path = shutil.which(name)
        yield find(name, path) if path else miss(name, "not installed", remedy=f"apt install {package}")
    yield from examine_ansible()
    yield from examine_secrets(settings)
    yield examine_known_hosts(settings)
    yield examine_signing(settings)
    yield examine_state_dir(settings.state_dir)
    yield examine_clock()


def ask(*command: str) -> str | None:
    """Return what a program prints, `None` where it is missing or fails."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        done = run_program(command, environment=environment, timeout=SECONDS)
    except (OSError, ProgramTimedOut):
        return None
    return done.text.strip() if done.code == 0 else None


def examine_git() -> Finding:
    """Git itself, and whether it is new enough."""
    said = ask("git", "--version")
    if said is None:
        return miss("git", "not installed", remedy="apt install git")
    numbers = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if numbers < OLDEST_GIT:
        return miss("git", said, remedy=f"install git {'.'.join(map(str, OLDEST_GIT))} or newer")
    return find("git", said)


def examine_ansible() -> Iterator[Finding]:
    """Ansible in this Python's own environment, and the playbooks that come with Pressluft."""
    for package in ("ansible-core", "ansible-runner"):
        try:
            yield find(package, version(package))
        except PackageNotFoundError:
            yield miss(package, "not installed", remedy="install Pressluft anew, with its dependencies")
    program = Path(sys.executable).with_name("ansible-playbook")
    if not program.exists():
        yield miss("ansible-playbook", f"there is no {program}", remedy="install Pressluft anew")
    playbooks = find_bundled("ansible") / "playbooks"
    if not playbooks.is_dir():
        yield miss("playbooks", f"there is no {playbooks}", remedy="install Pressluft anew")


def examine_secrets(settings: Settings) -> Iterator[Finding]:
    """The files that hold secrets: there, readable by us, and by nobody else."""
    for name in SECRETS:
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        if not os.access(path, os.R_OK):
            yield miss(name, f"{path} is not there, or cannot be read", remedy=f"make it, or correct {name}")
        elif path.stat().st_mode & 0o077 and path.suffix != ".pub":
            yield miss(name, f"others may read {path}", remedy=f"chmod 600 {path}")
        else:
            yield find(name, str(path))


def examine_known_hosts(settings: Settings) -> Finding:
    """The file of host keys: a host that is not in it is refused."""
    path = settings.known_hosts
    if path is None:
        remedy = "collect the keys of nodes and git server in a file, and name it in known_hosts"
        return warn("known_hosts", "not set: ssh's own files count", remedy=remedy)
    if not os.access(path, os.R_OK):
        return miss("known_hosts", f"{path} cannot be read", remedy="make it with ssh-keyscan, and compare")
    return find("known_hosts", str(path))


def examine_signing(settings: Settings) -> Finding:
    """Whether the key for status commits signs."""
    if settings.signing_key is None:
        remedy = "ssh-keygen -t ed25519 -N '' -f signing-key, and name it in signing_key"
        return warn("signing", "signing_key is not set: status commits are not signed", remedy=remedy)
    try:
        sign_payload(b"a try", settings.signing_key)
    except PressluftError as error:
        return miss("signing", str(error), remedy="ssh-keygen -t ed25519 -N '' -f signing-key")
    return find("signing", "the key signs")


def examine_state_dir(path: Path) -> Finding:
    """Whether the controller's own folder can be written, or made."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return find("state_dir", str(path))
    return miss("state_dir", f"{there} cannot be written", remedy=f"install -d -m 700 -o USER {path}")


def examine_clock() -> Finding:
    """Whether the clock that gates are judged by is set by NTP, as far as this machine says."""
    said = ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if said == "yes":
        return find("clock", "set by NTP")
    detail = "is not set by NTP" if said == "no" else "nobody here can say whether it is set by NTP"
    return warn("clock", detail, remedy="timedatectl set-ntp true; a node that is 30 s off is refused")


def examine_repo(settings: Settings) -> tuple[list[Finding], dict[str, tuple[Node, list[Environment]]]]:
    """Look whether the fleet repo can be read and written; returns the nodes in it too, with their environments."""
    try:
        repo = open_repo(settings, purpose="cli")
    except PressluftError as error:
        return [miss("fleet repo", str(error), remedy="correct repo in the settings, or give --repo")], {}
    with repo:
        findings = list(try_repo(repo))
        if any(item.state is FindingState.MISSING for item in findings[:1]):
            return findings, {}
        return findings, list_nodes(repo)


def try_repo(repo: GitFleetRepo) -> Iterator[Finding]:
    """Read the branches, and rehearse a push to each."""
    try:
        tip = repo.fetch()
    except PressluftError as error:
        yield miss("fleet repo", str(error), remedy="correct repo, keys or token, and try again")
        return
    yield find("fleet repo", f"readable, at {(tip.intents or 'no commit yet')[:12]}")
    for branch in Branch:
        try:
            repo.rehearse_push(branch)
        except PressluftError as error:
            yield miss(
                f"push of {branch}", str(error), remedy="give this machine's key or token the right to push"
            )
        else:
            yield find(f"push of {branch}", "would be let in; hooks were not asked")


def list_nodes(repo: GitFleetRepo) -> dict[str, tuple[Node, list[Environment]]]:
    """List the nodes of the fleet with the environments on them."""
    service = Service(repo, SystemClock())
    environments = [entry.environment for entry in service.list_environments()]
    with service.reading() as index:
        nodes = index.documents.nodes
    return {
        name: (node, [env for env in environments if env.spec.node == name]) for name, node in nodes.items()
    }
