"""Signatures over commits: made by one key, accepted for that key, that text and that time only."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.adapters.signing import make_allowed_signer, sign_payload, verify_payload
from reconciler.errors import SettingsInvalid

PAYLOAD = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nclaimed\n"


def _make_key(path: Path, passphrase: str = "") -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", path]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return _make_key(tmp_path / "key")


@pytest.fixture
def signers(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "allowed_signers"
    path.write_text(make_allowed_signer(key, "pressluft"))
    return path


def _verify(
    signature: str, signers: Path, payload: bytes = PAYLOAD, at: datetime | None = None
) -> str | None:
    return verify_payload(payload, signature.encode(), allowed_signers=signers, at=at)


def test_a_signature_is_accepted_for_its_key_and_text(key: Path, signers: Path) -> None:
    assert _verify(sign_payload(PAYLOAD, key), signers) == "pressluft"


def test_a_changed_text_is_not_accepted(key: Path, signers: Path) -> None:
    assert _verify(sign_payload(PAYLOAD, key), signers, PAYLOAD + b"x") is None


def test_another_key_is_not_accepted(tmp_path: Path, signers: Path) -> None:
    assert _verify(sign_payload(PAYLOAD, _make_key(tmp_path / "other")), signers) is None


def test_a_signature_for_another_purpose_is_not_accepted(key: Path, signers: Path) -> None:
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", "file", "-f", key]
    done = subprocess.run(command, input=PAYLOAD, capture_output=True, check=True)
    assert _verify(done.stdout.decode(), signers) is None


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param("", id="empty"),
        pytest.param("-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----", id="PGP"),
        pytest.param("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----", id="cut off"),
    ],
)
def test_what_is_no_ssh_signature_is_not_accepted(signature: str, signers: Path) -> None:
    assert _verify(signature, signers) is None


def test_a_key_is_accepted_in_its_period_only(key: Path, tmp_path: Path) -> None:
    words = key.with_suffix(".pub").read_text().split()
    signers = tmp_path / "periods"
    signers.write_text(f'old valid-before="20260101Z",namespaces="git" {words[0]} {words[1]}\n')
    signature = sign_payload(PAYLOAD, key)
    assert _verify(signature, signers, at=datetime(2025, 12, 31, tzinfo=UTC)) == "old"
    assert _verify(signature, signers, at=datetime(2026, 1, 2, tzinfo=UTC)) is None


def test_two_keys_may_be_trusted_while_one_replaces_the_other(key: Path, tmp_path: Path) -> None:
    new = _make_key(tmp_path / "new")
    signers = tmp_path / "both"
    signers.write_text(make_allowed_signer(key, "a") + make_allowed_signer(new, "b"))
    assert _verify(sign_payload(PAYLOAD, key), signers) == "a"
    assert _verify(sign_payload(PAYLOAD, new), signers) == "b"


def test_a_key_with_a_passphrase_is_refused_without_a_prompt(tmp_path: Path) -> None:
    locked = _make_key(tmp_path / "locked", "secret")
    with pytest.raises(SettingsInvalid, match="passphrase"):
        sign_payload(PAYLOAD, locked)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="nowhere"):
        sign_payload(PAYLOAD, tmp_path / "nowhere")


def test_an_allowed_signer_may_be_made_from_the_public_half(key: Path) -> None:
    assert make_allowed_signer(key.with_suffix(".pub"), "p") == make_allowed_signer(key, "p")
