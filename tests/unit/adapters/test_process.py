"""Programs are ended with everything they started."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reconciler.adapters.process import ProgramTimedOut, read_start, run_program

ENVIRONMENT = {"PATH": os.defpath}


def _run(script: str, *, timeout: float = 10, stdin: bytes = b"") -> object:
    return run_program(["sh", "-c", script], environment=ENVIRONMENT, timeout=timeout, stdin=stdin)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _read_pid(file: Path) -> int:
    return int(file.read_text())


def test_output_error_and_exit_code_are_told_apart() -> None:
    done = run_program(
        ["sh", "-c", "cat; echo bad >&2; exit 3"], environment=ENVIRONMENT, timeout=10, stdin=b"in"
    )
    assert (done.code, done.text, done.complaint) == (3, "in", "bad")


def test_the_environment_is_exactly_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOILT", "1")
    done = run_program(["env"], environment={"PATH": os.defpath, "ONLY": "this"}, timeout=10)
    assert sorted(done.text.split()) == sorted([f"PATH={os.defpath}", "ONLY=this"])


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ProgramTimedOut, match=r"0\.3 s"):
        _run(f"sleep 600 & echo $! > {tmp_path}/pid; wait", timeout=0.3)
    assert time.monotonic() - begun < 5
    assert not _is_running(_read_pid(tmp_path / "pid"))


def test_a_child_that_outlives_its_parent_and_keeps_the_pipe_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ProgramTimedOut):
        _run(f"sleep 600 & echo $! > {tmp_path}/pid", timeout=0.3)
    assert not _is_running(_read_pid(tmp_path / "pid"))


def test_the_first_signal_is_polite(tmp_path: Path) -> None:
    with pytest.raises(ProgramTimedOut):
        _run(f"trap 'touch {tmp_path}/tidied; exit' TERM; while :; do sleep 0.05; done", timeout=0.3)
    assert (tmp_path / "tidied").exists()


def test_only_the_start_of_endless_output_is_read() -> None:
    begun = time.monotonic()
    assert read_start(["yes"], environment=ENVIRONMENT, limit=5) == b"y\ny\ny"
    assert time.monotonic() - begun < 5
