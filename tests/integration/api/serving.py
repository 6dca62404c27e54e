"""`pressluft serve` as a process of its own, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from reconciler.settings import Settings
from reconciler.stack.ports import find_free_port


@dataclass
class Serving:
    """A process and where it answers."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def make_environment(settings: Settings, port: int) -> Mapping[str, str]:
    """Make the environment of a process with these settings."""
    values = settings.model_dump(mode="json", exclude_defaults=True) | {"port": port}
    return {**os.environ, **{f"PRESSLUFT_{name.upper()}": str(value) for name, value in values.items()}}


@contextmanager
def serve(settings: Settings, *, command: tuple[str, ...] = ("serve",)) -> Iterator[Serving]:
    """Serve until the block ends, however it ends."""
    port = find_free_port("127.0.0.1")
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    log = settings.state_dir / f"{command[0]}-{port}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", *command],
            env=make_environment(settings, port),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    serving = Serving(process, f"http://127.0.0.1:{port}", log)
    try:
        await_answer(serving)
        yield serving
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)


def await_answer(serving: Serving, *, seconds: float = 60) -> float:
    """Wait until it is ready; returns how many seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        assert serving.process.poll() is None, serving.log.read_text()
        try:
            if httpx.get(f"{serving.url}/readyz", timeout=2).status_code == 200:
                return time.monotonic() - began
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError(serving.log.read_text())
