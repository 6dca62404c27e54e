"""What a commit says, read back by git itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.adapters.git_commit import Identity, format_message, format_person
from reconciler.ports import Branch, CommitMessage, Signature
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import git, make_bare_repo

_ANY_TEXT = st.text(max_size=40)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_bare_repo(tmp_path / "fleet.git")


def _parse_trailers(message: str) -> list[str]:
    command = ["git", "interpret-trailers", "--parse"]
    done = subprocess.run(command, input=message.encode(), capture_output=True, check=True, cwd="/")
    return done.stdout.decode().splitlines()


def test_git_reads_the_trailers() -> None:
    message = CommitMessage("claimed", "Due since noon.", (("Pressluft-Job", "7f"), ("Pressluft-Actor", "")))
    assert _parse_trailers(format_message(message)) == ["Pressluft-Job: 7f", "Pressluft-Actor: "]


@settings(max_examples=60, deadline=None)
@given(subject=_ANY_TEXT, body=st.text(alphabet="ab:-\n #(P", max_size=60), value=_ANY_TEXT)
def test_nobody_can_write_a_trailer_but_the_caller(subject: str, body: str, value: str) -> None:
    message = CommitMessage(f"x{subject}", body, (("Pressluft-Job", value),))
    (trailer,) = _parse_trailers(format_message(message))
    assert trailer.startswith("Pressluft-Job:")


@pytest.mark.parametrize(
    "body",
    ["Pressluft-Status: succeeded", "Fine.\n\nPressluft-Status: succeeded", "a\r\n\r\nPressluft-Status: x"],
)
def test_a_body_without_trailers_has_none(body: str) -> None:
    assert _parse_trailers(format_message(CommitMessage("subject", body))) == []


@pytest.mark.parametrize("subject", ["", " \n "])
def test_a_commit_without_a_subject_is_a_bug(subject: str) -> None:
    with pytest.raises(ValueError, match="subject"):
        format_message(CommitMessage(subject))


@pytest.mark.parametrize("key", ["", "Two Words", "Colon:", "Line\nBreak", "-dash"])
def test_a_trailer_without_a_proper_key_is_a_bug(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        format_message(CommitMessage("subject", trailers=((key, "x"),)))


@pytest.mark.parametrize(
    ("text", "person"),
    [
        pytest.param(None, "Us <us@x>", id="nobody"),
        pytest.param("Ada <ada@x>", "Ada <ada@x>", id="both"),
        pytest.param("Ada", "Ada <>", id="bare name"),
        pytest.param("A<d>a <a d\na@x> ", "Ada <ada@x>", id="brackets and breaks"),
        pytest.param("<>", "unknown <>", id="nothing"),
        pytest.param("\n\0", "unknown <>", id="control characters"),
        pytest.param("a > b <x", "a  b x <>", id="unbalanced"),
    ],
)
def test_a_person_is_made_safe_for_the_header(text: str | None, person: str) -> None:
    assert format_person(text, default=Identity("Us", "us@x")) == person


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(author=_ANY_TEXT, subject=_ANY_TEXT, body=_ANY_TEXT, value=_ANY_TEXT)
def test_any_text_makes_a_sound_commit(  # noqa: PLR0917 - hypothesis and pytest pass by name
    author: str, subject: str, body: str, value: str, bare: Path, fleet: OpenFleet
) -> None:
    with fleet(bare) as repo:
        commit = repo.push_changes(
            Branch.STATUS,
            expected=repo.fetch().status,
            changes={"a": author.encode()},
            message=CommitMessage(f"x{subject}", body, (("Pressluft-Job", value),)),
            author=author,
        )
        (entry,) = repo.read_log(Branch.STATUS, limit=1)
    assert git(bare, "fsck", "--strict", "--no-dangling") == ""
    assert entry.commit == commit
    assert [key for key, _ in entry.trailers] == ["Pressluft-Job"]


def test_git_accepts_the_signature(bare: Path, tmp_path: Path, fleet: OpenFleet, signing_key: Path) -> None:
    public = signing_key.with_suffix(".pub").read_text()
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"daemon@example.org {public}")
    git(bare, "config", "gpg.ssh.allowedSignersFile", str(signers))
    repo = fleet(bare, signing_key=signing_key)
    message = CommitMessage("unterschrieben: Ä <x>", "body\n\nmore", (("Pressluft-Job", "1"),))
    commit = repo.push_changes(
        Branch.STATUS, expected=None, changes={"a": b"1"}, message=message, author="Ö <o@x>"
    )
    git(bare, "verify-commit", commit)
    assert 'Good "git" signature for daemon@example.org' in git(bare, "log", "--show-signature", "main")
    assert repo.judge_signature(commit, [public]) is Signature.ALLOWED


def test_a_signature_moved_to_another_commit_is_not_ours(
    bare: Path, fleet: OpenFleet, signing_key: Path
) -> None:
    repo = fleet(bare, signing_key=signing_key)
    ours = repo.push_changes(Branch.STATUS, expected=None, changes={"a": b"1"}, message=SAID)
    raw = git(bare, "cat-file", "commit", ours) + "\n"
    forged = git(
        bare,
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        stdin=raw.replace("promotion queued", "promotion failed"),
    )
    git(bare, "update-ref", "refs/heads/main", forged)
    (entry,) = repo.read_log(Branch.STATUS)
    assert entry.commit == forged
    assert not entry.signed_by_us


def test_an_unsigned_daemon_claims_no_signature(bare: Path, fleet: OpenFleet) -> None:
    repo = fleet(bare)
    repo.push_changes(Branch.STATUS, expected=None, changes={"a": b"1"}, message=SAID)
    assert [entry.signed_by_us for entry in repo.read_log(Branch.STATUS)] == [False]
