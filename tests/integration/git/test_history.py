"""Who brought a file, on real histories with merges, and who signed that commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler.adapters.git_repo import GitFleetRepo
from reconciler.ports import Signature
from tests.integration.git.opening import OpenFleet
from tests.integration.git.people import Person, git, make_bare_repo
from tests.integration.git.sshd import make_key

PATH = "intents/acme/release.yaml"


@pytest.fixture
def person(tmp_path: Path) -> Person:
    person = Person(make_bare_repo(tmp_path / "fleet.git"), tmp_path / "clone")
    person.commit({"README": b"x"})
    return person


@pytest.fixture
def repo(person: Person, fleet: OpenFleet) -> GitFleetRepo:
    return fleet(person.repo)


def find(repo: GitFleetRepo, commit: str) -> set[str]:
    repo.fetch()
    oid = next(entry.oid for entry in repo.read_folder(commit, "intents/acme").entries)  # type: ignore[union-attr]
    return set(repo.find_bringers(commit, PATH, holds=lambda found: found == oid))


def commit_on(person: Person, branch: str, content: str | None, *options: str) -> str:
    """Commit in the clone, on a branch of its own."""
    git(person.clone, "checkout", "--quiet", "-B", branch, "origin/main")
    if content is not None:
        (person.clone / PATH).parent.mkdir(parents=True, exist_ok=True)
        (person.clone / PATH).write_text(content)
    git(person.clone, "add", "--all")
    git(person.clone, *options, "commit", "--quiet", "--allow-empty", "-m", branch)
    return git(person.clone, "rev-parse", "HEAD")


def merge(person: Person, *branches: str, options: tuple[str, ...] = ()) -> str:
    git(person.clone, "merge", "--quiet", "--no-ff", "--no-edit", *options, *branches)
    git(person.clone, "push", "--quiet", "origin", "HEAD:main")
    return git(person.clone, "rev-parse", "HEAD")


def test_the_commit_that_added_the_file_brought_it(person: Person, repo: GitFleetRepo) -> None:
    brought = person.commit({PATH: b"one"})
    tip = person.commit({"README": b"y"})
    assert find(repo, tip) == {brought}


def test_an_edit_brings_anew_and_the_old_text_again_as_well(person: Person, repo: GitFleetRepo) -> None:
    person.commit({PATH: b"one"})
    edit = person.commit({PATH: b"two"})
    assert find(repo, edit) == {edit}
    back = person.commit({PATH: b"one"})
    assert find(repo, back) == {back}


def test_what_was_merged_was_brought_on_its_branch(person: Person, repo: GitFleetRepo) -> None:
    brought = commit_on(person, "feature", "one")
    commit_on(person, "other", None)
    assert find(repo, merge(person, "feature")) == {brought}


def test_a_merge_that_slips_something_in_brought_it_itself(person: Person, repo: GitFleetRepo) -> None:
    commit_on(person, "feature", None)
    commit_on(person, "other", None)
    git(person.clone, "merge", "--quiet", "--no-ff", "--no-commit", "feature")
    (person.clone / PATH).parent.mkdir(parents=True)
    (person.clone / PATH).write_text("slipped in")
    git(person.clone, "add", "--all")
    git(person.clone, "commit", "--quiet", "-m", "merge")
    git(person.clone, "push", "--quiet", "origin", "HEAD:main")
    tip = git(person.clone, "rev-parse", "HEAD")
    assert find(repo, tip) == {tip}


def test_each_of_two_lines_that_have_it_brought_it(person: Person, repo: GitFleetRepo) -> None:
    first = commit_on(person, "feature", "one")
    git(person.clone, "checkout", "--quiet", "main")
    second = commit_on(person, "other", "one", "-c", "user.name=Eve")
    assert find(repo, merge(person, "feature")) == {first, second}


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_signature_is_told_by_the_public_key(
    person: Person, repo: GitFleetRepo, tmp_path: Path, kind: str
) -> None:
    key, other = tmp_path / "ada", make_key(tmp_path / "eve")
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "-c", "commit.gpgsign=true")
    signed = commit_on(person, "signed", "one", *signing)
    tip = merge(person, "main")
    repo.fetch()
    mine, theirs = (path.with_suffix(".pub").read_text().strip() for path in (key, other))
    assert repo.judge_signature(signed, [theirs, mine]) is Signature.ALLOWED
    assert repo.judge_signature(signed, [theirs]) is Signature.STRANGE
    assert repo.judge_signature(signed, []) is Signature.STRANGE
    plain = git(person.clone, "rev-parse", f"{tip}~1")
    assert repo.judge_signature(plain, [mine]) is Signature.ABSENT
