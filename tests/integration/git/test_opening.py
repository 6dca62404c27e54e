"""Which repositories are taken, and how a refusal helps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pygit2
import pytest

from reconciler.adapters.git_local import find_refs
from reconciler.errors import RepoUnusable, SettingsInvalid, Transient
from reconciler.ports import Branch
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import Person, add_hook, git, make_bare_repo


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    repo = make_bare_repo(tmp_path / "fleet.git")
    Person(repo, tmp_path / "clone").commit({"README": b"fleet"})
    return repo


@pytest.fixture
def checkout(bare: Path, tmp_path: Path) -> Path:
    """A repository with a work tree whose `main` is checked out."""
    git(tmp_path, "clone", "--quiet", str(bare), "checkout")
    return tmp_path / "checkout"


Spell = Callable[[Path], str]


def _as_path(path: Path) -> str:
    return str(path)


def _as_url(path: Path) -> str:
    return f"file://{path}"


both = pytest.mark.parametrize("spell", [_as_path, _as_url])


@both
def test_a_shallow_clone_is_refused(spell: Spell, bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    Person(bare, tmp_path / "clone").commit({"README": b"again"})
    git(tmp_path, "clone", "--quiet", "--bare", "--depth=1", f"file://{bare}", "shallow.git")
    with pytest.raises(RepoUnusable, match=r"shallow.*unshallow"):
        fleet(spell(tmp_path / "shallow.git")).fetch()
    git(tmp_path / "shallow.git", "fetch", "--quiet", "--unshallow", "origin")
    assert fleet(spell(tmp_path / "shallow.git")).fetch().intents is not None


@both
def test_a_sha256_repository_is_refused(spell: Spell, tmp_path: Path, fleet: OpenFleet) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "--object-format=sha256", "new.git")
    commit = git(
        tmp_path / "new.git", "commit-tree", "-m", "x", git(tmp_path / "new.git", "mktree", stdin="")
    )
    git(tmp_path / "new.git", "update-ref", "refs/heads/main", commit)
    with pytest.raises(RepoUnusable, match="SHA-256"):
        fleet(spell(tmp_path / "new.git"), branch="main").fetch()


@both
def test_what_is_no_repository_is_refused(spell: Spell, tmp_path: Path, fleet: OpenFleet) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepoUnusable, match=r"git init|address"):
        fleet(spell(tmp_path / "empty"), branch="main").fetch()


def test_a_folder_inside_a_repository_is_not_that_repository(checkout: Path, fleet: OpenFleet) -> None:
    (checkout / "sub").mkdir()
    with pytest.raises(RepoUnusable, match="cannot be opened"):
        fleet(checkout / "sub")


@both
def test_a_detached_head_does_not_name_a_branch(spell: Spell, bare: Path, fleet: OpenFleet) -> None:
    git(bare, "update-ref", "--no-deref", "HEAD", git(bare, "rev-parse", "main"))
    with pytest.raises(RepoUnusable, match=r"detached.*set `branch`"):
        fleet(spell(bare)).fetch()


def test_a_head_that_is_not_there_yet_is_refused_with_what_is_missing(bare: Path) -> None:
    repo = pygit2.Repository(str(bare))
    (bare / "HEAD").unlink()
    with pytest.raises(RepoUnusable, match=r"HEAD of .* cannot be read .*still being made"):
        find_refs(repo, None, None)


@both
def test_the_branch_is_the_repositorys_head_unless_set(spell: Spell, bare: Path, fleet: OpenFleet) -> None:
    main = git(bare, "rev-parse", "main")
    git(bare, "branch", "trunk", "main")
    git(bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
    git(bare, "branch", "--delete", "--force", "main")
    assert fleet(spell(bare)).fetch().intents == main
    assert fleet(spell(bare), branch="main").fetch().intents is None


@both
def test_the_branch_of_an_empty_repository_is_its_unborn_head(
    spell: Spell, tmp_path: Path, fleet: OpenFleet
) -> None:
    bare = make_bare_repo(tmp_path / "unborn.git")
    git(bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
    repo = fleet(spell(bare))
    commit = repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert git(bare, "rev-parse", "refs/heads/trunk") == commit


def test_an_empty_remote_that_does_not_tell_its_branch_wants_it_set(tmp_path: Path, fleet: OpenFleet) -> None:
    bare = make_bare_repo(tmp_path / "unborn.git")
    git(bare, "config", "lsrefs.unborn", "ignore")
    with pytest.raises(RepoUnusable, match="set `branch`"):
        fleet(f"file://{bare}").fetch()
    assert fleet(f"file://{bare}", branch="main").fetch().intents is None


@pytest.mark.parametrize(
    "location", ["http://host/x.git", "git://host/x", "ext::sh -c id", "ext://x", "ftp://h/x"]
)
def test_an_unsafe_scheme_is_refused(location: str, fleet: OpenFleet) -> None:
    with pytest.raises((SettingsInvalid, RepoUnusable), match="use a path"):
        fleet(location, branch="main").fetch()


def test_a_password_in_the_url_is_refused(fleet: OpenFleet) -> None:
    with pytest.raises(SettingsInvalid, match="password") as caught:
        fleet("https://me:hunter2@host/x.git")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["-x", "a..b", "a b", "x.lock", "a~1"])
def test_an_impossible_branch_name_is_refused(name: str, bare: Path, fleet: OpenFleet) -> None:
    with pytest.raises(SettingsInvalid, match="status_branch"):
        fleet(bare, status_branch=name)
    with pytest.raises(SettingsInvalid, match="branch"):
        fleet(f"file://{bare}", branch=name)


def test_a_checked_out_branch_is_read_but_not_written(checkout: Path, fleet: OpenFleet) -> None:
    repo = fleet(checkout)
    tip = repo.fetch().status
    with pytest.raises(RepoUnusable, match=r"main is checked out.*updateInstead"):
        repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert repo.fetch().status == tip
    assert git(checkout, "status", "--porcelain") == ""


def test_a_branch_checked_out_in_another_work_tree_is_not_written(bare: Path, fleet: OpenFleet) -> None:
    git(bare, "worktree", "add", "--quiet", str(bare.parent / "desk"), "main")
    repo = fleet(bare)
    with pytest.raises(RepoUnusable, match="checked out"):
        repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)


def test_a_work_tree_may_ask_to_be_updated(checkout: Path, fleet: OpenFleet) -> None:
    git(checkout, "config", "receive.denyCurrentBranch", "updateInstead")
    repo = fleet(checkout)
    repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert (checkout / "a").read_bytes() == b"1"
    assert git(checkout, "status", "--porcelain") == ""


def test_another_branch_of_a_work_tree_is_written_in_place(checkout: Path, fleet: OpenFleet) -> None:
    repo = fleet(checkout, status_branch="pressluft/status")
    commit = repo.push_changes(Branch.STATUS, expected=None, changes={"a": b"1"}, message=SAID)
    assert git(checkout, "rev-parse", "pressluft/status") == commit
    assert git(checkout, "status", "--porcelain") == ""


def test_a_branch_that_is_an_alias_is_refused(bare: Path, fleet: OpenFleet) -> None:
    git(bare, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    with pytest.raises(RepoUnusable, match="alias of refs/heads/main"):
        fleet(bare, branch="alias").fetch()


def test_a_repository_that_vanishes_is_waited_for(bare: Path, fleet: OpenFleet) -> None:
    repo = fleet(bare)
    tip = repo.fetch()
    bare.rename(bare.with_suffix(".away"))
    with pytest.raises(Transient, match="not there"):
        repo.fetch()
    bare.with_suffix(".away").rename(bare)
    assert repo.fetch() == tip


@pytest.mark.parametrize(
    "hook", ["pre-receive", "update", "post-receive", "post-update", "reference-transaction"]
)
def test_hooks_of_the_repository_run(hook: str, bare: Path, fleet: OpenFleet) -> None:
    repo = fleet(bare)
    add_hook(bare, hook, f"echo ran >> {bare}/ran")
    repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert "ran" in (bare / "ran").read_text()


def test_hooks_elsewhere_run_too(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    add_hook(tmp_path, "update", f"echo ran > {bare}/ran")
    git(bare, "config", "core.hooksPath", str(tmp_path / "hooks"))
    repo = fleet(bare)
    repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert (bare / "ran").exists()


def test_neither_the_users_configuration_nor_hooks_of_clients_take_part(
    bare: Path, tmp_path: Path, fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "user"
    add_hook(home, "pre-push", f"touch {tmp_path}/spoilt")
    add_hook(bare, "pre-push", f"touch {tmp_path}/spoilt; exit 1")
    add_hook(bare, "post-receive", "exit 0")
    trap = f"!touch {tmp_path}/spoilt"
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n[credential]\n\thelper = "{trap}"\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare=false'")
    repo = fleet(bare)
    repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    assert not (tmp_path / "spoilt").exists()


@pytest.fixture
def foreign(bare: Path) -> Path:
    """A repository that belongs to another user."""
    for path in (bare, *bare.rglob("*")):
        os.chown(path, 65534, 65534)
    return bare


def test_root_does_not_write_into_somebody_elses_repository(foreign: Path, fleet: OpenFleet) -> None:
    repo = fleet(foreign)
    tip = repo.fetch().status
    assert tip is not None
    assert repo.read_folder(tip, "") is not None
    with pytest.raises(RepoUnusable, match=r"user 65534.*core\.sharedRepository"):
        repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)


def test_a_repository_shared_by_a_group_stays_usable_for_it(foreign: Path, fleet: OpenFleet) -> None:
    git(foreign, "-c", f"safe.directory={foreign}", "config", "core.sharedRepository", "group")
    repo = fleet(foreign)
    repo.push_changes(Branch.STATUS, expected=repo.fetch().status, changes={"a": b"1"}, message=SAID)
    folders = [path for path in (foreign / "objects").rglob("*") if path.is_dir() and path.stat().st_uid == 0]
    assert folders
    assert all(path.stat().st_mode & 0o020 for path in folders)


def test_a_mirror_that_was_destroyed_is_made_anew(bare: Path, tmp_path: Path, fleet: OpenFleet) -> None:
    tip = fleet(f"file://{bare}").fetch()
    (mirror,) = (tmp_path / "state" / "git").glob("*/mirror.git")
    shutil.rmtree(mirror / "refs")
    (mirror / "HEAD").unlink()
    assert fleet(f"file://{bare}").fetch() == tip
