"""Whose word `status/` is, on real repositories with real SSH signatures."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.adapters import git_trust
from reconciler.adapters.git_repo import GitFleetRepo, TrustSettings
from reconciler.errors import RepoUnusable, SettingsInvalid
from reconciler.ports import Branch, Tampering
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import Person, git, make_bare_repo
from tests.integration.git.sshd import make_key

STATUS = "status/acme/site.yaml"
NOW = datetime.now(UTC)


@dataclass
class Fleet:
    """A bare repository, a person with a clone of it, and daemons that open it."""

    bare: Path
    person: Person
    open: OpenFleet
    folder: Path

    def make_key(self, name: str) -> Path:
        """Make a key, once."""
        path = self.folder / f"{name}.key"
        return path if path.exists() else make_key(path)

    def trust(self, *lines: tuple[str, str]) -> Path:
        """Write the file of trusted keys: names of keys and their options."""
        path = self.folder / "trusted"
        text = [
            f"{name} {options} {self.make_key(name).with_suffix('.key.pub').read_text()}"
            for name, options in lines
        ]
        path.write_text("".join(text))
        return path

    def daemon(
        self, name: str = "a", *, keys: Path | None = None, root: str | None = None, **more: str
    ) -> GitFleetRepo:
        """Open the repository as the daemon that holds the key of this name."""
        trust = TrustSettings(keys=keys, root=root)
        return self.open(self.bare, state=name, signing_key=self.make_key(name), trust=trust, **more)


@pytest.fixture
def scene(tmp_path: Path, fleet: OpenFleet) -> Fleet:
    bare = make_bare_repo(tmp_path / "fleet.git")
    found = Fleet(bare, Person(bare, tmp_path / "clone"), fleet, tmp_path)
    found.person.commit({"intents/acme/first.yaml": b"x"})
    return found


def write(repo: GitFleetRepo, content: bytes, path: str = STATUS) -> str:
    """Let a daemon write to status/ without a look at what stands there."""
    return repo.push_changes(
        Branch.STATUS, expected=repo.fetch().status, changes={path: content}, message=SAID
    )


def look(repo: GitFleetRepo) -> Tampering | None:
    return repo.find_tampering(repo.fetch().status)


def put_right(repo: GitFleetRepo) -> str:
    """Do what a pass does about it."""
    found = look(repo)
    assert found is not None
    return repo.push_changes(
        Branch.STATUS,
        expected=found.tip,
        status_of=found.trusted,
        changes={"status/acme/note": b"put right"},
        message=SAID,
    )


def read(bare: Path, commit: str, path: str = STATUS) -> str:
    return git(bare, "show", f"{commit}:{path}")


def commit_signed(scene: Fleet, key: str, files: dict[str, bytes], *, at: datetime) -> str:
    """Commit with any key and any date, by git itself, and push."""
    scene.person.pull()
    for path, content in files.items():
        (scene.person.clone / path).parent.mkdir(parents=True, exist_ok=True)
        (scene.person.clone / path).write_bytes(content)
    sign(scene, key, ["add", "--all"], at=at)
    sign(scene, key, ["commit", "--quiet", "--allow-empty", "-S", "-m", "signed"], at=at)
    git(scene.person.clone, "push", "--quiet", "origin", "HEAD:main")
    return git(scene.person.clone, "rev-parse", "HEAD")


def sign(scene: Fleet, key: str, words: list[str], *, at: datetime) -> None:
    options = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={scene.make_key(key)}"]
    date = f"{int(at.timestamp())} +0000"
    who = {f"GIT_{role}_{part}": "eve@x" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": "/nonexistent",
        **who,
        **dates,
    }
    subprocess.run(["git", *options, *words], cwd=scene.person.clone, env=environment, check=True)


def test_what_people_commit_beside_status_is_no_tampering(scene: Fleet) -> None:
    repo = scene.daemon()
    assert look(repo) is None
    write(repo, b"ours")
    scene.person.commit({"intents/acme/second.yaml": b"x"})
    assert look(repo) is None


def test_a_forged_status_is_found_named_and_put_right_by_a_new_commit(scene: Fleet) -> None:
    repo = scene.daemon()
    ours = write(repo, b"ours")
    forged = scene.person.commit({STATUS: b"forged", "intents/acme/second.yaml": b"x"})
    found = look(repo)
    assert found is not None
    assert (found.tip, found.trusted, found.sites) == (forged, ours, ("acme",))
    assert forged[:12] in found.detail
    assert "'Ada', not signed" in found.detail
    commit = put_right(repo)
    assert read(scene.bare, commit) == "ours"
    assert read(scene.bare, commit, "intents/acme/second.yaml") == "x"
    assert git(scene.bare, "rev-parse", f"{commit}^") == forged
    assert look(repo) is None


def test_what_a_forger_adds_deletes_and_links_is_put_right(scene: Fleet) -> None:
    repo = scene.daemon()
    ours = write(repo, b"ours")
    scene.person.pull()
    (scene.person.clone / STATUS).unlink()
    (scene.person.clone / "status/acme/ended.txt").symlink_to("/etc/passwd")
    scene.person.commit({"status/zeta/jobs/2026-01/x.yaml": b"x"})
    found = look(repo)
    assert found is not None
    assert found.sites == ("acme", "zeta")
    commit = put_right(repo)
    assert git(scene.bare, "diff", "--name-only", ours, commit) == "status/acme/note"


def test_an_older_status_that_a_person_commits_again_is_found(scene: Fleet) -> None:
    repo = scene.daemon()
    write(repo, b"old")
    new = write(repo, b"new")
    scene.person.commit({STATUS: b"old"})
    found = look(repo)
    assert found is not None
    assert found.trusted == new


@pytest.mark.parametrize("restarted", [False, True])
def test_a_branch_that_was_wound_back_is_put_right_and_never_forced(scene: Fleet, *, restarted: bool) -> None:
    repo = scene.daemon()
    old = write(repo, b"old")
    new = write(repo, b"new")
    assert look(repo) is None
    scene.person.reset(old)
    repo = scene.daemon() if restarted else repo
    found = look(repo)
    assert found is not None
    assert (found.trusted, found.detail) == (new, "the branch was wound back")
    commit = put_right(repo)
    assert read(scene.bare, commit) == "new"
    assert git(scene.bare, "rev-parse", f"{commit}^") == old
    assert look(repo) is None


def test_a_rewritten_history_is_vouched_for_anew_so_that_a_daemon_without_memory_believes_it(
    scene: Fleet,
) -> None:
    repo = scene.daemon()
    write(repo, b"old")
    last = write(repo, b"new")
    rewritten = git(
        scene.bare, "commit-tree", f"{last}^{{tree}}", "-p", f"{last}~1", "-m", "rebased, not signed"
    )
    git(scene.bare, "update-ref", "refs/heads/main", rewritten)
    put_right(repo)
    assert look(scene.open(scene.bare, state="cold", signing_key=scene.make_key("a"))) is None
    assert read(scene.bare, "main") == "new"


def test_a_status_that_another_daemon_put_right_stands(scene: Fleet) -> None:
    keys = scene.trust(("a", ""), ("b", ""))
    first, second = scene.daemon("a", keys=keys), scene.daemon("b", keys=keys)
    old = write(first, b"old")
    write(first, b"new")
    assert look(second) is None
    scene.person.reset(old)
    put_right(second)
    assert look(first) is None


def test_a_deleted_status_branch_comes_back_with_its_history(scene: Fleet) -> None:
    repo = scene.daemon(status_branch="pressluft/status")
    last = write(repo, b"ours")
    git(scene.bare, "update-ref", "-d", "refs/heads/pressluft/status")
    found = look(repo)
    assert found is not None
    assert (found.tip, found.trusted) == (None, last)
    commit = put_right(repo)
    assert git(scene.bare, "rev-parse", "pressluft/status^") == last
    assert git(scene.bare, "rev-parse", "pressluft/status") == commit
    assert look(repo) is None


def test_a_status_branch_of_its_own_is_judged_by_itself(scene: Fleet) -> None:
    repo = scene.daemon(status_branch="pressluft/status")
    write(repo, b"ours")
    scene.person.commit({STATUS: b"on main, where it says nothing"})
    assert look(repo) is None


def test_daemons_with_keys_of_their_own_trust_each_other_when_told_to(scene: Fleet) -> None:
    keys = scene.trust(("a", ""), ("b", ""))
    first, second = scene.daemon("a", keys=keys), scene.daemon("b", keys=keys)
    write(first, b"one")
    assert look(second) is None
    write(second, b"two")
    assert look(first) is None


def test_without_configured_keys_a_daemon_trusts_its_own_alone(scene: Fleet) -> None:
    first, second = scene.daemon("a"), scene.daemon("b")
    ours = write(first, b"one")
    write(second, b"two")
    found = look(first)
    assert found is not None
    assert found.trusted == ours
    assert "signed by a key that is not trusted" in found.detail


def test_a_key_that_was_retired_keeps_its_old_word_and_gets_no_new_one(scene: Fleet) -> None:
    ended = f"{NOW + timedelta(minutes=10):%Y%m%d%H%M%SZ}"
    keys = scene.trust(("old", f'valid-before="{ended}"'), ("a", ""))
    word = commit_signed(scene, "old", {STATUS: b"in time"}, at=NOW)
    repo = scene.daemon("a", keys=keys)
    assert look(repo) is None
    commit_signed(scene, "old", {STATUS: b"late"}, at=NOW + timedelta(minutes=11))
    found = look(repo)
    assert found is not None
    assert found.trusted == word


@pytest.mark.parametrize("cold", [False, True])
def test_a_retired_key_cannot_speak_with_a_date_of_its_time(scene: Fleet, *, cold: bool) -> None:
    keys = scene.trust(("old", f'valid-before="{NOW - timedelta(days=1):%Y%m%d%H%M%SZ}"'), ("a", ""))
    repo = scene.daemon("a", keys=keys)
    ours = write(repo, b"ours")
    assert look(repo) is None
    commit_signed(scene, "old", {STATUS: b"stolen"}, at=NOW - timedelta(days=2))
    repo = scene.open(
        scene.bare, state="cold" if cold else "a", signing_key=scene.make_key("a"), trust=TrustSettings(keys)
    )
    found = look(repo)
    assert found is not None
    assert found.trusted == ours


def test_a_merge_of_an_older_branch_is_no_tampering(scene: Fleet) -> None:
    repo = scene.daemon()
    write(repo, b"old")
    scene.person.pull()
    git(scene.person.clone, "commit", "--quiet", "--allow-empty", "-m", "on an older status")
    write(repo, b"new")
    git(scene.person.clone, "fetch", "--quiet", "origin")
    git(scene.person.clone, "merge", "--quiet", "--no-edit", "origin/main")
    git(scene.person.clone, "push", "--quiet", "origin", "HEAD:main")
    assert look(repo) is None
    assert look(scene.open(scene.bare, state="cold", signing_key=scene.make_key("a"))) is None


@pytest.mark.parametrize("state", ["a", "cold"])
def test_a_merge_that_takes_an_older_status_is_found(scene: Fleet, state: str) -> None:
    repo = scene.daemon()
    write(repo, b"old")
    scene.person.pull()
    git(scene.person.clone, "commit", "--quiet", "--allow-empty", "-m", "on an older status")
    new = write(repo, b"new")
    git(scene.person.clone, "fetch", "--quiet", "origin")
    git(scene.person.clone, "merge", "--quiet", "--no-edit", "-s", "ours", "origin/main")
    git(scene.person.clone, "push", "--quiet", "origin", "HEAD:main")
    found = look(scene.open(scene.bare, state=state, signing_key=scene.make_key("a")))
    assert found is not None
    assert found.trusted == new


def test_a_word_of_another_line_that_is_merged_in_does_not_count(scene: Fleet) -> None:
    repo = scene.daemon()
    old = write(repo, b"old")
    elsewhere = write(repo, b"said where the branch was wound back")
    scene.person.reset(old)
    note = next(scene.folder.glob("a/git/*/last-word.*"))
    note.unlink()
    repo = scene.daemon()
    new = write(repo, b"new")
    scene.person.pull()
    tree = git(scene.bare, "rev-parse", f"{elsewhere}^{{tree}}")
    merged = git(scene.bare, "commit-tree", tree, "-p", elsewhere, "-p", new, "-m", "merge")
    git(scene.bare, "update-ref", "refs/heads/main", merged)
    found = look(repo)
    assert found is not None
    assert found.trusted == new


def test_a_facade_that_shares_the_key_does_not_vouch_for_what_was_forged(scene: Fleet) -> None:
    repo = scene.daemon()
    ours = write(repo, b"ours")
    scene.person.commit({STATUS: b"forged"})
    facade = scene.open(scene.bare, state="facade", signing_key=scene.make_key("a"))
    tip = facade.fetch().intents
    facade.push_changes(Branch.INTENTS, expected=tip, changes={"intents/acme/x.yaml": b"x"}, message=SAID)
    found = look(repo)
    assert found is not None
    assert found.trusted == ours


def test_a_status_that_nobody_trusted_ever_wrote_is_not_used_until_somebody_says_so(scene: Fleet) -> None:
    tip = scene.person.commit({STATUS: b"from a time without keys"})
    with pytest.raises(RepoUnusable, match=f"trusted_from to {tip}"):
        look(scene.daemon())
    repo = scene.daemon("a", root=tip)
    assert look(repo) is None
    scene.person.commit({STATUS: b"forged"})
    found = look(
        scene.open(scene.bare, state="cold", signing_key=scene.make_key("a"), trust=TrustSettings(None, tip))
    )
    assert found is not None
    assert found.trusted == tip


def test_a_broken_file_of_keys_makes_nobody_a_forger(scene: Fleet) -> None:
    keys = scene.trust(("a", ""), ("b", ""))
    first, second = scene.daemon("a", keys=keys), scene.daemon("b", keys=keys)
    write(first, b"one")
    assert look(second) is None
    write(first, b"two")
    keys.unlink()
    with pytest.raises(SettingsInvalid, match="trusted_keys"):
        look(second)


def test_a_daemon_whose_own_key_is_not_trusted_does_not_start(scene: Fleet) -> None:
    repo = scene.daemon("a", keys=scene.trust(("b", "")))
    with pytest.raises(SettingsInvalid, match="add its public key"):
        repo.check_own_key()


def test_a_cold_start_on_100000_commits_verifies_a_few(scene: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = scene.daemon()
    for number in range(3):
        write(repo, f"word {number}".encode())
    stream = ["reset refs/heads/main\nfrom refs/heads/main^0\n\n"]
    stream += [
        f"commit refs/heads/main\ncommitter Ada <a@x> {1_700_000_000 + number} +0000\ndata 1\nx\n\n"
        for number in range(100_000)
    ]
    git(scene.bare, "fast-import", "--quiet", stdin="".join(stream))
    write(repo, b"last")
    asked: list[str] = []
    find = git_trust.find_signer
    monkeypatch.setattr(git_trust, "find_signer", lambda *words: asked.append(words[1]) or find(*words))
    assert look(scene.open(scene.bare, state="cold", signing_key=scene.make_key("a"))) is None
    assert len(asked) <= 3
