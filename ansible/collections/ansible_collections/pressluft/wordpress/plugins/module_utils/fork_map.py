"""One function over many orders on all cores: Python's threads share one lock, forked processes share none.

The processes are started first and fetch one order after the other from a common socket, so that neither large
files nor a busy core make one wait for the other. What runs in a child may only open, read and compute: the locks
of other threads stay as they were at the fork. Several threads may map at the same time.
"""

from __future__ import annotations

import marshal
import os
import socket
import threading
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Tuple

_WORKERS = 2
_FEW = 16  # orders below which starting processes costs more than it saves
_MOST_BYTES = 1 << 17  # of an order; a socket's buffer holds 208 KiB (net.core.wmem_default)
_NUMBER = 4

Function = Callable[[bytes], Any]

_FORKING = threading.Lock()
_GIVERS: List[socket.socket] = []
"""The ends that orders are sent from. A child must hold none, or those that fetch there would never see an end."""


class _Child(NamedTuple):
    process: int
    pipe: int


def map_orders(function: Function, orders: Iterable[bytes]) -> List[Any]:
    """Return `function` of each order in their sequence; an order may be made while others are carried out.

    Results must be plain values (`marshal`). A child that dies costs time, not results: its share is done here.
    """
    waiting = iter(orders)
    first = list(islice(waiting, _FEW))
    if len(first) < _FEW:
        return [function(order) for order in first]
    ours, children = _open(function)
    try:
        given = list(_give(ours, chain(first, waiting)))
    finally:
        _close(ours)
    results: Dict[int, Any] = {}
    for child in children:
        results.update(_collect(child))
    return [
        results.pop(number) if number in results else function(order) for number, order in enumerate(given)
    ]


def _open(function: Function) -> Tuple[socket.socket, List[_Child]]:
    """Start as many children as there is room for; without any, the orders stay for us."""
    children: List[_Child] = []
    with _FORKING:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _GIVERS.append(ours)
        with suppress(OSError):
            while len(children) < _WORKERS:
                children.append(_start(function, theirs))
        theirs.close()
    return ours, children


def _close(ours: socket.socket) -> None:
    """Tell the children that there is nothing more to come."""
    with _FORKING:
        _GIVERS.remove(ours)
        ours.close()


def _give(ours: socket.socket, orders: Iterable[bytes]) -> Iterator[bytes]:
    """Send the orders to whoever fetches them; what nobody can fetch stays for us."""
    is_heard = True
    for number, order in enumerate(orders):
        if is_heard and len(order) <= _MOST_BYTES:
            try:
                ours.sendall(number.to_bytes(_NUMBER, "little") + order)
            except OSError:  # all of them are gone
                is_heard = False
        yield order


def _start(function: Function, theirs: socket.socket) -> _Child:
    reader, writer = os.pipe()
    try:
        process = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if process:
        os.close(writer)
        return _Child(process, reader)
    status = 1
    try:
        for giver in _GIVERS:
            giver.close()
        _write(writer, marshal.dumps(list(_work(function, theirs))))
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's may be flushed, closed or finished here


def _work(function: Function, theirs: socket.socket) -> Iterator[Any]:
    order = theirs.recv(_NUMBER + _MOST_BYTES)
    while order:
        yield int.from_bytes(order[:_NUMBER], "little"), function(order[_NUMBER:])
        order = theirs.recv(_NUMBER + _MOST_BYTES)


def _write(writer: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(writer, view) :]


def _collect(child: _Child) -> Dict[int, Any]:
    with os.fdopen(child.pipe, "rb") as stream:
        content = stream.read()
    _process, status = os.waitpid(child.process, 0)
    if status != 0:
        return {}
    return dict(marshal.loads(content))  # noqa: S302 - from our own child, through a pipe of its own
