"""The other node as a module sees it: questions to `stream_agent`, through a socket of the controller's relay."""

from __future__ import annotations

import contextlib
import dataclasses
import socket

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import DatabaseError
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import Side
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import OptionRow
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_channel import Channel


class Peer:
    """The agent of the other node, with its environment locked. Every method raises what the agent raised there,
    and `NodeError` (to be retried) when the conversation broke off.
    """

    def __init__(self, channel, environment):
        self._channel = channel
        self.environment = environment

    def ask(self, question, **given):
        """Ask a question that has one answer."""
        for _part in self.stream(question, **given):
            raise AssertionError(question)
        return self._answer

    def stream(self, question, **given):
        """Ask a question and yield the parts of its answer: values, and bytes as they are."""
        self._channel.send({"question": question, "given": given})
        while True:
            said = self._channel.receive()
            if isinstance(said, bytes):
                yield said
            elif "part" in said:
                yield said["part"]
            elif "error" in said:
                raise _restore_error(said["error"])
            else:
                self._answer = said["answer"]
                return


def _restore_error(error):
    message = "on the other node: {0}".format(error["message"])
    if error["database"]:
        return DatabaseError(message)
    return NodeError(error["code"], message, error["remedy"], retry=error["retry"], partial=error["partial"])


class RemoteSite:
    """The other node's environment, with the methods of `stream_site.LocalSite`."""

    def __init__(self, peer):
        self._peer = peer
        self.environment = peer.environment

    def survey(self):
        """Have everything measured there."""
        found = self._peer.ask("survey")
        measures = {
            key: Measure(digest, unreadable, None if schema is None else {"schema": schema}, proof)
            for key, (digest, unreadable, schema, proof) in found["measures"].items()
        }
        return Side(measures, found["failures"])

    def read_entries(self, name):
        """The manifest of a protected folder as it was surveyed, path to description."""
        return self._peer.ask("read_entries", name=name)

    def read_options(self, names):
        """The option rows of these names."""
        return restore_options(self._peer.ask("read_options", names=names))

    def sum_table(self, name, *, rewritten):
        """Definition, whether it is a view, and number and sum of its rows."""
        return self._peer.ask("sum_table", name=name, rewritten=rewritten)

    def list_keys(self, name):
        """The primary keys of a table."""
        for keys in self._peer.stream("list_keys", name=name):
            yield from keys

    def read_baseline(self):
        """The baseline of the environment here, which is a copy of the one there."""
        return self._peer.ask("read_baseline")

    def read_known_entries(self, before):
        """The manifest behind a digest of that baseline, None where it was not kept."""
        return self._peer.ask("read_known_entries", before=before)

    def find_changed_rows(self, name, before):
        """Keys of rows that differ from that baseline's digest `before`."""
        return self._peer.ask("find_changed_rows", name=name, before=before)

    def read_code_version(self):
        """The database version that the code there asks for."""
        return self._peer.ask("read_code_version")


def restore_options(rows):
    """Option rows as they crossed, by their names."""
    return {
        name: OptionRow(name, None if value is None else bytes.fromhex(value), autoload)
        for name, value, autoload in rows
    }


@contextlib.contextmanager
def open_peer(call, environment, *, other):
    """Have `environment` locked on the other node for this step, `other` being ours. Yields a `Peer`."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(call.peer)
    except OSError as error:
        line.close()
        raise NodeError(
            "ANSIBLE_HOST_UNREACHABLE",
            "the controller's relay to the other node is gone: {0}".format(error),
            "The job is tried again by itself.",
            retry=True,
        ) from error
    channel = Channel(line.fileno(), line.fileno(), hang_up=lambda: line.shutdown(socket.SHUT_RDWR))
    try:
        channel.receive()  # the agent's greeting
        peer = Peer(channel, environment)
        peer.ask(
            "open",
            environment=dataclasses.asdict(environment),
            other=dataclasses.asdict(other),
            job=dataclasses.asdict(call.job),
            protection={name: list(patterns) for name, patterns in call.protection.items()},
            state_dir=call.state_dir,
            config_dir=call.config_dir,
        )
        yield peer
    finally:
        with contextlib.suppress(OSError):
            channel.close()
