"""Commits byte by byte: messages with trailers, people's names made safe, a signature over it all."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from reconciler.adapters.git_tree import translate_git_errors
from reconciler.adapters.signing import sign_payload, verify_payload
from reconciler.ports import CommitMessage

_CRUFT = " \t.,:;\"'\\"
_TRAILER_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_NOT_A_LINE = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_LOOKS_LIKE_TRAILER = re.compile(r"(?m)^(?=[A-Za-z0-9-]+[ \t]*:|---|\()")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who commits: the daemon's name and address as they appear in the log."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Draft:
    """All that a commit says besides its tree: its parent's hex id (None: a root), author and message."""

    parent: str | None
    author: str | None
    message: CommitMessage


@dataclass(frozen=True, slots=True)
class CommitWriter:
    """Writes commits as `identity`, signed with `signing_key` if there is one."""

    identity: Identity
    signing_key: Path | None

    def write(self, repo: pygit2.Repository, tree: str, draft: Draft) -> str:
        """Write the commit into the object store; no ref is touched. Returns its hex id.

        Raises `Transient` (disk), `SettingsInvalid` (the key cannot sign), `RepoUnusable`.
        """
        moment = int(time.time())
        text = format_message(draft.message)
        author = format_person(draft.author, default=self.identity)
        committer = format_person(None, default=self.identity)
        headers = [f"tree {tree}"]
        headers += [f"parent {draft.parent}"] if draft.parent else []
        headers += [f"author {author} {moment} +0000", f"committer {committer} {moment} +0000"]
        # Two daemons may say the same on the same tip in the same second. The push is a lock only if their
        # commits differ: otherwise the loser would find "its" commit on the branch.
        headers += [f"pressluft-nonce {secrets.token_hex(8)}"]
        payload = "\n".join([*headers, "", text]).encode("utf-8", "replace")
        return self._store(repo, payload)

    def _store(self, repo: pygit2.Repository, payload: bytes) -> str:
        signature = sign_payload(payload, self.signing_key) if self.signing_key else None
        with translate_git_errors("cannot write a commit"):
            if signature is None:
                return str(repo.write(ObjectType.COMMIT, payload))
            return str(repo.create_commit_with_signature(payload.decode(), signature, "gpgsig"))


def format_message(message: CommitMessage) -> str:
    """Return the text of a commit: subject, body, trailers as git-interpret-trailers(1) reads them.

    Values come from people: line breaks in them become spaces, and lines of a body that git would take for
    trailers are indented, so that nobody writes a trailer but the caller.
    """
    subject = _flatten(message.subject)
    if not subject:
        raise ValueError("a commit needs a subject")
    parts = [subject]
    body = _clean_body(message.body)
    if body:
        parts.append(body)
    if message.trailers:
        parts.append("\n".join(_format_trailer(key, value) for key, value in message.trailers))
    return "\n\n".join(parts) + "\n"


def format_person(text: str | None, *, default: Identity) -> str:
    """Return `Name <email>` for a commit's header; `text` may be `Name <email>`, a bare name, or anything."""
    if text is None:
        return f"{_clean_name(default.name)} <{_clean_email(default.email)}>"
    name, bracket, rest = text.rpartition("<")
    if bracket and rest.rstrip().endswith(">"):
        return f"{_clean_name(name)} <{_clean_email(rest)}>"
    return f"{_clean_name(text)} <>"


def find_signer(repo: pygit2.Repository, commit: str, allowed_signers: Path) -> str | None:
    """Return the principal in `allowed_signers` who signed the commit, None if it is unsigned or by others.

    Validity periods are judged at the commit's own date, as git does; callers who fear a stolen old key must
    compare that date themselves.
    """
    with translate_git_errors(f"cannot read commit {commit[:12]}"):
        found = repo[commit].peel(pygit2.Commit)
        signature, payload = found.gpg_signature
    if signature is None or payload is None:
        return None
    return verify_payload(
        payload, signature, allowed_signers=allowed_signers, at=make_moment(found.commit_time)
    )


def is_signed(repo: pygit2.Repository, commit: str) -> bool:
    """Whether a commit carries any signature."""
    with translate_git_errors(f"cannot read commit {commit[:12]}"):
        return repo[commit].peel(pygit2.Commit).gpg_signature[0] is not None


def make_moment(seconds: int) -> datetime:
    """Return the time of a commit, aware, in UTC. Forged dates outside the calendar become its ends."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _LATEST if seconds > 0 else _EARLIEST


def parse_trailers(text: str) -> Sequence[tuple[str, str]]:
    """Read git's `%(trailers:only,unfold)`: one `Key: value` per line."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return tuple((key.strip(), value.strip()) for key, _, value in pairs)


def _format_trailer(key: str, value: str) -> str:
    if not _TRAILER_KEY.fullmatch(key):
        raise ValueError(f"not a trailer's key: {key!r}")
    return f"{key}: {_flatten(value)}".rstrip()


def _flatten(text: str) -> str:
    return _NOT_A_LINE.sub(" ", text).strip()


def _clean_body(body: str) -> str:
    lines = (_flatten_line(line) for line in body.splitlines())
    return _LOOKS_LIKE_TRAILER.sub(" ", "\n".join(lines).strip("\n"))


def _flatten_line(line: str) -> str:
    return _NOT_A_LINE.sub(" ", line).rstrip()


def _clean_name(name: str) -> str:
    return re.sub(r"[<>]", "", _flatten(name)).strip(_CRUFT) or "unknown"


def _clean_email(email: str) -> str:
    return re.sub(r"[<>\s]", "", _flatten(email))
