"""Telling systemd how the service is: one datagram to `NOTIFY_SOCKET` (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
ALIVE: Final = "WATCHDOG=1"
STOPPING: Final = "STOPPING=1"

# What is said again with the next pass may be lost; the stop is said once, and a short queue (10 datagrams on some
# kernels) may be full of passes just then.
STOPPING_SECONDS: Final = 5.0


def tell_service_manager(state: str) -> None:
    """Send a state; where nobody listens, or nobody reads, nothing happens. `@` begins an abstract socket's name."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        # Who does not read must not stop us.
        messenger.settimeout(STOPPING_SECONDS if state == STOPPING else 0)
        messenger.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
