"""A conversation between two nodes: what is said arrives in order, and a partner that is gone is noticed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_channel import Channel

Line = tuple[socket.socket, socket.socket]
MakeChannel = Callable[..., Channel]


@pytest.fixture
def line() -> Iterator[Line]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def make_channel(line: Line) -> Iterator[MakeChannel]:
    """Make channels that end with the test: a living one would write to whatever has its descriptor next."""
    made: list[Channel] = []

    def make(end: socket.socket, **options: object) -> Channel:
        made.append(Channel(end.fileno(), end.fileno(), **options))
        return made[-1]

    yield make
    for channel in made:
        channel.close()


def test_values_and_bytes_arrive_as_they_were_sent_in_order(line: Line, make_channel: MakeChannel) -> None:
    ours, theirs = map(make_channel, line)
    said = [{"name": "\udcff"}, b"\0" * (1 << 20), None, b"", "grün", b"x"]
    for one in said:
        ours.send_bytes(one) if isinstance(one, bytes) else ours.send(one)
    assert [theirs.receive() for _ in said] == said


def test_a_partner_that_hung_up_is_noticed_as_often_as_one_asks(
    line: Line, make_channel: MakeChannel
) -> None:
    ours = make_channel(line[0])
    line[1].shutdown(socket.SHUT_RDWR)
    for _ in range(2):
        with pytest.raises(NodeError) as lost:
            ours.receive()
        assert (lost.value.code, lost.value.retry) == ("ANSIBLE_HOST_UNREACHABLE", True)


def test_a_partner_that_is_silent_for_too_long_counts_as_gone(line: Line, make_channel: MakeChannel) -> None:
    gone = threading.Event()
    ours = make_channel(line[0], silence=0.1, on_lost=gone.set)
    with pytest.raises(NodeError):
        ours.receive()
    assert gone.wait(60)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"J\xff\xff\xff\xff", id="a frame that is too large"),
        pytest.param(b"J\0\0\0\x03abc", id="a frame that is not packed"),
    ],
)
def test_what_is_no_frame_ends_the_conversation(line: Line, make_channel: MakeChannel, sent: bytes) -> None:
    ours = make_channel(line[0])
    os.write(line[1].fileno(), sent)
    with pytest.raises(NodeError):
        ours.receive()
