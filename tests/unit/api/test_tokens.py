"""Bearer tokens in their file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.tokens import TokenFile, TokenRefused
from reconciler.errors import SettingsInvalid

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def make(path: Path, name: str = "ci") -> str:
    return TokenFile(path).create(name, sites=["acme"], may_write=True, now=NOW)


def test_a_token_is_found_again_with_what_it_may_do(tmp_path: Path) -> None:
    token = make(tmp_path / "tokens.json")
    found = TokenFile(tmp_path / "tokens.json").find(token)
    assert found is not None
    assert (found.name, found.sites, found.may_write) == ("ci", ("acme",), True)


def test_only_a_hash_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = make(path)
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_what_another_process_revokes_is_worth_nothing_here(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token, ours = make(path), TokenFile(path)
    assert ours.find(token)
    TokenFile(path).revoke("ci")
    assert ours.find(token) is None


@pytest.mark.parametrize("guess", ["", "pressluft_", "ci", "\ud800"])
def test_a_guess_finds_nothing(tmp_path: Path, guess: str) -> None:
    make(tmp_path / "tokens.json")
    assert TokenFile(tmp_path / "tokens.json").find(guess) is None


def test_the_hash_itself_is_no_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    make(path)
    (entry,) = TokenFile(path).list_entries()
    assert TokenFile(path).find(entry.sha256) is None


def test_a_name_is_given_once(tmp_path: Path) -> None:
    make(tmp_path / "tokens.json")
    with pytest.raises(TokenRefused, match="already"):
        make(tmp_path / "tokens.json")


def test_a_broken_file_lets_nobody_in_and_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text("{")
    with pytest.raises(SettingsInvalid):
        TokenFile(path).find("guess")
    with pytest.raises(SettingsInvalid):
        make(path)
    assert path.read_text() == "{"
