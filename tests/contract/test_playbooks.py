"""The bundled playbooks: a step runs its own tasks, whether its tag chose them or a hand started the playbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.settings import find_bundled

PLAYBOOKS = sorted(find_bundled("ansible").glob("playbooks/*.yml"))


def read_tasks(playbook: Path) -> list[dict[str, Any]]:
    [play] = yaml.safe_load(playbook.read_text())
    return list(play["tasks"])


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_task_bears_the_tag_of_the_step_that_its_condition_names(playbook: Path) -> None:
    for task in read_tasks(playbook):
        found = re.search(r'step == "(\w+)"', task.get("when", ""))
        assert task.get("tags") == (found.group(1) if found else None), task["name"]


def test_a_playbook_with_steps_has_no_task_without_one() -> None:
    stepped = [tasks for tasks in map(read_tasks, PLAYBOOKS) if any("when" in task for task in tasks)]
    assert stepped
    assert all("when" in task for tasks in stepped for task in tasks)
