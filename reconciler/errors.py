"""What can go wrong, named by who acts next (design: *errors say who acts next*)."""

from __future__ import annotations


class PressluftError(Exception):
    """Root of every error this product raises on purpose; the message is written for an operator."""


class Transient(PressluftError):
    """Nobody has to act: the same call may succeed after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TipMoved(PressluftError):
    """The branch is no longer where the caller saw it: fetch, look again, plan again. Never force."""


class RepoUnusable(PressluftError):
    """The fleet repo cannot be worked with until a person changes it (shallow, SHA-256, not a repo)."""


class SettingsInvalid(PressluftError):
    """The daemon's own settings are wrong; the message names the setting and what it expects."""


class IllegalTransition(PressluftError):
    """A state machine was asked for a move its table does not hold. Always a bug, never an input."""
