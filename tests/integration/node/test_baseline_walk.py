"""Random walks through the life of a baseline, every step held against a model (`baseline_life.Model`)."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reconciler.stack.mariadb import MariaDB
from tests.integration.node.baseline_life import (
    ALWAYS_THERE,
    NAMES,
    PRODUCTION,
    SOURCE,
    Walk,
    make_walk,
)

WALKS = int(os.environ.get("PRESSLUFT_BASELINE_WALKS", "2"))
STEPS = 10
"""Walks, and steps of each; `make test` takes a few, docs/reference/drift-guarantees.md says how many were run once."""

sides = st.sampled_from([PRODUCTION, SOURCE])
values = st.sampled_from([0, 1, 2])


class Wandering(RuleBasedStateMachine):
    """One pair of sites on the server that the test lends."""

    mariadb: ClassVar[MariaDB]
    admin: ClassVar[Any]
    is_backed_up = False

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        database = f"walk_{os.urandom(4).hex()}"
        self.mariadb.create_database(database)
        self.stack.callback(self.mariadb.drop_database, database)
        self.walk: Walk = self.stack.enter_context(make_walk(self.mariadb, self.admin, database, folder))

    @rule(side=sides, name=st.sampled_from(NAMES), value=values)
    def edit(self, side: str, name: str, value: int) -> None:
        self.walk.edit(side, name, value)

    @rule(side=sides, name=st.sampled_from([name for name in NAMES if name not in ALWAYS_THERE]))
    def remove(self, side: str, name: str) -> None:
        self.walk.edit(side, name, None)

    @rule()
    def refresh_in_full(self) -> None:
        self.walk.refresh("full")

    @precondition(lambda self: self.walk.model.baseline is not None)
    @rule()
    def refresh_protected_data(self) -> None:
        self.walk.refresh("protected")

    @rule(first_refresh=st.booleans())
    def promote(self, first_refresh: bool) -> None:
        # Half of the time as after a refresh, or else the gate would refuse nearly all of them.
        if first_refresh and self.walk.model.baseline is not None:
            self.walk.refresh("protected")
        self.walk.promote()

    @precondition(lambda self: self.walk.model.baseline is not None)
    @rule()
    def promote_what_breaks(self) -> None:
        self.walk.refresh("protected")
        self.walk.promote_what_breaks()

    @rule()
    def roll_back(self) -> None:
        self.walk.roll_back()

    @rule(side=sides)
    def back_up(self, side: str) -> None:
        self.walk.back_up(side)
        self.is_backed_up = True

    @precondition(lambda self: self.is_backed_up)
    @rule()
    def restore(self) -> None:
        self.walk.restore()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        self.walk.compare()

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()


@pytest.mark.timeout(300 * WALKS)
def test_every_verdict_of_a_random_walk_is_the_models(
    mariadb: MariaDB, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wandering, "mariadb", mariadb, raising=False)
    monkeypatch.setattr(Wandering, "admin", admin, raising=False)
    run_state_machine_as_test(
        Wandering,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
