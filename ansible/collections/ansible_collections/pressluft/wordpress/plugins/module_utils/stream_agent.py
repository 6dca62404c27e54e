"""What runs on the other node while a module here needs it: it locks its environment, and answers questions.

The controller starts it over its own SSH connection with the collection's code in memory (`BOOTSTRAP`), and relays
the conversation (`stream_channel`). It answers a fixed set of questions about the one environment it was opened for,
and ends, locks and all, as soon as the conversation does.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import stream_files, stream_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import write_baseline
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    connect,
    detect_multisite,
    find_tables,
    open_snapshot,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.durable_file import (
    BrokenFile,
    make_private_folder,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    GLANCE,
    Environment,
    Job,
    check_rest,
    make_environment_folder_path,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import (
    read_holder,
    take_lock,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.free_space import measure_each_table
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import find_protected_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import read_option_rows
from ansible_collections.pressluft.wordpress.plugins.module_utils.release import check_links, read_current
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    TABLE,
    Measure,
    make_protection,
    split_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.right_check import check_sight
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_check import check_tables
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_channel import Channel
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_site import LocalSite

HELLO = {"pressluft": "agent", "version": 1}
BASELINE_LOCK_SECONDS = 30
_KEYS_AT_ONCE = 10000


class Agent:
    """One environment, locked for one step of a job; each public method answers the question of its name."""

    def __init__(self, stack, said):
        self._job = Job(**said["job"])
        self._environment, self._other = (
            restore_environment(said[name]) for name in ("environment", "other")
        )
        self._state_dir = said["state_dir"]
        _refuse_own_machine(self._state_dir, self._environment, self._other, job=self._job)
        self._protection = make_protection(said["protection"])
        defaults_file = read_node_config(said["config_dir"]).mysql_defaults_file
        self._conn = stack.enter_context(closing(connect(defaults_file)))
        self._hold(stack)
        self._site = LocalSite(
            self._environment,
            self._other,
            protection=self._protection,
            defaults_file=defaults_file,
            state_dir=self._state_dir,
        )

    def _hold(self, stack):
        """Have the environment to ourselves until the conversation ends."""
        self._state = stack.enter_context(
            open_environment(self._state_dir, self._environment, job=self._job, conn=self._conn)
        )

    def report(self):
        """How the environment stands."""
        return self._state.report()

    def survey(self):
        """Measure everything; of the evidence only definitions of tables cross."""
        side = self._site.survey()
        measures = {
            key: [measure.digest, measure.unreadable, _find_definition(key, measure), measure.proof]
            for key, measure in side.measures.items()
        }
        return {"measures": measures, "failures": dict(side.failures)}

    def read_entries(self, name):
        """The manifest of a protected folder as it was surveyed."""
        return self._site.read_entries(name)

    def read_options(self, names):
        """Option rows: name, value in hexadecimal, autoload."""
        return _flatten(self._site.read_options(names))

    def sum_table(self, name, rewritten):
        """What two nodes compare of a table."""
        return self._site.sum_table(name, rewritten=rewritten)

    def list_keys(self, name):
        """Yield the keys of a table, many at a time."""
        keys = []
        for key in self._site.list_keys(name):
            keys.append(key)
            if len(keys) == _KEYS_AT_ONCE:
                yield keys
                keys = []
        yield keys

    def find_changed_rows(self, name, before):
        """Name rows that differ from the baseline."""
        return self._site.find_changed_rows(name, before)

    def read_code_version(self):
        """The database version that the code asks for."""
        return self._site.read_code_version()

    def read_baseline(self):
        """The baseline of the other environment, which is a copy of this one."""
        return self._site.read_baseline()

    def read_known_entries(self, before):
        """The manifest behind a digest of the baseline."""
        return self._site.read_known_entries(before)

    def write_baseline(self, baseline, production, source):
        """Write a baseline that the other node made of what it copied from here."""
        folder = make_environment_folder_path(self._state_dir, self._other.id)
        make_private_folder(folder)
        sides = {
            side: {key: Measure(digest, "", found) for key, (digest, found) in measures.items()}
            for side, measures in (("production", production), ("source", source))
        }
        with take_lock(folder, self._job, wait=BASELINE_LOCK_SECONDS):
            write_baseline(self._state_dir, self._other.id, baseline, **sides)

    def open_snapshot(self):
        """From now on all that is read of tables is of this moment. Returns the site's tables and their sizes."""
        if detect_multisite(self._conn, self._environment.database, self._environment.table_prefix):
            raise NodeError(
                "SCHEMA_UNSUPPORTED",
                "{0} is a network of sites (it has the tables blogs and site)".format(self._environment.name),
                "Pressluft does not copy multisite; take this site out of the fleet.",
            )
        check_sight(self._conn, self._environment.database)
        tables = find_tables(self._conn, self._environment.database, self._environment.table_prefix)
        sizes = measure_each_table(self._conn, self._environment, tables)
        open_snapshot(self._conn)
        return sizes

    def check_tables(self, names):
        """Refuse tables that cannot be copied faithfully."""
        check_tables(self._conn, self._environment, names)

    def describe_table(self, name):
        """A table's definition and the digests of its pieces."""
        return stream_rows.describe_table(self._conn, self._environment, name)

    def read_rows(self, name, after, up_to, room):
        """Yield the rows of a piece as literals."""
        return stream_rows.read_rows(self._conn, self._environment, name, span=(after, up_to), room=room)

    def read_option_rows(self, names):
        """As `read_options`, of the snapshot's moment."""
        return _flatten(read_option_rows(self._conn, self._environment, names))

    def find_paths(self):
        """The protected paths, once it is sure that the release holds none of them."""
        read_current(self._environment.root)
        paths = find_protected_paths(self._environment, self._protection.protected_paths)
        check_links(self._environment.current, paths)
        return paths

    def list_code(self, paths):
        """Yield the manifest of the code below these paths."""
        return stream_files.list_code(self._environment, self._protection, paths, state_dir=self._state_dir)

    def list_path(self, path):
        """Yield the manifest of a protected path."""
        return stream_files.list_path(self._environment, path)

    def read_files(self, base, paths):
        """Yield the contents of files of the code (`base` empty) or below a protected path."""
        return stream_files.read_files(self._environment, base, paths)


