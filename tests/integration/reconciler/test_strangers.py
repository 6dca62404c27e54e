"""Two daemons of one fleet that do not know each other's key: told, and no war of commits."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from reconciler.adapters.git_repo import TrustSettings
from reconciler.core.variables import NodeFolders
from reconciler.errors import Transient
from reconciler.observe import Observer
from reconciler.reconcile import run_pass
from reconciler.worker import Reconciler
from tests.fake_runner import FakePlaybookRunner
from tests.integration.git.opening import make_opener
from tests.integration.git.people import Person, git, make_bare_repo
from tests.integration.git.sshd import make_key
from tests.story import FakeClock, make_fleet_files

LOOKS = 60
SECONDS_BETWEEN = 5


def read_public(key: Path) -> str:
    return f"daemon {key.with_name(f'{key.name}.pub').read_text()}"


def look(daemon: Reconciler) -> str:
    """Look once; returns why that was not possible."""
    try:
        run_pass(daemon)
    except Transient as error:
        return str(error)
    return ""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A fleet that no daemon has met."""
    bare = make_bare_repo(tmp_path / "fleet.git")
    files = {path: text.encode() for path, text in make_fleet_files().items()}
    Person(bare, tmp_path / "clone").commit(files)
    return bare


def test_daemons_that_do_not_trust_each_other_say_so_and_leave_off(bare: Path, tmp_path: Path) -> None:
    clock, folders = FakeClock(), NodeFolders("/state", "/etc/pressluft")
    with ExitStack() as opened:
        daemons, lists, keys = [], {}, {}
        for name in ("one", "two"):
            keys[name], lists[name] = make_key(tmp_path / f"{name}.key"), tmp_path / f"{name}.trusted"
            lists[name].write_text("")
            repo = make_opener(tmp_path, opened)(
                bare, state=name, signing_key=keys[name], trust=TrustSettings(lists[name])
            )
            daemons.append(
                Reconciler(
                    repo, FakePlaybookRunner(), clock, Observer(repo), name, 4, folders, instance=uuid4()
                )
            )
        for path in lists.values():
            path.write_text(read_public(keys["one"]) + read_public(keys["two"]))
        assert [look(daemon) for daemon in daemons] == ["", ""]
        write_on(bare, tmp_path, "note")
        for name, path in lists.items():
            path.write_text(read_public(keys[name]))
        before = int(git(bare, "rev-list", "--count", "main"))
        said = {text for _ in range(LOOKS) for text in take_turns(daemons, clock)}
        commits = int(git(bare, "rev-list", "--count", "main")) - before
    assert any("add its public key to this daemon's trusted_keys" in text for text in said)
    # Each puts right three times at once, then after 1, 2, 4 minutes.
    assert commits <= 14


def write_on(bare: Path, tmp_path: Path, name: str) -> None:
    """Commit something that daemons look at, unsigned, under status/."""
    Person(bare, tmp_path / name).commit({"status/acme/ended.txt": b"forged\n"})


def take_turns(daemons: list[Reconciler], clock: FakeClock) -> list[str]:
    """Let each look once."""
    clock.advance(seconds=SECONDS_BETWEEN)
    return [look(daemon) for daemon in daemons]
