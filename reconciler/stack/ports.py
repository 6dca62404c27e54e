"""Free TCP ports on the loopback interface."""

import random
import socket

from reconciler.stack.command import StackError

LOOPBACK = "127.0.0.1"

# Below the kernel's ephemeral range (32768 and up), so that no outgoing connection takes the port between
# our look and the server's bind.
_FIRST, _LAST = 20_000, 31_999
_ATTEMPTS = 200


def find_free_port(host: str = LOOPBACK) -> int:
    """Return a TCP port that nobody listens on at the loopback address `host`, else raise StackError.

    Two callers may still get the same port; a random choice among 12,000 makes that rare, and the server that
    loses fails to start with the port in its message.
    """
    for port in random.sample(range(_FIRST, _LAST + 1), _ATTEMPTS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise StackError(f"no free port between {_FIRST} and {_LAST} on {host}")


def find_open_port(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections on `host:port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
