"""Trees and commits that no git client writes, but anybody with push rights can forge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.errors import RepoUnusable
from reconciler.ports import Branch, EntryKind
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import git, make_bare_repo


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_bare_repo(tmp_path / "fleet.git")


def _write(bare: Path, kind: str, content: bytes) -> str:
    command = ["git", "-C", str(bare), "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout.decode().strip()


def _commit(bare: Path, entries: list[tuple[bytes, bytes, str]], date: str = "1") -> str:
    """Commit a tree of (mode, name, id) entries exactly as given, and put it on `main`."""
    tree = _write(bare, "tree", b"".join(m + b" " + n + b"\0" + bytes.fromhex(i) for m, n, i in entries))
    person = f"Eve <eve@x> {date} +0000"
    commit = _write(bare, "commit", f"tree {tree}\nauthor {person}\ncommitter {person}\n\nforged\n".encode())
    (bare / "refs/heads/main").write_text(f"{commit}\n")
    return commit


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param(b"caf\xe9", "caf\\udce9", id="not UTF-8"),
        pytest.param(b"a\nb", "a\\nb", id="line break"),
        pytest.param(b"\x1b[2J", "\\x1b[2J", id="terminal escape"),
        pytest.param("a\u202etxt".encode(), "a\\u202etxt", id="right-to-left override"),
        pytest.param(b"..", "..", id="parent"),
        pytest.param(b".", ".", id="self"),
        pytest.param(b".GIT", ".GIT", id="git folder"),
        pytest.param(b"a/b", "a/b", id="slash"),
    ],
)
def test_a_name_that_cannot_be_is_other_and_printable(
    raw: bytes, shown: str, bare: Path, fleet: OpenFleet
) -> None:
    blob = _write(bare, "blob", b"x")
    commit = _commit(bare, [(b"100644", raw, blob)])
    folder = fleet(bare).read_folder(commit, "")
    assert folder is not None
    (entry,) = folder.entries
    assert (entry.name, entry.kind) == (shown, EntryKind.OTHER)
    assert entry.name.isprintable()


@pytest.mark.parametrize("mode", [b"120000", b"160000"])
def test_links_and_submodules_are_other_and_not_followed(mode: bytes, bare: Path, fleet: OpenFleet) -> None:
    target = _write(bare, "blob", b"/etc")
    commit = _commit(bare, [(mode, b"intents", target)])
    repo = fleet(bare)
    folder = repo.read_folder(commit, "")
    assert folder is not None
    assert [entry.kind for entry in folder.entries] == [EntryKind.OTHER]
    assert repo.read_folder(commit, "intents") is None


def test_a_folder_that_is_really_a_file_does_not_stop_a_status_from_being_written(
    bare: Path, fleet: OpenFleet
) -> None:
    blob = _write(bare, "blob", b"x")
    forged = _commit(bare, [(b"160000", b"status", blob), (b"120000", b"zone", blob)])
    repo = fleet(bare)
    commit = repo.push_changes(
        Branch.STATUS, expected=forged, changes={"status/acme/site.yaml": b"1", "zone/a": b"2"}, message=SAID
    )
    assert git(bare, "show", f"{commit}:status/acme/site.yaml") == "1"
    assert git(bare, "show", f"{commit}:zone/a") == "2"


@pytest.mark.parametrize("date", ["99999999999999", "-5", "18446744073709551615"])
def test_a_date_outside_the_calendar_does_not_break_the_log(date: str, bare: Path, fleet: OpenFleet) -> None:
    commit = _commit(bare, [], date)
    repo = fleet(bare)
    (entry,) = repo.read_log(Branch.STATUS)
    assert entry.commit == commit
    assert entry.at.tzinfo is not None


def test_a_message_that_looks_like_the_end_of_the_log_is_one_entry(bare: Path, fleet: OpenFleet) -> None:
    tree = _write(bare, "tree", b"")
    person = "Eve <eve@x> 1 +0000"
    text = "subject\n\ncommit 0000\n\nPressluft-Job: forged\nPressluft-Status: x\n"
    commit = _write(bare, "commit", f"tree {tree}\nauthor {person}\ncommitter {person}\n\n{text}".encode())
    (bare / "refs/heads/main").write_text(f"{commit}\n")
    (entry,) = fleet(bare).read_log(Branch.STATUS)
    assert (entry.commit, entry.subject, entry.signed_by_us) == (commit, "subject", False)
    assert entry.trailers == (("Pressluft-Job", "forged"), ("Pressluft-Status", "x"))


def test_a_replacement_of_an_object_changes_nothing(bare: Path, fleet: OpenFleet) -> None:
    repo = fleet(bare)
    honest = repo.push_changes(Branch.STATUS, expected=None, changes={"a": b"1"}, message=SAID)
    (bare / "refs/heads/main").unlink()
    forged = _commit(bare, [])
    git(bare, "update-ref", f"refs/replace/{honest}", forged)
    git(bare, "update-ref", "refs/heads/main", honest)
    assert [entry.subject for entry in repo.read_log(Branch.STATUS)] == [SAID.subject]
    folder = repo.read_folder(honest, "")
    assert folder is not None
    assert [entry.name for entry in folder.entries] == ["a"]


def test_a_ref_of_garbage_is_reported(bare: Path, fleet: OpenFleet) -> None:
    (bare / "refs/heads/main").write_text("garbage\n")
    with pytest.raises(RepoUnusable, match="refs/heads/main"):
        fleet(bare).fetch()


def test_a_missing_object_is_reported(bare: Path, fleet: OpenFleet) -> None:
    commit = _commit(bare, [])
    (bare / "objects" / commit[:2] / commit[2:]).unlink()
    with pytest.raises(RepoUnusable, match=f"{commit[:12]}.*fsck"):
        fleet(bare).read_folder(commit, "")


def test_a_corrupt_object_is_reported(bare: Path, fleet: OpenFleet) -> None:
    blob = _write(bare, "blob", b"x" * 1000)
    file = bare / "objects" / blob[:2] / blob[2:]
    file.chmod(0o600)
    file.write_bytes(b"rubbish")
    with pytest.raises(RepoUnusable, match=blob[:12]):
        fleet(bare).read_blob(blob)


def test_a_folder_is_not_read_as_a_file(bare: Path, fleet: OpenFleet) -> None:
    with pytest.raises(RepoUnusable, match="not a file"):
        fleet(bare).read_blob(_write(bare, "tree", b""))


_READ_HUGE = """
import sys
from contextlib import ExitStack
from pathlib import Path
from tests.integration.git.opening import make_opener

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

folder, location, blob = sys.argv[1:]
repo = make_opener(Path(folder), ExitStack())(location)
before = peak()
assert repo.read_blob(blob, limit=70_000) == bytes(70_000)
print(peak() - before)
"""


def test_a_huge_blob_is_never_loaded_whole(bare: Path, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(100_000_000)
    blob = git(bare, "hash-object", "-w", tmp_path / "huge")
    command = [sys.executable, "-c", _READ_HUGE, str(tmp_path), str(bare), blob]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10_000, "KiB"
