"""What every `FleetRepo` promises: the fake, a bare repository, one with hooks, and a remote over ssh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.errors import TipMoved, Transient
from reconciler.ports import Branch, CommitMessage, EntryKind, FleetRepo
from tests.fakes import FakeFleetRepo, Link
from tests.integration.git.opening import SAID, make_opener, signing_key
from tests.integration.git.people import Person, add_hook, make_bare_repo
from tests.integration.git.sshd import Sshd, sshd

__all__ = ["signing_key", "sshd"]


@dataclass(frozen=True)
class Scene:
    """A fleet repo as the daemon sees it, and what people and other daemons do to it."""

    repo: FleetRepo
    open_another: Callable[[], FleetRepo]
    commit: Callable[[Mapping[str, bytes | None]], str]
    link: Callable[[str, str], str]
    reset: Callable[[str | None], None]
    deny: Callable[[str], None]

    def push(self, changes: Mapping[str, bytes | None], message: CommitMessage = SAID) -> str:
        """Push on top of what is there."""
        expected = self.repo.fetch().status
        return self.repo.push_changes(Branch.STATUS, expected=expected, changes=changes, message=message)

    def read(self, commit: str, path: str) -> bytes | None:
        """Read a file by way of its folder."""
        folder = self.repo.read_folder(commit, path.rpartition("/")[0])
        found = {entry.name: entry.oid for entry in folder.entries} if folder else {}
        oid = found.get(path.rpartition("/")[2])
        return self.repo.read_blob(oid) if oid else None


def _make_fake_scene(*, status_branch: str | None) -> Scene:
    repo = FakeFleetRepo(status_branch=status_branch or "main")

    def deny(message: str) -> None:
        repo.denial = Transient(message)

    return Scene(
        repo=repo,
        open_another=lambda: FakeFleetRepo(repo.store, status_branch=status_branch or "main"),
        commit=repo.commit_as_person,
        link=lambda path, target: repo.commit_as_person({path: Link(target)}),
        reset=repo.reset_as_person,
        deny=deny,
    )


def _make_git_scene(
    kind: str, request: pytest.FixtureRequest, opened: ExitStack, *, status_branch: str | None
) -> Scene:
    folder: Path = request.getfixturevalue("tmp_path")
    key: Path = request.getfixturevalue("signing_key")
    bare = make_bare_repo(folder / "fleet.git")
    person = Person(bare, folder / "clone")
    server: Sshd | None = request.getfixturevalue("sshd") if kind == "ssh" else None
    if kind == "hooks":
        add_hook(bare, "post-receive", "exit 0")
    fleet = make_opener(folder, opened)
    where = server.url(bare) if server else str(bare)

    def open_it(state: str) -> FleetRepo:
        return fleet(where, state=state, status_branch=status_branch, signing_key=key, via=server)

    return Scene(
        repo=open_it("state"),
        open_another=lambda: open_it("another-state"),
        commit=person.commit,
        link=person.link,
        reset=person.reset,
        deny=lambda message: add_hook(bare, "pre-receive", f"echo '{message}' >&2; exit 1"),
    )


def _make_scene(request: pytest.FixtureRequest, status_branch: str | None) -> Iterator[Scene]:
    if request.param == "fake":
        yield _make_fake_scene(status_branch=status_branch)
        return
    with ExitStack() as opened:
        yield _make_git_scene(request.param, request, opened, status_branch=status_branch)


_KINDS = ("fake", "direct", "hooks", "ssh")


@pytest.fixture(params=_KINDS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """One branch for everything."""
    yield from _make_scene(request, None)


@pytest.fixture(params=_KINDS)
def split_scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The reconciler writes to a branch of its own."""
    yield from _make_scene(request, "pressluft/status")


def test_an_empty_repo_has_no_tips_and_no_log(scene: Scene) -> None:
    tip = scene.repo.fetch()
    assert (tip.intents, tip.status) == (None, None)
    assert list(scene.repo.read_log(Branch.STATUS)) == []


def test_the_first_push_creates_the_branch(scene: Scene) -> None:
    commit = scene.push({"status/acme/site.yaml": b"one"})
    assert scene.repo.fetch().status == commit
    assert scene.read(commit, "status/acme/site.yaml") == b"one"


def test_what_a_person_pushes_is_seen_at_the_next_fetch(scene: Scene) -> None:
    commit = scene.commit({"intents/acme/spring.yaml": b"spec"})
    tip = scene.repo.fetch()
    assert (tip.intents, tip.status) == (commit, commit)
    assert scene.read(commit, "intents/acme/spring.yaml") == b"spec"


def test_another_daemon_sees_what_was_pushed(scene: Scene) -> None:
    commit = scene.push({"a": b"1"})
    assert scene.open_another().fetch().status == commit


