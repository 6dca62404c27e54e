"""People who work on the fleet repo with plain git: a bare repository and clones of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "LC_ALL": "C",
}


def git(folder: Path, *words: str | Path, stdin: str | None = None) -> str:
    """Run git as a person would, and return what it printed."""
    done = subprocess.run(
        ["git", "-C", folder, *words],
        env=_ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {words}: {done.stderr}"
    return done.stdout.strip()


def make_bare_repo(path: Path) -> Path:
    """Create an empty bare repository whose HEAD is `main`."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--bare", "--initial-branch=main")
    git(path, "config", "receive.denyDeleteCurrent", "ignore")
    return path


def add_hook(repo: Path, name: str, script: str) -> None:
    """Give a bare repository a server-side hook."""
    hook = repo / "hooks" / name
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


class Person:
    """Somebody with a clone, made at the first commit."""

    def __init__(self, repo: Path, clone: Path) -> None:
        self.repo = repo
        self.clone = clone

    def commit(self, changes: Mapping[str, bytes | None], *, subject: str = "Change by hand") -> str:
        """Write files, commit and push; returns the commit's id."""
        self.pull()
        for path, content in changes.items():
            file = self.clone / path
            if content is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return self.push(subject)

    def link(self, path: str, target: str) -> str:
        """Commit a symbolic link and push."""
        self.pull()
        (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
        (self.clone / path).symlink_to(target)
        return self.push("Add a link")

    def pull(self) -> None:
        """Bring the clone up to date with `main`."""
        if not self.clone.exists():
            git(self.repo, "clone", "--quiet", str(self.repo), self.clone)
        elif git(self.repo, "for-each-ref", "refs/heads/main"):
            git(self.clone, "fetch", "--quiet", "origin")
            git(self.clone, "reset", "--quiet", "--hard", "origin/main")

    def push(self, subject: str) -> str:
        """Commit all and push."""
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "--allow-empty", "-m", subject)
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")
        return git(self.clone, "rev-parse", "HEAD")

    def reset(self, commit: str | None) -> None:
        """Force `main` back to a commit, or delete it."""
        self.pull()
        git(self.clone, "push", "--quiet", "--force", "origin", f"{commit or ''}:refs/heads/main")
