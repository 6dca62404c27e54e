"""Bearer tokens for programs: random, kept as hashes in one file, each with a name and what it may do."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from reconciler.errors import PressluftError, SettingsInvalid
from schemas.model import Flag, Model, Name, Timestamp

PREFIX = "pressluft_"
"""Lets scanners for leaked secrets find our tokens."""


class TokenEntry(Model):
    """What is kept of a token."""

    name: Name
    """Who uses it; becomes the actor of what it asks for."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """The token's hash: it is random and long, so a plain hash gives nothing away."""
    sites: tuple[Name, ...] = ()
    """The sites it may see; none named means all."""
    may_write: Flag = False
    """Whether it may ask for anything, or only read."""
    created_at: Timestamp
    """When it was made."""


ENTRIES = TypeAdapter(tuple[TokenEntry, ...])


class TokenRefused(PressluftError):
    """A token of that name exists already, or does not."""


@dataclass
class TokenFile:
    """The file of all tokens; `None` has none. Read anew when it changes, so that revoking works at once."""

    path: Path | None
    _stamp: tuple[int, int, int] | None = None
    _entries: dict[str, TokenEntry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, token: str) -> TokenEntry | None:
        """Find a token. The comparison is one of hashes, so its time tells nothing of the token."""
        with self._lock:
            self._read_if_changed()
            return self._entries.get(hash_token(token))

    def list_entries(self) -> Sequence[TokenEntry]:
        """List all tokens. Raises `SettingsInvalid`."""
        with self._lock:
            self._read_if_changed()
            return tuple(self._entries.values())

    def create(self, name: str, *, sites: Sequence[str], may_write: bool, now: datetime) -> str:
        """Make a token and return it; it is never shown again. Raises `TokenRefused`, `SettingsInvalid`."""
        token = PREFIX + secrets.token_urlsafe(32)
        with self._changing() as entries:
            if any(entry.name == name for entry in entries):
                raise TokenRefused(
                    f"there is a token {name!r} already; revoke it first or choose another name"
                )
            entry = TokenEntry(
                name=name, sha256=hash_token(token), sites=tuple(sites), may_write=may_write, created_at=now
            )
            entries.append(entry)
        return token

    def revoke(self, name: str) -> None:
        """Remove a token. Raises `TokenRefused` if there is none of that name."""
        with self._changing() as entries:
            kept = [entry for entry in entries if entry.name != name]
            if len(kept) == len(entries):
                raise TokenRefused(f"there is no token {name!r}")
            entries[:] = kept

    @contextmanager
    def _changing(self) -> Iterator[list[TokenEntry]]:
        """Read, let the caller change, and replace the file as a whole; one process at a time."""
        if self.path is None:
            raise SettingsInvalid("api_tokens: expected the path of a file, to keep the tokens' hashes in")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with Path(f"{self.path}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                entries = list(read_entries(self.path))
                yield entries
                write_entries(self.path, entries)
        except OSError as error:
            raise SettingsInvalid(f"api_tokens: {error}") from error

    def _read_if_changed(self) -> None:
        if self.path is None:
            return
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._entries, self._stamp = {}, None
            return
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._entries = {entry.sha256: entry for entry in read_entries(self.path)}
            self._stamp = stamp


def read_entries(path: Path) -> Sequence[TokenEntry]:
    """Read the file; none is empty. Raises `SettingsInvalid`."""
    try:
        return ENTRIES.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise SettingsInvalid(f"api_tokens: {path} cannot be read: {error}") from error


def write_entries(path: Path, entries: Sequence[TokenEntry]) -> None:
    """Replace the file, readable by its owner alone."""
    text = json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2) + "\n"
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(draft).replace(path)


def hash_token(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
