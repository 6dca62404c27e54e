"""SSH signatures as git knows them: `ssh-keygen -Y` over the bytes of a commit."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from reconciler.adapters.process import Finished, ProgramTimedOut, run_program
from reconciler.errors import SettingsInvalid, Transient

_NAMESPACE = "git"
_TIMEOUT = 20.0
_BEGIN = b"-----BEGIN SSH SIGNATURE-----"


def sign_payload(payload: bytes, key: Path) -> str:
    """Sign the bytes of a commit with an SSH private key (or a `.pub` whose key the agent holds).

    Returns the armoured signature as git stores it in `gpgsig`. Raises `SettingsInvalid` when the key cannot
    sign, `Transient` when it does not answer.
    """
    done = _run_keygen("-Y", "sign", "-q", "-n", _NAMESPACE, "-f", str(key), stdin=payload)
    if done.code != 0 or not done.stdout.startswith(_BEGIN):
        raise SettingsInvalid(
            f"signing_key {key} cannot sign: {done.complaint or 'no signature'}; it must be an SSH private key "
            "without a passphrase, readable by the daemon only (mode 0600), or a .pub held by ssh-agent"
        )
    return done.text.rstrip("\n")


def verify_payload(
    payload: bytes, signature: bytes, *, allowed_signers: Path, at: datetime | None = None
) -> str | None:
    """Return the principal whose valid key made `signature`, or None for every other signature.

    `allowed_signers` is a file as in ssh-keygen(1), ALLOWED SIGNERS; its validity periods are judged at `at`
    (default: now). Raises `Transient` when ssh-keygen does not answer.
    """
    if not signature.startswith(_BEGIN):
        return None
    moment = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%d%H%M%SZ")
    with tempfile.NamedTemporaryFile(prefix="pressluft-signature-") as file:
        file.write(signature)
        file.flush()
        common = ("-O", f"verify-time={moment}", "-s", file.name, "-f", str(allowed_signers))
        found = _run_keygen("-Y", "find-principals", *common)
        for principal in found.text.splitlines() if found.code == 0 else []:
            check = ("-Y", "verify", "-n", _NAMESPACE, "-I", principal, *common)
            if _run_keygen(*check, stdin=payload).code == 0:
                return principal
    return None


def make_allowed_signer(key: Path, principal: str) -> str:
    """Return the line of an allowed-signers file that trusts `key` as `principal` for commits."""
    return make_signer_line(_read_public_key(key), principal)


def make_signer_line(public_key: str, principal: str) -> str:
    """Return the line of an allowed-signers file that trusts a public key (`ssh-ed25519 AAAA...`) as `principal`."""
    return f'{principal} namespaces="{_NAMESPACE}" {" ".join(public_key.split()[:2])}\n'


def _read_public_key(key: Path) -> str:
    if key.suffix == ".pub":
        words = key.read_text().split()
        return " ".join(words[:2])
    done = _run_keygen("-y", "-P", "", "-f", str(key))
    if done.code != 0:
        raise SettingsInvalid(f"signing_key {key} cannot be read: {done.complaint}")
    return " ".join(done.text.split()[:2])


def _run_keygen(*words: str, stdin: bytes = b"") -> Finished:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    if "SSH_AUTH_SOCK" in os.environ:
        environment["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    try:
        return run_program(
            ["ssh-keygen", *words], environment=environment, timeout=_TIMEOUT, stdin=stdin, folder=Path("/")
        )
    except ProgramTimedOut as error:
        raise Transient(str(error)) from error
    except FileNotFoundError as error:
        raise SettingsInvalid(
            "ssh-keygen is not installed; install OpenSSH's client (8.2 or newer)"
        ) from error
