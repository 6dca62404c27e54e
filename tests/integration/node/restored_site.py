"""A small site with a restic repository, whose backups are restored step by step. Everything but WordPress is real."""

import dataclasses
import os
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible_collections.pressluft.wordpress.plugins.module_utils import cut_over as program
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import Call
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import create_backup, open_storage
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    Job,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection
from ansible_collections.pressluft.wordpress.plugins.module_utils.restore import stage_restore, verify_restore

from reconciler.stack.mariadb import MariaDB
from tests.integration.node.observed_pair import PROTECTION
from tests.integration.node.plain_site import Promotion, make_promotion

Photo = Mapping[str, object]


@dataclass
class Restoring:
    """A site, its storage, and one restore of it."""

    promotion: Promotion
    environment: Environment
    job_id: str = field(default_factory=lambda: str(uuid4()))
    epoch: int = 1

    @property
    def root(self) -> Path:
        return Path(self.environment.root)

    @property
    def repository(self) -> Path:
        return Path(self.promotion.config_dir).parent / "repository"

    @property
    def job_folder(self) -> Path:
        return Path(self.promotion.state_dir, self.environment.id, "jobs", self.job_id)

    def sql(self, *statements: str) -> None:
        """Run statements on the site's database."""
        self.promotion.admin.execute(f"USE {self.environment.database}")
        for statement in statements:
            self.promotion.admin.execute(statement)

    def job(self, step: str) -> Job:
        return Job(self.job_id, self.epoch, "env_restore", step)

    def anew(self) -> "Restoring":
        """Another restore of the same site."""
        return dataclasses.replace(self, job_id=str(uuid4()), epoch=1)

    def call(self, step: str, **request: Any) -> Call:
        """What the module of a step is given."""
        return Call(
            job=self.job(step),
            state_dir=self.promotion.state_dir,
            config_dir=self.promotion.config_dir,
            production=None,
            source=None,
            environment=self.environment,
            protection=dict(PROTECTION),
            request=request,
            check_mode=False,
        )

    def open_storage(self) -> Any:
        config_dir = self.promotion.config_dir
        return open_storage(self.promotion.state_dir, config_dir, read_node_config(config_dir))

    def back_up(self, scope: str = "full") -> str:
        """Take a backup within this job; returns the snapshot."""
        with (
            closing(connect(self.promotion.pair.defaults_file)) as conn,
            open_environment(
                self.promotion.state_dir, self.environment, job=self.job("backup"), conn=conn
            ) as state,
        ):
            made = create_backup(
                state,
                self.open_storage(),
                scope=scope,
                retention_until=None,
                defaults_file=self.promotion.pair.defaults_file,
                protection=make_protection(PROTECTION),
            )
        return str(made["snapshot_id"])

    def verify(self, snapshot: str) -> dict[str, Any]:
        return dict(verify_restore(self.call("verify", backup={"snapshot_id": snapshot})))

    def stage(self, snapshot: str, on_step: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        return dict(
            stage_restore(self.call("stage", backup={"snapshot_id": snapshot}), on_step=on_step)["staged"]
        )

    def cut_over(self) -> dict[str, Any]:
        """Cut over by the detached program, as the module does."""
        return dict(program.cut_over(self.call("cut_over")))

    def restore(self, snapshot: str) -> dict[str, Any]:
        """All steps but the backup of what is there."""
        self.verify(snapshot)
        self.stage(snapshot)
        return self.cut_over()

    def run_program(
        self, run: Callable[..., None] = program.run_cut, on_step: Callable[[str], None] | None = None
    ) -> None:
        """Run the program's body here instead of detached."""
        program.run_program(
            self.promotion.state_dir,
            self.promotion.config_dir,
            self.environment.id,
            job=self.job("cut_over"),
            run=run,
            on_step=on_step,
        )

    def read_state(self) -> dict[str, Any]:
        return self.promotion.read_state()

    def take_photo(self) -> Photo:
        """Everything that a visitor could ever notice: definitions, rows, and files with owner, mode and content."""
        tables = {name: tuple(rows) for name, rows in self.promotion.tables().items()}
        current = Path(os.path.realpath(self.root / "current"))
        shared = self.root / "shared"
        return {"tables": tables, "code": read_tree(current), "shared": read_tree(shared)}

    def find_leftovers(self) -> set[str]:
        """What a restore must not leave behind: its databases, its boxes, releases that are not served."""
        boxes = {str(path) for path in self.root.glob(".pressluft-*")}
        releases = self.promotion.releases() - {self.promotion.release()}
        return boxes | releases | self.promotion.own_databases()


def read_tree(top: Path) -> dict[str, tuple[object, ...]]:
    """Every file, folder and link below a folder: kind, mode, owner, content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        entry = path.lstat()
        content: object = b""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(top))] = (
            stat.S_IFMT(entry.st_mode),
            stat.S_IMODE(entry.st_mode),
            entry.st_uid,
            entry.st_gid,
            content,
        )
    return found


def kill_at(run: Callable[[Callable[[str], None]], object], number: int) -> None:
    """Run in a process of its own, which dies by SIGKILL at its step `number` (from 0)."""
    child = os.fork()
    if child == 0:
        steps = iter(range(number + 1))

        def die(_step: str) -> None:
            if next(steps) == number:
                os.kill(os.getpid(), 9)

        try:
            run(die)
        finally:
            os._exit(1)  # it should not have come so far
    assert os.waitpid(child, 0)[1] == 9


@contextmanager
def make_restoring(mariadb: MariaDB, database: str, folder: Path) -> Iterator[Restoring]:
    """A production with a storage of its own."""
    with (
        mariadb.connect(database) as admin,
        make_promotion(mariadb, admin, database, folder) as promotion,
    ):
        admin.execute("SET sql_mode = '', time_zone = '+00:00'")
        config, repository = Path(promotion.config_dir), folder / "repository"
        password = config / "restic.password"
        password.write_text("secret of the test\n")
        password.chmod(0o600)
        with (config / "node.ini").open("a") as ini:
            ini.write(f"[restic]\nrepository = {repository}\npassword_file = {password}\n")
        subprocess.run(
            ["restic", "init", "-q", "-r", str(repository), "--password-file", str(password)], check=True
        )
        restoring = Restoring(promotion, promotion.production)
        restoring.sql(
            "CREATE TABLE wp_places (id INT AUTO_INCREMENT PRIMARY KEY, lat FLOAT, post BIGINT UNSIGNED,"
            " FOREIGN KEY (post) REFERENCES wp_posts (ID) ON DELETE CASCADE)",
            "INSERT INTO wp_places (lat, post) VALUES (52.520008, 1), (-33.868820, 2)",
        )
        yield restoring