class Onlooker(Agent):
    """The agent of a periodic look: it locks and claims nothing, and writes nothing for whoever asks."""

    def _hold(self, stack):
        """Leave the environment to any job that comes."""

    def report(self):
        """The state of an environment that rests; asked again at the end, it tells whether a job came in between."""
        return check_rest(self._state_dir, self._environment)

    write_baseline = None


def serve(channel):
    """Answer questions until the other end hangs up."""
    channel.send(HELLO)
    with ExitStack() as stack:
        agent = None
        while True:
            said = channel.receive()
            question, given = said["question"], said["given"]
            try:
                if question == "open":
                    agent = make_agent(stack, given)
                    answer = agent.report()
                else:
                    answer = find_method(agent, question)(**given)
                if hasattr(answer, "__next__"):
                    for part in answer:
                        channel.send_bytes(part) if isinstance(part, bytes) else channel.send({"part": part})
                    answer = None
            except (NodeError, OSError, BrokenFile) as error:
                channel.send({"error": describe_error(error)})
            else:
                channel.send({"answer": answer})


def make_agent(stack, said):
    """The agent that answers for a job, or for a periodic look."""
    kind = Onlooker if said["job"]["epoch"] == GLANCE else Agent
    return kind(stack, said)


def find_method(agent, question):
    """What answers a question. Raises ValueError for what is none, and before any was opened."""
    method = None if agent is None or question.startswith("_") else getattr(agent, question, None)
    if method is None:
        raise ValueError("{0!r} is no question".format(question))
    return method


def _refuse_own_machine(state_dir, environment, other, *, job):
    """Whoever asks holds the other environment's lock; it is seen here only where both nodes are one machine."""
    if read_holder(make_environment_folder_path(state_dir, other.id)) == job.id:
        raise NodeError(
            "IDENTITY_MISMATCH",
            "the nodes of {0} and {1} are the same machine".format(environment.name, other.name),
            "Name one node in both environments' files.",
        )


def _flatten(rows):
    return [[row.name, None if row.value is None else row.value.hex(), row.autoload] for row in rows.values()]


def _find_definition(key, measure):
    """A table's definition; other evidence may be large, or be made only when somebody asks for it."""
    is_table = split_key(key)[0] == TABLE and measure.evidence is not None
    return measure.evidence["schema"] if is_table else None


def describe_error(error):
    """A failure as it crosses."""
    if isinstance(error, NodeError):
        return dict(error.as_result(), partial=error.partial, database=isinstance(error, DatabaseError))
    return {
        "code": "ANSIBLE_HOST_FAILED",
        "message": "the other node's system refused: {0}".format(error),
        "remedy": "Correct what the message names on that node, then run the job again.",
        "retry": False,
        "partial": {},
        "database": False,
    }


def restore_environment(fields):
    """An environment from its fields as JSON gave them."""
    return Environment(**dict(fields, health_urls=tuple(fields["health_urls"])))


def main():
    """Serve on stdin and stdout; whatever else prints goes to stderr."""
    reader, writer = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    with contextlib.suppress(NodeError):  # whoever asked is gone, and so is the reason to be here
        serve(Channel(reader, writer, on_lost=lambda: os._exit(0)))
    os._exit(0)