def test_a_push_keeps_everything_it_does_not_name(scene: Scene) -> None:
    scene.commit({"intents/acme/a.yaml": b"a", "status/acme/site.yaml": b"old"})
    commit = scene.push({"status/acme/site.yaml": b"new"})
    assert scene.read(commit, "intents/acme/a.yaml") == b"a"
    assert scene.read(commit, "status/acme/site.yaml") == b"new"


def test_a_folder_lists_its_entries_with_their_kinds(scene: Scene) -> None:
    commit = scene.push({"b.yaml": b"1", "b/c.yaml": b"2", "a": b"3"})
    folder = scene.repo.read_folder(commit, "")
    assert folder is not None
    found = {entry.name: entry.kind for entry in folder.entries}
    assert found == {"a": EntryKind.FILE, "b": EntryKind.FOLDER, "b.yaml": EntryKind.FILE}


def test_equal_content_has_an_equal_folder_id_and_it_is_the_id_git_gives_it(scene: Scene) -> None:
    first = scene.push({"x/a": b"1", "x.y/a": b"1", "x/b/c": b"2"})
    folder = scene.repo.read_folder(first, "x")
    assert folder is not None
    assert folder.oid == "6ea120153c82c503c4380e7c3b7bd99b3f77fa6c"
    second = scene.push({"y/a": b"1", "y/b/c": b"2"})
    assert scene.repo.read_folder(second, "y") == folder


def test_there_is_no_folder_where_nothing_or_a_file_is(scene: Scene) -> None:
    commit = scene.push({"status/acme/site.yaml": b"1"})
    for path in ("nope", "status/nope", "status/acme/site.yaml", "status/acme/site.yaml/deeper"):
        assert scene.repo.read_folder(commit, path) is None


def test_none_deletes_a_file_and_the_folders_it_empties(scene: Scene) -> None:
    scene.push({"intents/acme/a.yaml": b"a", "other": b"o"})
    commit = scene.push({"intents/acme/a.yaml": None})
    assert scene.repo.read_folder(commit, "intents") is None
    assert scene.read(commit, "other") == b"o"


def test_deleting_what_is_not_there_is_no_error(scene: Scene) -> None:
    commit = scene.push({"a": b"1", "nope/at/all": None, "nope2": None})
    assert scene.read(commit, "a") == b"1"


def test_none_deletes_a_whole_folder_and_files_below_may_be_given_anew(scene: Scene) -> None:
    scene.commit({"status/acme/forged.yaml": b"f", "status/acme/deep/forged.yaml": b"f"})
    commit = scene.push({"status/acme": None, "status/acme/site.yaml": b"true"})
    folder = scene.repo.read_folder(commit, "status/acme")
    assert folder is not None
    assert [entry.name for entry in folder.entries] == ["site.yaml"]


def test_a_file_in_the_place_of_a_folder_is_replaced_and_the_reverse(scene: Scene) -> None:
    scene.commit({"status": b"a file", "other/file": b"x"})
    commit = scene.push({"status/acme/site.yaml": b"1", "other": b"now a file"})
    assert scene.read(commit, "status/acme/site.yaml") == b"1"
    assert scene.read(commit, "other") == b"now a file"


def test_the_last_file_may_be_deleted(scene: Scene) -> None:
    scene.push({"a": b"1"})
    commit = scene.push({"a": None})
    folder = scene.repo.read_folder(commit, "")
    assert folder is not None
    assert folder.entries == ()


def test_a_path_outside_the_tree_is_refused(scene: Scene) -> None:
    for path in ("../x", "a//b", "/a", "a/.git/config", "a/", "", "."):
        with pytest.raises(ValueError, match="path"):
            scene.repo.push_changes(Branch.STATUS, expected=None, changes={path: b"1"}, message=SAID)
    assert scene.repo.fetch().status is None


def test_a_link_is_listed_as_other_and_never_followed(scene: Scene) -> None:
    scene.commit({"real/secret.yaml": b"s"})
    scene.link("intents", "real")
    tip = scene.repo.fetch().intents
    assert tip is not None
    folder = scene.repo.read_folder(tip, "")
    assert folder is not None
    assert {entry.name: entry.kind for entry in folder.entries}["intents"] is EntryKind.OTHER
    assert scene.repo.read_folder(tip, "intents") is None


def test_a_blob_is_cut_at_the_limit(scene: Scene) -> None:
    commit = scene.push({"big": b"0123456789" * 10_000})
    folder = scene.repo.read_folder(commit, "")
    assert folder is not None
    oid = folder.entries[0].oid
    assert scene.repo.read_blob(oid, limit=12) == b"012345678901"
    assert len(scene.repo.read_blob(oid)) == 65_537
    assert len(scene.repo.read_blob(oid, limit=100_000)) == 100_000


def test_a_push_on_an_old_tip_is_refused_and_changes_nothing(scene: Scene) -> None:
    old = scene.push({"a": b"1"})
    new = scene.commit({"b": b"2"})
    with pytest.raises(TipMoved):
        scene.repo.push_changes(Branch.STATUS, expected=old, changes={"a": b"9"}, message=SAID)
    assert scene.repo.fetch().status == new


