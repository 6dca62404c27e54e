"""What systemd hears of the service."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from reconciler.adapters.service_manager import ALIVE, STOPPING, tell_service_manager

SECONDS = 60


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A service manager with a socket, which reads only when a test does."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(SECONDS)
    return listener


def fill(manager: socket.socket) -> None:
    """Say that we live until the queue is full."""
    manager.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(2_000):
        tell_service_manager(ALIVE)


def test_the_stop_waits_for_room_among_the_signs_of_life(manager: socket.socket) -> None:
    with manager:
        fill(manager)
        telling = threading.Thread(target=tell_service_manager, args=(STOPPING,))
        telling.start()
        telling.join(0.2)
        heard = [manager.recv(100).decode()]
        while heard[-1] != STOPPING:
            heard.append(manager.recv(100).decode())
        telling.join(SECONDS)
        assert set(heard[:-1]) == {ALIVE}


def test_a_sign_of_life_waits_for_nobody(manager: socket.socket) -> None:
    with manager:
        fill(manager)
        telling = threading.Thread(target=tell_service_manager, args=(ALIVE,))
        telling.start()
        telling.join(SECONDS)
        assert not telling.is_alive(), "a manager that does not read stops the daemon"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    tell_service_manager(STOPPING)
