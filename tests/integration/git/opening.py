"""How tests open fleet repos: the daemon's settings with defaults, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from pydantic import SecretStr

from reconciler.adapters.git_repo import GitFleetRepo, Identity, TrustSettings, open_fleet_repo
from reconciler.ports import CommitMessage
from tests.integration.git.sshd import Sshd, make_key

US = Identity(name="Pressluft", email="pressluft@example.org")
SAID = CommitMessage("promotion queued: acme staging -> production")


class OpenFleet(Protocol):
    """Opens a fleet repo; `state` names the daemon's state folder."""

    def __call__(  # noqa: PLR0913 - one setting of the daemon each
        self,
        location: str | Path,
        *,
        state: str = "state",
        branch: str | None = None,
        status_branch: str | None = None,
        signing_key: Path | None = None,
        via: Sshd | None = None,
        token: SecretStr | None = None,
        trust: TrustSettings | None = None,
    ) -> GitFleetRepo: ...


@pytest.fixture(scope="session")
def signing_key(session_folder: Path) -> Path:
    """The daemon's signing key."""
    path = session_folder / "signing-key"
    return path if path.exists() else make_key(path)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OpenFleet]:
    """Open fleet repos with state folders below `tmp_path`."""
    with ExitStack() as opened:
        yield make_opener(tmp_path, opened)


def make_opener(folder: Path, opened: ExitStack) -> Callable[..., GitFleetRepo]:
    """Return the function that the fixture hands out."""

    def open_it(  # noqa: PLR0913 - one setting of the daemon each
        location: str | Path,
        *,
        state: str = "state",
        branch: str | None = None,
        status_branch: str | None = None,
        signing_key: Path | None = None,
        via: Sshd | None = None,
        token: SecretStr | None = None,
        trust: TrustSettings | None = None,
    ) -> GitFleetRepo:
        repo = open_fleet_repo(
            str(location),
            branch=branch,
            status_branch=status_branch,
            signing_key=signing_key,
            identity=US,
            state_dir=folder / state,
            ssh_key=via.key if via else None,
            known_hosts=via.known_hosts if via else None,
            token=token,
            trust=trust or TrustSettings(),
        )
        return opened.enter_context(repo)

    return open_it
