"""A production and its source through the life of a baseline, beside a model that a person can check by eye.

`Life` carries every operation out by the node's own modules; `Model` keeps a dict of values for each side and for
the baseline, and says what must then be true. A value is a small number, None where the resource is not there.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import refresh
from ansible_collections.pressluft.wordpress.plugins.module_utils.rollback import roll_back

from reconciler.core.drift import decide_drift, decide_verdict
from reconciler.core.gate import find_conflict, find_drift
from reconciler.core.merge import decide_merge
from reconciler.stack.mariadb import MariaDB
from schemas.observation import Observation
from schemas.state import OverwritePolicy
from tests.integration.node.plain_site import BROKEN, THEME, Promotion, make_promotion
from tests.integration.node.restored_site import Restoring

PRODUCTION, SOURCE = "production", "source"
Values = dict[str, int | None]

PROTECTED = ("posts", "wc_orders", "wp-content/uploads")
DEPENDENT, INDEPENDENT = "users", "actionscheduler_jobs"
"""Preserved tables: one that a protected refresh pulls with what it refers to, and one that it leaves alone."""
MERGEABLE = ("slides", "tagline", "plugins/shop")
CODE = "plugins/shop"
NAMES = (*PROTECTED, DEPENDENT, INDEPENDENT, *MERGEABLE)
ALWAYS_THERE = frozenset({"posts", "users", "wp-content/uploads"})
"""What a site cannot be without, or what is told as an empty table or folder."""
TABLES = {
    "posts": "(ID BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, post_title TEXT, guid VARCHAR(255))",
    "wc_orders": "(ID BIGINT UNSIGNED PRIMARY KEY, post_title TEXT, guid VARCHAR(255))",
    "users": "(ID BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, user_login VARCHAR(60))",
    "actionscheduler_jobs": "(ID BIGINT UNSIGNED PRIMARY KEY, hook TEXT)",
    "slides": "(id INT AUTO_INCREMENT PRIMARY KEY, image TEXT, width INT)",
}
COLUMN = {
    "posts": "post_title",
    "wc_orders": "post_title",
    "users": "user_login",
    "actionscheduler_jobs": "hook",
    "slides": "width",
}


@dataclass
class Life:
    """Both sites, and every operation on them as the node's modules carry it out, each as a job of its own."""

    promotion: Promotion
    restoring: Restoring = field(init=False)
    snapshot: str = ""

    def edit(self, side: str, name: str, value: int | None) -> None:
        """Make one resource of one side hold a value, whatever it held before."""
        letter = "P" if side == PRODUCTION else "S"
        if name in TABLES:
            if value is None:
                self.promotion.pair.sql(f"DROP TABLE IF EXISTS {letter}.{name}")
                return
            self.promotion.pair.sql(
                f"CREATE TABLE IF NOT EXISTS {letter}.{name} {TABLES[name]} CHARACTER SET utf8mb4",
                f"DELETE FROM {letter}.{name}",
                f"INSERT INTO {letter}.{name} (ID, {COLUMN[name]}) VALUES (1, '{value}')",
            )
        elif name == "tagline":
            self.promotion.pair.sql(f"DELETE FROM {letter}.options WHERE option_name = '{name}'")
            if value is not None:
                self.promotion.pair.sql(
                    f"INSERT INTO {letter}.options (option_name, option_value) VALUES ('{name}', '{value}')"
                )
        else:
            self._edit_file(side, name, value)

    def _edit_file(self, side: str, name: str, value: int | None) -> None:
        pair_side = "production" if side == PRODUCTION else "staging"
        if name == CODE:
            folder = self.promotion.pair.path(pair_side, "wp-content/plugins/shop")
            if value is None:
                shutil.rmtree(folder, ignore_errors=True)
                return
            folder.mkdir(exist_ok=True)
            (folder / "shop.php").write_text(f"<?php /* {value} */")
        else:
            self.promotion.pair.path(pair_side, f"{name}/2024/a.png").write_text(str(value))

    def refresh(self, scope: str) -> None:
        job = Job(str(uuid4()), 1, "env_refresh", "refresh")
        call = dataclasses.replace(self.promotion.call("refresh", scope=scope), job=job)
        refresh(call)

    def observe(self) -> Observation:
        """Look as a drift check does."""
        self.promotion = self.promotion.next_job()
        return Observation.model_validate(self.promotion.check())

    def promote(self) -> str:
        """Promote by the gates' own decision; returns the code it ended with, empty for success."""
        observation = self.observe()
        blocked = find_drift(observation, copy="staging") or find_conflict(
            decide_merge(observation), policy=OverwritePolicy.BLOCK
        )
        if blocked:
            return blocked.code
        self.promotion.stage(observation.model_dump(mode="json"))
        self.promotion.run_program()  # what the module starts detached, without the wait for a Python
        ended = durable_file.read_json(self.promotion.job_folder / "journal.json")
        return str((ended["error"] or {"code": ""})["code"])

    def promote_what_breaks(self) -> str:
        """Promote a theme that makes the site answer 500, and give the source its own theme back."""
        theme = self.promotion.pair.path("staging", THEME)
        kept = theme.read_text()
        theme.write_text(BROKEN)
        try:
            return self.promote()
        finally:
            theme.write_text(kept)

    def roll_back(self) -> str:
        """Roll back; returns the code of a refusal, empty for success."""
        job = Job(str(uuid4()), 1, "release_rollback", "rollback")
        call = dataclasses.replace(
            self.promotion.call("rollback"),
            job=job,
            environment=self.promotion.production,
            production=None,
            source=None,
        )
        try:
            roll_back(call)
        except NodeError as error:
            return error.code
        return ""

    def back_up(self, side: str) -> None:
        """Back one side up into a storage of its own."""
        self.restoring = make_storage(self.promotion, side)
        self.snapshot = self.restoring.back_up()

    def restore(self) -> None:
        """Restore what was backed up last."""
        self.restoring.anew().restore(self.snapshot)

    def read(self, side: str) -> Values:
        """Read every value of one side by means that share no code with the product."""
        return {name: self._read_value(side, name) for name in NAMES}

    def _read_value(self, side: str, name: str) -> int | None:
        environment = self.promotion.production if side == PRODUCTION else self.promotion.pair.staging
        letter = "P" if side == PRODUCTION else "S"
        if name in TABLES:
            self.promotion.admin.execute(f"SHOW TABLES FROM {environment.database}")
            if (environment.table(name),) not in self.promotion.admin.fetchall():
                return None
            self.promotion.pair.sql(f"SELECT {COLUMN[name]} FROM {letter}.{name}")
        elif name == "tagline":
            self.promotion.pair.sql(f"SELECT option_value FROM {letter}.options WHERE option_name = '{name}'")
        else:
            below = "wp-content/plugins/shop/shop.php" if name == CODE else f"{name}/2024/a.png"
            path = Path(environment.current) / below
            return int("".join(filter(str.isdigit, path.read_text()))) if path.exists() else None
        rows = self.promotion.admin.fetchall()
        return int(rows[0][0]) if rows else None


