"""Putting the demonstration on its feet: servers, sites, fleet repo, backup storage, daemon and facade."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from argon2 import PasswordHasher
from rich.console import Console

from reconciler.demo.fleet import make_fleet_repo
from reconciler.demo.narrator import DemoFailed, Narrator
from reconciler.demo.story import Demo
from reconciler.stack.account import find_own_account
from reconciler.stack.node_config import write_node_config
from reconciler.stack.ports import find_free_port
from reconciler.stack.process import Lifetime, ServerCommand, ServerProcess, start_server
from reconciler.stack.site import create_empty_site, create_site, seed_content
from reconciler.stack.stack import Stack, find_stack_folder

START_SECONDS = 30


def run_demo(console: Console, *, keep: bool) -> None:
    """Run the whole demonstration. Raises `DemoFailed` or the stack's own errors."""
    folder = find_stack_folder("demo")
    lifetime = Lifetime.KEPT if keep else Lifetime.CALLER
    narrator = Narrator(console, environment={})
    narrator.scene("Private servers and two WordPress sites")
    stack = Stack(folder, report=narrator.say, lifetime=lifetime)
    stack.start()
    try:
        with prepare(stack, narrator, keep=keep) as demo:
            demo.tell()
            narrator.scene("Done")
            if keep:
                show_addresses(narrator, demo)
    except BaseException:
        stack.stop()
        raise
    if keep:
        stack.release()
    else:
        stack.stop()
        narrator.say("everything that was started is stopped")


@contextmanager
def prepare(stack: Stack, narrator: Narrator, *, keep: bool) -> Iterator[Demo]:
    """Make sites, repo and settings, start daemon and facade, and stop these two again unless kept."""
    work = stack.folder / "pressluft"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    production = create_site(stack, "production", cache_path=stack.folder / "cache" / "production")
    seed_content(production)
    staging = create_empty_site(stack, "staging")
    fleet = make_fleet_repo(work, production=production, staging=staging)
    config = write_node_config(stack, work / "node-config", restic_repository=work / "restic")
    init_restic(config, work / "restic")
    password, port = secrets.token_urlsafe(12), find_free_port("127.0.0.1")
    environment = make_settings(work, fleet=fleet, node_config=config, password=password)
    narrator.environment = environment
    lifetime = Lifetime.KEPT if keep else Lifetime.CALLER
    processes = [
        start("daemon", work, environment, lifetime, "run"),
        start("facade", work, environment, lifetime, "serve", "--port", str(port)),
    ]
    demo = Demo(narrator, production, staging, fleet, f"http://127.0.0.1:{port}", password)
    try:
        await_facade(demo.api_url)
        yield demo
    except BaseException:
        stop_all(processes)
        raise
    if not keep:
        stop_all(processes)


def init_restic(config: Path, repository: Path) -> None:
    """Create the local backup repository."""
    subprocess.run(
        ["restic", "--repo", str(repository), "--password-file", str(config / "restic.password"), "init"],
        check=True,
        capture_output=True,
    )


def make_settings(work: Path, *, fleet: Path, node_config: Path, password: str) -> Mapping[str, str]:
    """Make the settings of daemon, facade and commands, as environment variables."""
    key, hash_file = work / "signing-key", work / "admin.hash"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "pressluft demo", "-f", str(key)], check=True
    )
    hash_file.touch(mode=0o600)
    hash_file.write_text(PasswordHasher().hash(password))
    return {
        "LOGNAME": "olive",  # who asks, in the repo's log
        "PRESSLUFT_REPO": str(fleet),
        "PRESSLUFT_WORKER": "demo",
        "PRESSLUFT_STATE_DIR": str(work / "controller"),
        "PRESSLUFT_SIGNING_KEY": str(key),
        "PRESSLUFT_NODE_STATE_DIR": str(work / "node-state"),
        "PRESSLUFT_NODE_CONFIG_DIR": str(node_config),
        "PRESSLUFT_ADMIN_PASSWORD_HASH": str(hash_file),
    }


def start(
    name: str, work: Path, environment: Mapping[str, str], lifetime: Lifetime, *words: str
) -> ServerProcess:
    """Start one of our own long-running commands; its log lies beside its record, so that no run is left over."""
    return start_server(
        ServerCommand(
            name=name,
            argv=[sys.executable, "-m", "reconciler", *words],
            log=work / f"{name}.log",
            account=find_own_account(),
            lifetime=lifetime,
            environment=environment,
        )
    )


def await_facade(url: str) -> None:
    """Wait until the facade answers. Raises `DemoFailed` after a while."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/healthz", timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise DemoFailed(f"the facade at {url} did not start; see facade.log")


def stop_all(processes: list[ServerProcess]) -> None:
    """Stop daemon and facade in order."""
    for process in processes:
        process.stop(timeout=START_SECONDS)


def show_addresses(narrator: Narrator, demo: Demo) -> None:
    """Say where everything is that was left running, and how to stop it."""
    narrator.say(f"production  {demo.production.url}")
    narrator.say(f"staging     {demo.staging.url}")
    narrator.say(f"facade      {demo.api_url} (password {demo.password})")
    narrator.say(f"fleet repo  {demo.fleet}")
    for name, value in narrator.environment.items():
        narrator.say(f"export {name}={value}")
    narrator.say("the next `pressluft demo` stops all this and starts afresh")
