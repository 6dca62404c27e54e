"""A promotion without WordPress: two small sites, a page made of code and database, and every step by hand."""

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible_collections.pressluft.wordpress.plugins.module_utils import cut_over as program
from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import Call
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    Job,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.observation import observe
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage import stage

from reconciler.core.merge import decide_merge, make_node_plan
from reconciler.stack.mariadb import MariaDB
from schemas.observation import Observation
from schemas.state import OverwritePolicy
from tests.integration.node.observed_pair import PROTECTION, Pair, make_pair

BROKEN = "<?php /* broken */"
THEME = "wp-content/themes/leaf/style.css"


@dataclass
class Promotion:
    """Production and staging, and a job that promotes one to the other, step by step."""

    pair: Pair
    production: Environment
    config_dir: str
    job_id: str
    epoch: int = 1
    protection: Mapping[str, Any] = field(default_factory=lambda: PROTECTION)

    @property
    def admin(self) -> Any:
        return self.pair.admin

    @property
    def state_dir(self) -> str:
        return self.pair.state_dir

    @property
    def job_folder(self) -> Path:
        return Path(self.state_dir, self.production.id, "jobs", self.job_id)

    def job(self, step: str) -> Job:
        return Job(self.job_id, self.epoch, "env_promote", step)

    def call(self, step: str, **request: Any) -> Call:
        """What the module of a step is given."""
        return Call(
            job=self.job(step),
            state_dir=self.state_dir,
            config_dir=self.config_dir,
            production=self.production,
            source=self.pair.staging,
            environment=None,
            protection=dict(self.protection),
            request=request,
            check_mode=False,
        )

    def check(self) -> dict[str, Any]:
        """Observe both sides under production's lock, and keep the observation as the module does."""
        protection = make_protection(self.protection)
        with closing(connect(self.pair.defaults_file)) as conn:
            opened = open_environment(self.state_dir, self.production, job=self.job("check"), conn=conn)
            with opened as state:
                found: dict[str, Any] = observe(
                    self.production,
                    self.pair.staging,
                    protection,
                    defaults_file=self.pair.defaults_file,
                    state_dir=self.state_dir,
                )
                durable_file.write_json(state.journal().make_path("observation.json"), found)
        return found

    def plan(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Decide as the controller does."""
        merged = decide_merge(Observation.model_validate(observation))
        return dict(make_node_plan(merged, policy=OverwritePolicy.BLOCK))

    def stage(self, observation: dict[str, Any] | None = None, **plan: Any) -> dict[str, Any]:
        """Check, plan and stage; `plan` replaces parts of the plan."""
        observation = observation or self.check()
        wanted = dict(self.plan(observation), **plan)
        return dict(stage(self.call("stage", observation_id=observation["id"], plan=wanted))["staged"])

    def cut_over(self, **request: Any) -> dict[str, Any]:
        """Cut over by the detached program, as the module does."""
        return dict(program.cut_over(self.call("cut_over", **dict({"keep_old_release": 3600}, **request))))

    def run_program(
        self, run: Callable[..., None] = program.run_cut, on_step: Callable[[str], None] | None = None
    ) -> None:
        """Run the program's body here instead of detached."""
        program.run_program(
            self.state_dir,
            self.config_dir,
            self.production.id,
            job=self.job("cut_over"),
            run=run,
            on_step=on_step,
        )

    def kill_program_at(self, number: int, run: Callable[..., None] = program.run_cut) -> None:
        """Run the program in a process of its own that dies by SIGKILL at its step `number` (from 0)."""
        child = os.fork()
        if child == 0:
            steps = iter(range(number + 1))

            def die(_step: str) -> None:
                if next(steps) == number:
                    os.kill(os.getpid(), 9)

            try:
                self.run_program(run, die)
            finally:
                os._exit(1)  # it should not have come so far
        assert os.waitpid(child, 0)[1] == 9

    def next_job(self) -> "Promotion":
        """Another promotion of the same two sites."""
        return dataclasses.replace(self, job_id=str(uuid4()))

    def read_state(self) -> dict[str, Any]:
        """Production's state.json."""
        return dict(json.loads(Path(self.state_dir, self.production.id, "state.json").read_text()))

    def release(self) -> str:
        """The name of the release that is served."""
        return Path(self.production.current).readlink().name

    def releases(self) -> set[str]:
        return {path.name for path in Path(self.production.root, "releases").iterdir()}

    def own_databases(self) -> set[str]:
        """The databases that Pressluft made beside production's."""
        self.admin.execute("SHOW DATABASES")
        prefix = f"{self.production.database}__pressluft"
        return {name for (name,) in self.admin.fetchall() if name.startswith(prefix)}

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """All rows of one of production's tables, in order."""
        self.admin.execute(f"SELECT {columns} FROM {self.production.database}.wp_{table} ORDER BY 1")
        return list(self.admin.fetchall())

    def option(self, name: str) -> Any:
        self.admin.execute(
            f"SELECT option_value FROM {self.production.database}.wp_options WHERE option_name = %s", (name,)
        )
        found = self.admin.fetchall()
        return found[0][0] if found else None

    def tables(self) -> dict[str, tuple[Any, ...]]:
        """Every table of production by name: its definition and its rows as plain SQL shows them."""
        self.admin.execute(f"SHOW TABLES FROM {self.production.database}")
        names = [name for (name,) in self.admin.fetchall()]
        found = {}
        for name in names:
            self.admin.execute(f"SHOW CREATE TABLE {self.production.database}.{name}")
            definition = self.admin.fetchone()[1].split(" AUTO_INCREMENT=")[0]
            columns = "option_name, option_value, autoload" if name.endswith("_options") else "*"
            self.admin.execute(f"SELECT {columns} FROM {self.production.database}.{name} ORDER BY 1")
            found[name] = (definition, *self.admin.fetchall())
        return found

    def code(self) -> dict[str, bytes]:
        """Every file that production serves, by path."""
        current = Path(os.path.realpath(self.production.current))
        return {
            str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()
        }


@contextmanager
def make_promotion(mariadb: MariaDB, admin: Any, database: str, folder: Path) -> Iterator[Promotion]:
    """Two sites with a baseline; staging then gets new slides, an option, a table, a theme and loses a plugin."""
    other = f"{database}_s"
    mariadb.create_database(other)
    pair = make_pair(mariadb, admin, folder, {"production": database, "staging": other})
    with serve(Path(pair.production.root), mariadb, database) as address:
        production = dataclasses.replace(
            pair.production, php_cli="/bin/true", health_urls=(address,), url="https://shop.test"
        )
        (folder / "config").mkdir(mode=0o700)
        (folder / "config" / "node.ini").write_text(
            f"[mysql]\ndefaults_file = {mariadb.client_file}\n[wp]\ncli = /bin/true\n"
        )
        yield Promotion(pair, production, str(folder / "config"), str(uuid4()))
    mariadb.drop_database(other)
    admin.execute("SHOW DATABASES")
    for (name,) in admin.fetchall():
        if name.startswith(f"{database}__pressluft"):
            mariadb.drop_database(name)


def change_staging(promotion: Promotion) -> None:
    """Take the baseline and change the source: the changes that the tests promote."""
    promotion.pair.take_baseline()
    promotion.pair.sql(
        "INSERT INTO S.slides (image, width) VALUES ('https://staging.shop.test/b.png', 20)",
        "UPDATE S.options SET option_value = 'Better shop' WHERE option_name = 'blogname'",
        "UPDATE S.options SET option_value = 'https://staging.shop.test/new.png' WHERE option_name = 'logo'",
        "CREATE TABLE S.fresh (id INT AUTO_INCREMENT PRIMARY KEY, link VARCHAR(200))",
        "INSERT INTO S.fresh (link) VALUES ('https://staging.shop.test/fresh')",
    )
    promotion.pair.path("staging", THEME).write_text("body { color: green }")
    promotion.pair.path("staging", "wp-content/plugins/hello.php").unlink()


@contextmanager
def serve(root: Path, mariadb: MariaDB, database: str) -> Iterator[str]:
    """A page that takes its title from the options and its body from the theme, as a site would; 500 if broken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            theme = (root / "current" / THEME).read_text()
            with mariadb.connect(database) as cursor:
                cursor.execute("SELECT option_value FROM wp_options WHERE option_name = 'blogname'")
                ((title,),) = cursor.fetchall()
            body = f"<title>{title}</title><style>{theme}</style>".encode()
            self.send_response(500 if theme == BROKEN else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