@dataclass
class Kept:
    """What a rollback goes back to: the names that went up, what they were, and what was installed."""

    before: Values
    installed: Values
    baseline: dict[str, tuple[int | None, int | None] | None]
    code_before: int | None


@dataclass
class Model:
    """What both sides and the baseline hold. `baseline` maps a name to (production, source); None before the first."""

    production: Values = field(default_factory=dict)
    source: Values = field(default_factory=dict)
    baseline: dict[str, tuple[int | None, int | None]] | None = None
    kept: Kept | None = None
    backup: tuple[str, Values, dict[str, tuple[int | None, int | None]]] = field(init=False)

    def side(self, side: str) -> Values:
        return self.production if side == PRODUCTION else self.source

    def edit(self, side: str, name: str, value: int | None) -> None:
        self.side(side)[name] = value

    def refresh(self, scope: str) -> None:
        pulled = NAMES if scope == "full" else (*PROTECTED, DEPENDENT)
        known = {} if scope == "full" or self.baseline is None else dict(self.baseline)
        for name in pulled:
            self.source[name] = self.production[name]
            known[name] = (self.production[name], self.production[name])
        self.baseline = {name: pair for name, pair in known.items() if pair != (None, None)}

    def before(self, name: str) -> tuple[int | None, int | None]:
        return (self.baseline or {}).get(name, (None, None))

    def verdict(self, name: str) -> str:
        """What a drift check must say of one resource."""
        now, then = self.production[name], self.before(name)[0]
        if self.baseline is None:
            return "unknown"
        if now is None and then is None:
            return "absent"
        return "clean" if now == then else "drifted"

    def drift(self) -> str:
        """What it must say of production as a whole."""
        verdicts = {self.verdict(name) for name in PROTECTED}
        return next((word for word in ("unknown", "drifted") if word in verdicts), "clean")

    def outcome(self, name: str) -> str:
        """The three-way rule, written as the table of docs/explanation/promotion-and-drift.md."""
        ours, theirs = self.production[name], self.source[name]
        was_ours, was_theirs = self.before(name)
        if ours == was_ours and theirs == was_theirs:
            return "unchanged"
        if theirs == was_theirs:
            return "kept"
        if ours != was_ours:
            if (was_ours, was_theirs) == (None, None) and (ours is None or theirs is None):
                return "created" if ours is None else "kept"
            return "unchanged" if ours == theirs else "conflict"
        if theirs is not None:
            return "created" if ours is None else "promoted"
        return "kept" if name in TABLES or ours is None else "deleted"

    def promote(self, *, breaks: bool = False) -> str:
        drift = self.drift()
        if drift != "clean":
            return "DRIFT_GATE_UNMET"
        outcomes = {name: self.outcome(name) for name in MERGEABLE}
        if "conflict" in outcomes.values():
            return "OVERWRITE_BLOCKED"
        if breaks:
            return "HEALTH_CHECK_FAILED"
        moved = [name for name, word in outcomes.items() if word in {"promoted", "created", "deleted"}]
        assert self.baseline is not None
        self.kept = Kept(
            before={name: self.production[name] for name in moved},
            installed={name: self.source[name] for name in moved},
            baseline={name: self.baseline.get(name) for name in moved},
            code_before=self.production[CODE],
        )
        for name in moved:
            self.production[name] = self.source[name]
            self._remember(name, (self.source[name], self.source[name]))
        self.kept.installed[CODE] = self.production[CODE]
        return ""

    def roll_back(self) -> str:
        kept = self.kept
        if kept is None:
            return "ROLLBACK_FAILED"
        if any(self.production[name] != value for name, value in kept.installed.items()):
            return "OVERWRITE_BLOCKED"
        for name, value in kept.before.items():
            self.production[name] = value
            self._remember(name, kept.baseline[name])
        self.production[CODE] = kept.code_before
        self.kept = None
        return ""

    def back_up(self, side: str) -> None:
        self.backup = (side, dict(self.side(side)), dict(self.baseline or {}))

    def restore(self) -> None:
        """A production's copies go on being compared with what they were copied from; a copy gets its own back."""
        side, values, baseline = self.backup
        self.side(side).update(values)
        if side == SOURCE:
            self.baseline = baseline
        else:
            self.kept = None

    def _remember(self, name: str, pair: tuple[int | None, int | None] | None) -> None:
        assert self.baseline is not None
        self.baseline.pop(name, None)
        if pair not in (None, (None, None)):
            self.baseline[name] = pair


