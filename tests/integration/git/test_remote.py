"""Remotes that are far away, closed, slow or not who they say they are."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.adapters import git_command
from reconciler.adapters.git_repo import open_fleet_repo
from reconciler.errors import RepoUnusable, Transient
from reconciler.ports import Branch
from tests.integration.git.opening import SAID, US, OpenFleet
from tests.integration.git.people import Person, add_hook, git, make_bare_repo
from tests.integration.git.sshd import Sshd, make_key


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    repo = make_bare_repo(tmp_path / "fleet.git")
    Person(repo, tmp_path / "clone").commit({"README": b"fleet"})
    return repo


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_unknown_host_key_is_refused(bare: Path, tmp_path: Path, sshd: Sshd, fleet: OpenFleet) -> None:
    (tmp_path / "nobody").touch()
    stranger = replace(sshd, known_hosts=tmp_path / "nobody")
    with pytest.raises(RepoUnusable, match="known_hosts"):
        fleet(sshd.url(bare), via=stranger).fetch()
    assert (tmp_path / "nobody").read_text() == ""


def test_a_changed_host_key_is_refused(bare: Path, tmp_path: Path, sshd: Sshd, fleet: OpenFleet) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd.port} {other}")
    with pytest.raises(RepoUnusable, match="known_hosts"):
        fleet(sshd.url(bare), via=replace(sshd, known_hosts=tmp_path / "known")).fetch()


def test_a_key_that_is_not_let_in_is_tried_again_later(
    bare: Path, tmp_path: Path, sshd: Sshd, fleet: OpenFleet
) -> None:
    with pytest.raises(Transient, match="Permission denied"):
        fleet(sshd.url(bare), via=replace(sshd, key=make_key(tmp_path / "uninvited"))).fetch()


def test_a_missing_repository_on_a_good_server_is_named(tmp_path: Path, sshd: Sshd, fleet: OpenFleet) -> None:
    with pytest.raises(RepoUnusable, match="nowhere"):
        fleet(sshd.url(tmp_path / "nowhere.git"), via=sshd).fetch()


def test_a_server_that_is_down_is_transient_for_reading_and_writing(
    bare: Path, sshd: Sshd, fleet: OpenFleet
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    repo = fleet(replace(sshd, port=port).url(bare), branch="main", via=sshd)
    with pytest.raises(Transient, match="refused"):
        repo.fetch()
    with pytest.raises(Transient):
        repo.push_changes(Branch.STATUS, expected=None, changes={"a": b"1"}, message=SAID)


def test_a_silent_server_is_given_up_and_leaves_no_process(
    bare: Path, sshd: Sshd, fleet: OpenFleet, silent_port: int
) -> None:
    repo = fleet(replace(sshd, port=silent_port).url(bare), branch="main", via=sshd)
    begun = time.monotonic()
    with pytest.raises(Transient, match="did not end within"):
        repo._origin.git.run("ls-remote", "--", repo._url, timeout=0.5)
    assert time.monotonic() - begun < 30
    left = subprocess.run(["pgrep", "-f", f"ssh .*{silent_port}"], capture_output=True, check=False)
    assert left.stdout == b""


def test_a_remote_that_comes_back_is_taken_up_again(bare: Path, sshd: Sshd, fleet: OpenFleet) -> None:
    repo = fleet(sshd.url(bare), via=sshd)
    tip = repo.fetch().status
    bare.rename(bare.with_suffix(".away"))
    with pytest.raises((Transient, RepoUnusable)):
        repo.fetch()
    with pytest.raises((Transient, RepoUnusable)):
        repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    bare.with_suffix(".away").rename(bare)
    commit = repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert repo.fetch().status == commit


def test_a_push_whose_answer_is_lost_is_found_to_have_arrived(
    bare: Path, fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = fleet(f"file://{bare}")
    tip = repo.fetch().status
    run = git_command.Git.run

    def lose_answer(self: git_command.Git, *words: str, **keywords: float) -> object:
        done = run(self, *words, **keywords)
        return replace(done, code=128, stderr=b"Connection reset") if words[0] == "push" else done

    monkeypatch.setattr(git_command.Git, "run", lose_answer)
    commit = repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert git(bare, "rev-parse", "main") == commit


def test_one_branch_of_two_may_be_missing_on_the_remote(
    bare: Path, tmp_path: Path, sshd: Sshd, fleet: OpenFleet
) -> None:
    repo = fleet(sshd.url(bare), status_branch="pressluft/status", via=sshd)
    first = repo.fetch()
    assert first.status is None
    status = repo.push_changes(Branch.STATUS, expected=None, changes={"status/a": b"1"}, message=SAID)
    newer = Person(bare, tmp_path / "clone").commit({"more": b"1"})
    assert repo.fetch().intents == newer
    git(bare, "update-ref", "-d", "refs/heads/pressluft/status", status)
    assert repo.fetch() == replace(first, intents=newer)


def test_a_forced_push_is_followed(bare: Path, tmp_path: Path, sshd: Sshd, fleet: OpenFleet) -> None:
    person = Person(bare, tmp_path / "clone")
    first = git(bare, "rev-parse", "main")
    repo = fleet(sshd.url(bare), via=sshd)
    person.commit({"more": b"1"})
    repo.fetch()
    person.reset(first)
    assert repo.fetch().intents == first


def test_a_person_and_the_daemon_use_the_same_mirror_from_two_processes(bare: Path, fleet: OpenFleet) -> None:
    here, there = fleet(f"file://{bare}"), fleet(f"file://{bare}")
    tip = here.fetch().status
    commit = here.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert there.fetch().status == commit


def test_an_scp_like_address_is_a_remote(tmp_path: Path, fleet: OpenFleet, sshd: Sshd) -> None:
    with pytest.raises((Transient, RepoUnusable), match=r"127\.0\.0\.1:"):
        fleet(f"{sshd.user}@127.0.0.1:{tmp_path}/nope.git", branch="main", via=sshd).fetch()


def test_the_mirror_is_private(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    fleet(f"file://{bare}").fetch()
    (folder,) = (tmp_path / "state" / "git").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    shutil.rmtree(folder)


def test_a_push_that_hangs_after_it_arrived_is_found_to_have_arrived(
    bare: Path, fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_hook(bare, "post-receive", "sleep 600")
    repo = fleet(f"file://{bare}")
    tip = repo.fetch().status
    monkeypatch.setattr(git_command.Git.run, "__kwdefaults__", {"timeout": 1.0})
    commit = repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert git(bare, "rev-parse", "main") == commit


@pytest.fixture
def agent(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An ssh-agent that holds the ed25519 key that the server lets in."""
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"^(SSH_\w+)=([^;]+);", started, re.M))
    monkeypatch.setenv("SSH_AUTH_SOCK", found["SSH_AUTH_SOCK"])
    subprocess.run(["ssh-add", "-q", sshd.key], check=True)
    yield
    os.kill(int(found["SSH_AGENT_PID"]), signal.SIGTERM)


