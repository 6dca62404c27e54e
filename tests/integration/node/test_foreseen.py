"""What can be foreseen to be missing or broken on a node ends with a code, a message and a next step, by any module."""

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ansible.module_utils.testing import patch_module_args

from reconciler.stack.mariadb import Login, MariaDB
from tests.integration.node.observed_pair import PROTECTION
from tests.integration.node.plain_site import Promotion, make_promotion

MODULES = "ansible_collections.pressluft.wordpress.plugins.modules."
STEPS = {
    "observe": "check",
    "backup_create": "backup",
    "backup_verify": "check",
    "stage": "stage",
    "cut_over": "cut_over",
    "discard": "discard",
    "refresh": "refresh",
    "rollback": "rollback",
    "health": "health",
}


@pytest.fixture
def promotion(mariadb: MariaDB, admin: Any, database: Login, tmp_path: Path) -> Iterator[Promotion]:
    with make_promotion(mariadb, admin, database.user, tmp_path) as made:
        made.pair.take_baseline()
        yield made


def describe(environment: Any) -> dict[str, Any]:
    return {
        "id": environment.id,
        "name": environment.name,
        "type": environment.type,
        "url": environment.url,
        "root": environment.root,
        "database": {"name": environment.database, "table_prefix": environment.table_prefix},
        "php": {"cli": environment.php_cli},
        "health": {"urls": list(environment.health_urls)},
    }


def run(
    promotion: Promotion, module: str, capsys: pytest.CaptureFixture[str], **changes: Any
) -> dict[str, Any]:
    """Run a module as Ansible does, in this process; returns what it printed."""
    production = describe(promotion.production)
    arguments: dict[str, Any] = {
        "job": {"id": str(uuid4()), "epoch": 1, "type": "env_promote", "step": STEPS[module]},
        "settings": {"state_dir": promotion.state_dir, "config_dir": promotion.config_dir},
        "production": production,
        "environment": production,
        "source": describe(promotion.pair.staging),
        "protection": PROTECTION,
        "request": {"observation_id": "x", "backup": {}, "scope": "full"},
        **changes,
    }
    capsys.readouterr()
    with patch_module_args(arguments), pytest.raises(SystemExit):
        importlib.import_module(MODULES + module).main()
    return dict(json.loads(capsys.readouterr().out))


def check_explained(answer: dict[str, Any], *words: str) -> None:
    assert answer["failed"], answer
    error = answer["pressluft_error"]
    assert set(error) == {"code", "message", "remedy", "retry"}
    assert all(error[part] for part in ("code", "message", "remedy"))
    assert "Traceback" not in json.dumps(answer)
    assert [word for word in words if word in error["message"] + error["remedy"]], error


def without_ini(promotion: Promotion) -> None:
    Path(promotion.config_dir, "node.ini").unlink()


def without_login(promotion: Promotion) -> None:
    Path(promotion.config_dir, "node.ini").write_text("[mysql]\ndefaults_file = /nowhere/mysql.cnf\n")


def with_a_wrong_password(promotion: Promotion) -> None:
    login = Path(promotion.config_dir, "mysql.cnf")
    good = Path(promotion.pair.defaults_file).read_text()
    login.write_text("\n".join("password=x" if "password" in line else line for line in good.splitlines()))
    Path(promotion.config_dir, "node.ini").write_text(f"[mysql]\ndefaults_file = {login}\n")


def with_a_dead_server(promotion: Promotion) -> None:
    login = Path(promotion.config_dir, "mysql.cnf")
    login.write_text("[client]\nuser=x\nsocket=/nowhere.sock\n")
    Path(promotion.config_dir, "node.ini").write_text(f"[mysql]\ndefaults_file = {login}\n")


def with_a_broken_state(promotion: Promotion) -> None:
    promotion.check()
    Path(promotion.state_dir, promotion.production.id, "state.json").write_text('{"status": "act')


def with_a_file_in_the_states_place(promotion: Promotion) -> None:
    Path(promotion.state_dir, promotion.production.id).write_text("")


def with_a_broken_register(promotion: Promotion) -> None:
    Path(promotion.state_dir, "identities.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        pytest.param(without_ini, "node.ini", id="no node.ini"),
        pytest.param(without_login, "/nowhere/mysql.cnf", id="no login"),
        pytest.param(with_a_wrong_password, "Access denied", id="wrong password"),
        pytest.param(with_a_dead_server, "mysql.cnf", id="dead server"),
        pytest.param(with_a_broken_state, "state.json", id="broken state"),
        pytest.param(with_a_file_in_the_states_place, "Not a directory", id="no folder"),
        pytest.param(with_a_broken_register, "identities.json", id="broken register"),
    ],
)
def test_what_is_broken_is_named(
    promotion: Promotion,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Promotion], None],
    word: str,
) -> None:
    spoil(promotion)
    for module in STEPS:
        answer = run(promotion, module, capsys)
        if module == "health" and spoil in (without_login, with_a_wrong_password, with_a_dead_server):
            check = answer["pressluft"]["health"]["checks"][0]  # part of the answer, not a failure
            assert (check["name"], check["ok"]) == ("database", False)
        else:
            check_explained(answer, word)


def without_a_root(promotion: Promotion) -> None:
    root = Path(promotion.production.root)
    root.rename(root.with_name("gone"))


def without_current(promotion: Promotion) -> None:
    Path(promotion.production.current).unlink()


def without_the_sources_current(promotion: Promotion) -> None:
    Path(promotion.pair.staging.current).unlink()


@pytest.mark.parametrize("spoil", [without_a_root, without_current, without_the_sources_current])
def test_a_root_or_a_release_that_is_gone_never_ends_in_a_traceback(
    promotion: Promotion, capsys: pytest.CaptureFixture[str], spoil: Callable[[Promotion], None]
) -> None:
    spoil(promotion)
    answers = {module: run(promotion, module, capsys) for module in STEPS if module != "health"}
    for answer in answers.values():
        if answer.get("failed"):
            check_explained(answer, "")
    assert answers["observe"].get("failed") or [
        found for found in answers["observe"]["pressluft"]["observation"]["resources"] if found["unreadable"]
    ]
