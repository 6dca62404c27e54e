"""Whose word `status/` is: what stands there must be what a trusted daemon wrote there last (design.md §2).

A daemon's word is a commit that changes `status/` on top of one parent and is signed by a trusted key. Merges and
commits that leave `status/` as it was are nobody's word, whoever signed them: a person may sign, and a facade may share
the daemon's key, on top of a tip that somebody forged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import SortMode

from reconciler.adapters.git_commit import find_signer
from reconciler.adapters.git_tree import find_subtree_id, translate_git_errors
from reconciler.errors import RepoUnusable
from reconciler.ports import Tampering

STATUS = "status"
SKEW = 300
"""Seconds that a daemon's clock may be behind another's. An older key cannot speak from before a newer word."""
_SSH_SIGNATURE = b"-----BEGIN SSH SIGNATURE-----"


@dataclass
class StatusTrust:
    """Finds out whether `status/` at a tip is a trusted daemon's word. One thread at a time.

    `signers` is a file as in ssh-keygen(1), ALLOWED SIGNERS; it is read at each look, so keys are rotated by editing
    it. `note` remembers the last word over a restart: without it a branch that was wound back while no daemon looked
    is believed, with it that is put right as well. `root` is a commit whose `status/` counts although nobody signed
    it, for a fleet that was run without keys.
    """

    repo: pygit2.Repository
    signers: Path
    note: Path
    root: str | None = None
    _seen: str | None = None
    """The tip at which the last word was found to stand: only what came later is walked."""

    def look(self, tip: str | None) -> Tampering | None:
        """Say how `status/` at a tip differs from the last trusted word; `None` when it does not.

        Raises `RepoUnusable` where there is a `status/` and no trusted word at all.
        """
        last = self._recall()
        if tip is not None and tip in {last, self._seen}:
            return None
        with translate_git_errors("cannot read the history of status/"):
            return self._compare(tip, last)

    def remember(self, commit: str) -> None:
        """Take a commit for the last word: it was just pushed by us, on top of what was looked at."""
        self._seen = commit
        self.note.write_text(commit)

    def _compare(self, tip: str | None, last: str | None) -> Tampering | None:
        if tip is None:
            return self._describe(None, last, "the branch was deleted") if last else None
        word, rewound = self._find_word(tip, last)
        if word is None:
            self._check_is_new(tip)
            return None
        if rewound or self._status_of(tip) != self._status_of(word):
            return self._describe(tip, word, "the branch was wound back" if rewound else "")
        self.remember(word)
        self._seen = tip
        return None

    def _find_word(self, tip: str, last: str | None) -> tuple[str | None, bool]:
        """Find the last word, and whether the branch was wound back behind it."""
        if last is not None and self._contains(tip, last):
            return self._find_later(tip, last) or last, False
        found = self._find_newest(tip)
        if last is None:
            return found, False
        if found is None or self._contains(last, found) or self._time_of(found) < self._time_of(last):
            return last, True
        return found, False  # another daemon has put it right, and went on from there

    def _find_newest(self, tip: str) -> str | None:
        """Find the newest word below a tip, verifying as few signatures as can be."""
        first = self._find_first(tip)
        if first is None:
            return self.root if self.root and self._contains(tip, self.root) else None
        return self._find_later(tip, first) or first

    def _find_first(self, tip: str) -> str | None:
        """Find the word of the latest time: what says an older one is on top may have lied about its date."""
        words = self._list_words(self.repo.walk(tip, SortMode.TIME))
        return next((str(commit.id) for commit in words), None)

    def _find_later(self, tip: str, known: str) -> str | None:
        """Find the newest word between a tip and a known one: it follows on the known one, and is no older."""
        walk = self.repo.walk(tip, SortMode.TOPOLOGICAL | SortMode.TIME)
        walk.hide(known)
        if self._seen is not None and self._seen in self.repo:
            walk.hide(self._seen)
        earliest = self._time_of(known) - SKEW
        for commit in self._list_words(walk):
            if commit.commit_time >= earliest and self._contains(str(commit.id), known):
                return str(commit.id)
        return None

    def _list_words(self, walk: Iterator[pygit2.Commit]) -> Iterator[pygit2.Commit]:
        for commit in walk:
            signature, _ = commit.gpg_signature
            if signature is None or not signature.startswith(_SSH_SIGNATURE) or not changes_status(commit):
                continue
            if find_signer(self.repo, str(commit.id), self.signers) is not None:
                yield commit

    def _check_is_new(self, tip: str) -> None:
        """Nobody trusted ever spoke: that is well only where nothing was said at all."""
        if self._status_of(tip) is None:
            return
        raise RepoUnusable(
            f"status/ at commit {tip[:12]} was written by nobody whose key is trusted here, and no commit before it "
            "was: look at `git log -- status`. If another daemon wrote it, add that one's public key to trusted_keys; "
            f"if this fleet was run without keys and status/ is right, set trusted_from to {tip}; else remove status/"
        )

    def _describe(self, tip: str | None, word: str, how: str) -> Tampering:
        sites = tuple(sorted(find_changed_names(self.repo, self._status_of(tip), self._status_of(word))))
        guilty, signed = self._find_guilty(tip, word) if tip else ("", False)
        detail = how or guilty or "by nobody who can be named"
        return Tampering(tip=tip, trusted=word, sites=sites, detail=detail, signed=signed)

    def _find_guilty(self, tip: str, word: str) -> tuple[str, bool]:
        """Say which commit changed `status/` since the last word, and whether it is signed."""
        walk = self.repo.walk(tip, SortMode.TOPOLOGICAL | SortMode.TIME)
        walk.hide(word)
        for commit in walk:
            if changes_status(commit):
                is_signed = commit.gpg_signature[0] is not None
                how = "signed by a key that is not trusted" if is_signed else "not signed"
                author = (commit.author.raw_name or b"").decode(errors="replace")
                return f"commit {str(commit.id)[:12]} of {author!r}, {how}", is_signed
        return "", False

    def _recall(self) -> str | None:
        """Return the last word that is remembered, if its commit is still there."""
        if not self.note.exists():
            return None
        commit = self.note.read_text().strip()
        return commit if len(commit) == 40 and commit in self.repo else None

    def _contains(self, tip: str, commit: str) -> bool:
        return tip == commit or (commit in self.repo and self.repo.descendant_of(tip, commit))

    def _status_of(self, commit: str | None) -> str | None:
        return find_subtree_id(self.repo[commit].peel(pygit2.Tree), STATUS) if commit else None

    def _time_of(self, commit: str) -> int:
        return self.repo[commit].peel(pygit2.Commit).commit_time


def changes_status(commit: pygit2.Commit) -> bool:
    """Whether a commit with one parent at most leaves another `status/` than it found; of a merge, than any parent."""
    here = find_subtree_id(commit.tree, STATUS)
    before = [find_subtree_id(parent.tree, STATUS) for parent in commit.parents] or [None]
    return here not in before


def find_changed_names(repo: pygit2.Repository, one: str | None, other: str | None) -> set[str]:
    """Find the names right below two trees under which they differ."""
    there, here = (
        {item.raw_name or b"": item.id for item in repo[tree].peel(pygit2.Tree)} if tree else {}
        for tree in (one, other)
    )
    differing = {name for name in there.keys() | here.keys() if there.get(name) != here.get(name)}
    return {name.decode(errors="backslashreplace") for name in differing}
