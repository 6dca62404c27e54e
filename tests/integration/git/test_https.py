"""The fleet repo over https with a token."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from reconciler.errors import RepoUnusable, Transient
from reconciler.ports import Branch
from tests.integration.git.https import GitHttps
from tests.integration.git.opening import SAID, OpenFleet
from tests.integration.git.people import Person, git, make_bare_repo


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    repo = make_bare_repo(tmp_path / "fleet.git")
    Person(repo, tmp_path / "clone").commit({"README": b"fleet"})
    return repo


@pytest.fixture
def trusted(https: GitHttps, monkeypatch: pytest.MonkeyPatch) -> GitHttps:
    """The server, with its authority known to the machine."""
    monkeypatch.setenv("GIT_SSL_CAINFO", str(https.authority))
    return https


def test_a_token_lets_in_for_reading_and_writing(bare: Path, trusted: GitHttps, fleet: OpenFleet) -> None:
    repo = fleet(trusted.url(bare), token=SecretStr(trusted.token))
    tip = repo.fetch().status
    commit = repo.push_changes(Branch.STATUS, expected=tip, changes={"a": b"1"}, message=SAID)
    assert git(bare, "rev-parse", "main") == commit


@pytest.mark.parametrize("token", [None, SecretStr("wrong")])
def test_without_the_right_token_the_error_says_so_and_shows_no_token(
    token: SecretStr | None, bare: Path, trusted: GitHttps, fleet: OpenFleet
) -> None:
    with pytest.raises(RepoUnusable, match="check the token") as caught:
        fleet(trusted.url(bare), token=token).fetch()
    assert "wrong" not in str(caught.value)


def test_the_token_does_not_follow_a_redirect(bare: Path, trusted: GitHttps, fleet: OpenFleet) -> None:
    trusted.redirect_to = f"https://localhost:{trusted.port}/elsewhere"
    with pytest.raises((Transient, RepoUnusable)):
        fleet(trusted.url(bare), token=SecretStr(trusted.token)).fetch()
    assert len(trusted.seen) == 1


def test_an_untrusted_certificate_is_refused(bare: Path, https: GitHttps, fleet: OpenFleet) -> None:
    with pytest.raises((Transient, RepoUnusable), match="certificate"):
        fleet(https.url(bare), token=SecretStr(https.token)).fetch()
    assert https.seen == []