@dataclass
class Walk:
    """A life and its model, taking every step together; each step ends with a look at everything."""

    life: Life
    model: Model = field(default_factory=Model)

    def begin(self) -> None:
        """Both sides hold the value 0 everywhere; nothing was ever copied."""
        for side in (PRODUCTION, SOURCE):
            for name in NAMES:
                self.life.edit(side, name, None if name in TABLES else 0)  # their definitions are ours
                self.life.edit(side, name, 0)
                self.model.edit(side, name, 0)

    def edit(self, side: str, name: str, value: int | None) -> None:
        self.life.edit(side, name, value)
        self.model.edit(side, name, value)

    def refresh(self, scope: str) -> None:
        self.life.refresh(scope)
        self.model.refresh(scope)

    def promote(self) -> None:
        assert self.life.promote() == self.model.promote()

    def promote_what_breaks(self) -> None:
        assert self.life.promote_what_breaks() == self.model.promote(breaks=True)

    def roll_back(self) -> None:
        assert self.life.roll_back() == self.model.roll_back()

    def back_up(self, side: str) -> None:
        self.life.back_up(side)
        self.model.back_up(side)

    def restore(self) -> None:
        self.life.restore()
        self.model.restore()

    def compare(self) -> Observation:
        """Hold everything the node and the controller say against the model."""
        observation = self.life.observe()
        by_name = {found.name: found for found in observation.resources}
        known = observation.baseline is not None
        unreadable = [
            f"{found.name}: {found.unreadable}" for found in observation.resources if found.unreadable
        ]
        assert not unreadable, unreadable
        said = {name: self._say(by_name.get(name), known=known) for name in NAMES}
        assert said == {name: self.model.verdict(name) for name in NAMES}
        assert decide_drift(observation) == self.model.drift()
        outcomes = {item.resource.name: str(item.outcome) for item in decide_merge(observation)}
        if known:
            expected = {name: self.model.outcome(name) for name in MERGEABLE}
            assert {name: outcomes.get(name, "unchanged") for name in MERGEABLE} == expected
        for side in (PRODUCTION, SOURCE):
            assert self.life.read(side) == self.model.side(side)
        return observation

    @staticmethod
    def _say(found: Any, *, known: bool) -> str:
        if found is None:  # on neither side and not in the baseline
            return "absent" if known else "unknown"
        return str(decide_verdict(found, has_baseline=known))


def make_storage(promotion: Promotion, side: str) -> Restoring:
    """Give the node a restic repository unless it has one, and name the side that is backed up into it."""
    restoring = Restoring(promotion, promotion.production if side == PRODUCTION else promotion.pair.staging)
    if restoring.repository.exists():
        return restoring
    config, repository = Path(promotion.config_dir), restoring.repository
    password = config / "restic.password"
    password.write_text("secret of the test\n")
    password.chmod(0o600)
    with (config / "node.ini").open("a") as ini:
        ini.write(f"[restic]\nrepository = {repository}\npassword_file = {password}\n")
    command = ["restic", "init", "-q", "-r", str(repository), "--password-file", str(password)]
    subprocess.run(command, check=True)
    return restoring


@contextmanager
def make_walk(mariadb: MariaDB, admin: Any, database: str, folder: Path) -> Iterator[Walk]:
    """Two sites before their first refresh."""
    with make_promotion(mariadb, admin, database, folder) as promotion:
        promotion.pair.staging = dataclasses.replace(
            promotion.pair.staging, health_urls=(), php_cli="/bin/true"
        )
        walk = Walk(Life(promotion))
        walk.begin()
        yield walk