@pytest.mark.usefixtures("agent")
def test_a_key_that_only_an_agent_holds_lets_in(
    bare: Path, tmp_path: Path, sshd: Sshd, fleet: OpenFleet
) -> None:
    repo = open_fleet_repo(
        sshd.url(bare),
        branch=None,
        status_branch=None,
        signing_key=sshd.key.with_suffix(".pub"),
        identity=US,
        state_dir=tmp_path / "agent-state",
        ssh_key=None,
        known_hosts=sshd.known_hosts,
    )
    with repo:
        tip = repo.fetch().status
        commit = repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
        assert git(bare, "rev-parse", "main") == commit
        assert repo.read_log(Branch.STATUS, limit=1)[0].signed_by_us, "the agent signs as well"


def test_without_the_agent_nobody_is_let_in(bare: Path, sshd: Sshd, fleet: OpenFleet, tmp_path: Path) -> None:
    uninvited = replace(sshd, key=make_key(tmp_path / "uninvited"))
    with pytest.raises(Transient, match="Permission denied"):
        fleet(sshd.url(bare), via=uninvited).fetch()


def test_a_server_that_denies_pushes_is_quoted_and_asked_again(
    bare: Path, sshd: Sshd, fleet: OpenFleet
) -> None:
    add_hook(bare, "pre-receive", "echo 'frozen for the audit' >&2; exit 1")
    repo = fleet(sshd.url(bare), via=sshd)
    tip = repo.fetch().status
    with pytest.raises(Transient, match="frozen for the audit"):
        repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert repo.fetch().status == tip
    add_hook(bare, "pre-receive", "exit 0")
    assert repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)


def test_other_refs_of_garbage_on_the_remote_do_not_keep_us_from_reading_and_are_named_when_it_refuses_a_push(
    bare: Path, sshd: Sshd, fleet: OpenFleet
) -> None:
    repo = fleet(sshd.url(bare), via=sshd)
    garbage = {
        "garbage": "what is this",
        "nothing": "0" * 40,
        "gone": "ab" * 20,
        "loop": "ref: refs/heads/loop",
    }
    for name, text in garbage.items():
        (bare / "refs/heads" / name).write_text(f"{text}\n")
    tip = repo.fetch().status
    assert tip == git(bare, "rev-parse", "main")
    with pytest.raises(Transient, match="bad object refs/heads/"):
        repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    for name in garbage:
        (bare / "refs/heads" / name).unlink()
    assert repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)


def test_a_branch_of_garbage_on_the_remote_is_no_branch_and_no_commit_is_lost(
    bare: Path, sshd: Sshd, fleet: OpenFleet
) -> None:
    repo = fleet(sshd.url(bare), branch="main", via=sshd)
    tip = repo.fetch().status
    good = (bare / "refs/heads/main").read_text()
    (bare / "refs/heads/main").write_text("what is this\n")
    with suppress(Transient, RepoUnusable):
        assert repo.fetch() != tip
    (bare / "refs/heads/main").write_text(good)
    assert repo.fetch().status == tip
