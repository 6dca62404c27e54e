"""PHP as the judge: one long-lived process, asked over a pipe."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

_PROGRAM = Path(__file__).with_name("php_oracle.php")


class Written(NamedTuple):
    """One value as PHP serializes it, before the move and after."""

    before: bytes
    after: bytes


class PhpOracle:
    """A PHP process. `writer` knows the classes of the values it writes; a judge meets them as unknown ones."""

    def __init__(self, role: str) -> None:
        command = ["php", "-d", "display_errors=stderr", "-d", "memory_limit=512M", str(_PROGRAM), role]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def write(self, cases: Sequence[dict[str, Any]]) -> list[Written]:
        """Each described value, serialized before and after the move."""
        return [Written(*map(base64.b64decode, pair)) for pair in self._ask("write", list(cases))]

    def judge(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[str]:
        """For each answer and what was expected: `exact`, `equal` in meaning, `different` or `unreadable`."""
        return list(self._ask("judge", [[_encode(answer), _encode(wanted)] for answer, wanted in pairs]))

    def read(self, values: Sequence[bytes]) -> list[str]:
        """What PHP makes of each value: `read`, `malformed` or `rejected by its class`."""
        return list(self._ask("read", [_encode(value) for value in values]))

    def _ask(self, op: str, cases: list[Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        body = json.dumps({"op": op, "cases": cases}).encode()
        self._process.stdin.write(struct.pack(">I", len(body)) + body)
        self._process.stdin.flush()
        (length,) = struct.unpack(">I", self._process.stdout.read(4))
        return json.loads(self._process.stdout.read(length))


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()
