"""The one exception the collection raises on purpose: it carries what a job's record needs."""

from __future__ import annotations


class NodeError(Exception):
    """A step that must not go on.

    `code` is one of the spec's error codes (spec.md §5) or `CLAIM_SUPERSEDED`, `JOB_FINISHED`; `message` says
    what happened, `remedy` what an operator does next; `retry` is true when the same step may succeed later by
    itself. `partial` is what the failing step already knows and returns under `pressluft` (`node`, `health`).
    """

    def __init__(self, code, message, remedy, *, retry=False, partial=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.retry = retry
        self.partial = dict(partial or {})

    def as_result(self):
        """The `pressluft_error` of a failing module."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy, "retry": self.retry}