def test_the_branch_is_not_created_twice(scene: Scene) -> None:
    theirs = scene.commit({"b": b"2"})
    with pytest.raises(TipMoved):
        scene.repo.push_changes(Branch.STATUS, expected=None, changes={"a": b"9"}, message=SAID)
    assert scene.repo.fetch().status == theirs


def test_two_daemons_that_say_the_same_on_the_same_tip_do_not_both_win(scene: Scene) -> None:
    other = scene.open_another()
    tip = scene.push({"a": b"1"})
    other.fetch()
    ours = scene.repo.push_changes(Branch.STATUS, expected=tip, changes={"claim": b"x"}, message=SAID)
    with pytest.raises(TipMoved):
        other.push_changes(Branch.STATUS, expected=tip, changes={"claim": b"x"}, message=SAID)
    assert other.fetch().status == ours


def test_a_branch_forced_back_is_shown_and_not_wound_forward(scene: Scene) -> None:
    first = scene.push({"a": b"1"})
    second = scene.push({"a": b"2"})
    scene.reset(first)
    assert scene.repo.fetch().status == first
    with pytest.raises(TipMoved):
        scene.repo.push_changes(Branch.STATUS, expected=second, changes={"a": b"3"}, message=SAID)
    assert scene.repo.fetch().status == first


def test_a_deleted_branch_is_shown_and_not_brought_back(scene: Scene) -> None:
    first = scene.push({"a": b"1"})
    scene.reset(None)
    tip = scene.repo.fetch()
    assert (tip.intents, tip.status) == (None, None)
    with pytest.raises(TipMoved):
        scene.repo.push_changes(Branch.STATUS, expected=first, changes={"a": b"3"}, message=SAID)
    assert scene.repo.fetch().status is None


def test_a_denied_push_is_transient_and_says_why(scene: Scene) -> None:
    tip = scene.push({"a": b"1"})
    scene.deny("frozen for the audit")
    with pytest.raises(Transient, match="frozen for the audit"):
        scene.push({"a": b"2"})
    assert scene.repo.fetch().status == tip


def test_the_log_is_newest_first_and_limited(scene: Scene) -> None:
    for number in range(4):
        scene.push({"a": b"%d" % number}, CommitMessage(f"step {number}"))
    assert [entry.subject for entry in scene.repo.read_log(Branch.STATUS, limit=3)] == [
        "step 3",
        "step 2",
        "step 1",
    ]


def test_the_log_of_a_path_has_only_commits_that_touch_it(scene: Scene) -> None:
    scene.push({"status/acme/a": b"1"}, CommitMessage("acme begins"))
    scene.push({"status/other/a": b"1"}, CommitMessage("other begins"))
    scene.push({"status/acme/a": b"2"}, CommitMessage("acme ends"))
    log = scene.repo.read_log(Branch.STATUS, path="status/acme")
    assert [entry.subject for entry in log] == ["acme ends", "acme begins"]


def test_the_log_tells_trailers_author_and_who_signed(scene: Scene) -> None:
    theirs = scene.commit({"intents/acme/a": b"1"})
    trailers = (("Pressluft-Job", "0b3c"), ("Pressluft-Status", "running"))
    expected = scene.repo.fetch().status
    ours = scene.repo.push_changes(
        Branch.STATUS,
        expected=expected,
        changes={"status/acme/a": b"1"},
        message=CommitMessage("claimed", "Because it is due.", trailers),
        author="Grace <grace@example.org>",
    )
    newest, oldest = scene.repo.read_log(Branch.STATUS)
    assert (newest.commit, newest.author, newest.trailers) == (ours, "Grace", trailers)
    assert (newest.signed_by_us, oldest.signed_by_us) == (True, False)
    assert (oldest.commit, oldest.author, oldest.trailers) == (theirs, "Ada", ())


def test_a_status_branch_of_its_own_leaves_the_other_branch_alone(split_scene: Scene) -> None:
    intents = split_scene.commit({"intents/acme/a": b"1"})
    status = split_scene.push({"status/acme/a": b"1"})
    tip = split_scene.repo.fetch()
    assert (tip.intents, tip.status) == (intents, status)
    assert split_scene.repo.read_folder(status, "intents") is None
    assert [entry.commit for entry in split_scene.repo.read_log(Branch.INTENTS)] == [intents]
    assert [entry.commit for entry in split_scene.repo.read_log(Branch.STATUS)] == [status]


def test_rest_callers_write_intents_to_the_other_branch(split_scene: Scene) -> None:
    seen = split_scene.commit({"intents/acme/a": b"1"})
    split_scene.push({"status/acme/a": b"1"})
    intents = split_scene.repo.push_changes(
        Branch.INTENTS, expected=seen, changes={"intents/acme/b": b"2"}, message=SAID
    )
    assert split_scene.repo.fetch().intents == intents
    assert split_scene.read(intents, "intents/acme/a") == b"1"
