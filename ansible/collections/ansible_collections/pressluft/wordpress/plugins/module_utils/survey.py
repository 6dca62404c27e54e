"""Measures both sides of an observation at once: two connections, the largest work first, nothing read twice.

A table that its file proves unchanged is not read (`tablespace`). The others of both sides are one queue for two
workers, since the server uses one core for each connection; code and folders are in the same queue. Large tables
come first, each read by both workers.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from threading import Lock
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.pressluft.wordpress.plugins.module_utils.component import measure_components
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    DatabaseError,
    TableInfo,
    connect,
    hold_same_snapshot,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_clock import FileClock
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_cache import (
    ManifestCache,
    open_cache,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import (
    Side,
    find_site_tables,
    measure_paths,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import measure_options
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    COMPONENT,
    OPTION,
    PATH,
    TABLE,
    Measure,
    Protection,
    add_kind,
    make_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.schema_digest import Schema
from ansible_collections.pressluft.wordpress.plugins.module_utils.table_measure import (
    digest_schema_and_rows,
    read_table,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.tablespace import Tablespaces
from ansible_collections.pressluft.wordpress.plugins.module_utils.tablespace_memory import (
    Known,
    Remembered,
    find_proved,
    read_memory,
    write_memory,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection

WORKERS = 2
_FIRST = 1 << 62  # files are worth starting with: how long they take is not known before
_LARGE = 8 << 20
"""Bytes from which on a table is worth two connections."""


class Task(NamedTuple):
    """A piece of work: its size, for the order, what it does, and on how many connections: none, one, all."""

    size: int
    run: Callable[[Sequence[Any]], None]
    readers: int


class Surveyor:
    """Measures one side. `state_dir` is where it remembers; `clock` is that of the file systems."""

    def __init__(
        self,
        environment: Environment,
        protection: Protection,
        *,
        state_dir: str,
        clock: Optional[FileClock] = None,
    ) -> None:
        self._environment = environment
        self._protection = protection
        self._state_dir = state_dir
        self._clock = clock
        self._measures: Dict[str, Measure] = {}
        self._failures: Dict[str, str] = {}
        self._known: Remembered = {}
        self._tablespaces: Optional[Tablespaces] = None
        self._origin = ""
        self._lock = Lock()  # both workers come here, and the tablespaces have one connection

    def prepare(self, connection: Connection[Any]) -> List[Task]:
        """Prove what can be proved on a connection that stays ours, and return the rest of the work."""
        files = [
            Task(_FIRST, lambda _readers: self._measure(COMPONENT, self._measure_components), 0),
            Task(_FIRST, lambda _readers: self._measure(PATH, self._measure_paths), 0),
        ]
        self._measure(OPTION, lambda: measure_options(connection, self._environment, self._protection))
        return [*files, *self._make_table_tasks(connection)]

    def finish(self) -> Side:
        """Keep what is now known of the tables' files, and return all that was measured."""
        if self._origin and self._known != read_memory(
            self._state_dir, self._environment.id, origin=self._origin
        ):
            write_memory(self._state_dir, self._environment.id, self._known, origin=self._origin)
        return Side(self._measures, self._failures)

    def _make_table_tasks(self, connection: Connection[Any]) -> List[Task]:
        tables: Dict[str, TableInfo] = {}
        self._measure(TABLE, lambda: tables.update(find_site_tables(connection, self._environment)) or {})
        try:
            self._prove(connection, tables)
        except (
            DatabaseError
        ):  # a proof that cannot be had is none; what is wrong shows when the table is read
            self._known = {}
        return [
            Task(info.data_length, self._make_reader(connection, name, info), self._choose_readers(info))
            for name, info in tables.items()
            if make_key(TABLE, name) not in self._measures
        ]

    def _prove(self, connection: Connection[Any], tables: Mapping[str, TableInfo]) -> None:
        spaces = Tablespaces(connection, self._environment.database, clock=self._clock)
        self._origin = spaces.describe_origin()
        self._tablespaces = spaces
        memory = read_memory(self._state_dir, self._environment.id, origin=self._origin)
        for name, schema in find_proved(spaces, self._environment, tables, memory=memory).items():
            self._keep_proved(name, memory[name], schema)

    def _keep_proved(self, name: str, known: Known, schema: Schema) -> None:
        digest = digest_schema_and_rows(known.schema, known.rows)
        evidence = {"schema": schema.text, "chunks": [], "rows": None}
        self._measures[make_key(TABLE, name)] = Measure(digest, evidence=evidence, proof="tablespace")
        self._known[name] = known

    def _choose_readers(self, info: TableInfo) -> int:
        """All for a large table, unless it is being written to: to share it, it is locked for a moment."""
        spaces = self._tablespaces
        return WORKERS if info.data_length >= _LARGE and spaces and spaces.is_quiet(info) else 1

    def _make_reader(
        self, gate: Connection[Any], name: str, info: TableInfo
    ) -> Callable[[Sequence[Any]], None]:
        def read(readers: Sequence[Connection[Any]]) -> None:
            try:
                measure = self._read_table(readers, gate, name, info)
            except DatabaseError as error:
                measure = Measure(None, unreadable=error.message)
            self._measures[make_key(TABLE, name)] = measure

        return read

    def _read_table(
        self, readers: Sequence[Connection[Any]], gate: Connection[Any], name: str, info: TableInfo
    ) -> Measure:
        """Read a table between two looks at its file; where both are the same, the digest is that file's."""
        spaces = self._tablespaces
        with self._lock:
            stamp = spaces.take_stamp(info) if spaces else None
        database = self._environment.database
        with hold_same_snapshot(readers, gate=gate, database=database, table=info.name) as same:
            content = read_table(same[0], self._environment, info, beside=same[1:])
        with self._lock:
            if spaces and stamp and spaces.find_unchanged({info: stamp}):
                self._known[name] = Known(content.schema.digest, content.rows, stamp)
        return content.measure()

    def _measure(self, kind: str, measure: Callable[[], Mapping[str, Measure]]) -> None:
        try:
            self._measures.update(add_kind(kind, measure()))
        except NodeError as error:
            if error.code == "SCHEMA_UNSUPPORTED":
                raise
            self._failures[kind] = error.message

    def _measure_components(self) -> Mapping[str, Measure]:
        cache = self._make_cache("")
        return measure_components(self._environment, self._protection, read=cache.read_tree)

    def _measure_paths(self) -> Mapping[str, Measure]:
        return measure_paths(
            self._environment,
            self._protection,
            measure=lambda name, place: self._make_cache(name).measure_folder(place),
        )

    def _make_cache(self, name: str) -> ManifestCache:
        """The memory of a folder, named as below `current`."""
        return open_cache(self._state_dir, self._environment.id, name, clock=self._clock)


