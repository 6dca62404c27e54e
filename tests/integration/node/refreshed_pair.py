"""A production and a source that is refreshed from it, without WordPress: every step by hand, kills included."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import Call
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import read_baseline
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment, Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import refresh

from reconciler.stack.mariadb import MariaDB
from tests.integration.node.observed_pair import PROTECTION, Pair, make_pair


@dataclass
class Refreshing:
    """The pair, and one job that refreshes its source."""

    pair: Pair
    source: Environment
    config_dir: Path
    job_id: str
    job_type: str = "env_refresh"
    epoch: int = 1

    def call(self, scope: str = "protected", *, check_mode: bool = False, **request: Any) -> Call:
        return Call(
            job=Job(self.job_id, self.epoch, self.job_type, "refresh"),
            state_dir=self.pair.state_dir,
            config_dir=str(self.config_dir),
            production=self.pair.production,
            source=self.source,
            environment=None,
            protection=PROTECTION,
            request={"scope": scope, **request},
            check_mode=check_mode,
        )

    def run(self, scope: str = "protected", **options: Any) -> Any:
        return refresh(self.call(scope), **options)

    def run_anew(self, scope: str = "protected", **options: Any) -> Any:
        """Refresh as a job of its own."""
        return dataclasses.replace(self, job_id=str(uuid4())).run(scope, **options)

    def kill_at(self, step: str, scope: str) -> None:
        """Run in a process of its own that dies by SIGKILL right after `step`."""
        child = os.fork()
        if child == 0:
            try:
                self.run(scope, on_step=_make_death(step))
            finally:
                os._exit(1)  # it should not have come so far
        assert os.waitpid(child, 0)[1] == 9

    def read_baseline(self) -> Any:
        return read_baseline(self.pair.state_dir, self.source.id)

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """Rows of one of the source's tables."""
        self.pair.sql(f"SELECT {columns} FROM S.{table} ORDER BY 1")
        return list(self.pair.admin.fetchall())

    def option(self, name: str) -> Any:
        self.pair.sql(f"SELECT option_value FROM S.options WHERE option_name = '{name}'")
        found = self.pair.admin.fetchall()
        return found[0][0] if found else None

    def own_databases(self) -> set[str]:
        self.pair.admin.execute("SHOW DATABASES")
        return {
            name for (name,) in self.pair.admin.fetchall() if f"{self.source.database}__pressluft" in name
        }

    def checksum_production(self) -> Any:
        """Production's tables and files, by means that share no code with the product."""
        database = self.pair.production.database
        self.pair.admin.execute(f"SHOW TABLES FROM {database}")
        names = ", ".join(f"{database}.{name}" for (name,) in self.pair.admin.fetchall())
        self.pair.admin.execute(f"CHECKSUM TABLE {names} EXTENDED")
        sums = self.pair.admin.fetchall()
        root = Path(self.pair.production.root)
        files = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        return sums, files


def _make_death(step: str) -> Callable[[str], None]:
    def die(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), 9)

    return die


@contextmanager
def make_refreshing(mariadb: MariaDB, admin: Any, database: str, folder: Path) -> Iterator[Refreshing]:
    """Two sites that know nothing of each other yet; both answer no requests."""
    other = f"{database}_s"
    mariadb.create_database(other)
    pair = make_pair(mariadb, admin, folder, {"production": database, "staging": other})
    pair.production = dataclasses.replace(pair.production, health_urls=(), php_cli="/bin/true")
    pair.staging = dataclasses.replace(pair.staging, health_urls=(), php_cli="/bin/true")
    config = folder / "config"
    config.mkdir(mode=0o700)
    (config / "node.ini").write_text(
        f"[mysql]\ndefaults_file = {mariadb.client_file}\n[wp]\ncli = /bin/true\n"
    )
    yield Refreshing(pair, pair.staging, config, str(uuid4()))
    admin.execute("SHOW DATABASES")
    for (name,) in admin.fetchall():
        if name == other or name.startswith((f"{database}__pressluft", f"{other}__pressluft")):
            mariadb.drop_database(name)