def survey_sides(surveyors: Sequence[Surveyor], *, defaults_file: str) -> List[Side]:
    """Measure all sides. What cannot be read is marked, and the rest goes on.

    Raises NodeError when the server cannot be reached, and (`SCHEMA_UNSUPPORTED`) for a network of sites.
    """
    with ExitStack() as stack, ThreadPoolExecutor(WORKERS) as pool:
        ours = [stack.enter_context(closing(connect(defaults_file))) for _surveyor in surveyors]
        found = pool.map(lambda surveyor, connection: surveyor.prepare(connection), surveyors, ours)
        tasks = sorted((task for tasks in found for task in tasks), key=lambda task: -task.size)
        # Nothing to read, as on an unchanged site, is not worth a connection.
        wanted = WORKERS if any(task.readers for task in tasks) else 0
        readers = [stack.enter_context(closing(connect(defaults_file))) for _reader in range(wanted)]
        for task in tasks:
            if task.readers > 1:
                task.run(readers)
        waiting = deque(task for task in tasks if task.readers <= 1)
        workers = [pool.submit(_work, waiting, readers[number : number + 1]) for number in range(WORKERS)]
        for worker in workers:
            worker.result()
        return [surveyor.finish() for surveyor in surveyors]


def _work(tasks: Deque[Task], readers: Sequence[Connection[Any]]) -> None:
    while True:
        try:
            task = tasks.popleft()
        except IndexError:
            return
        task.run(readers)
