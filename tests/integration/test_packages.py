"""What the stack fetches: nothing is left half done, nothing altered is used."""

import os
from pathlib import Path

import pytest

from reconciler.stack import download, packages
from reconciler.stack.cache import fetch_cached
from reconciler.stack.command import StackError
from reconciler.stack.stack import Stack


def test_nothing_is_missing_once_the_stack_runs(stack: Stack) -> None:
    assert stack.mariadb.pid > 0
    assert packages.find_missing_packages() == []


def test_services_may_start_again_after_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(packages, "_as_root", list)
    with packages._no_service_starts():
        assert os.access(policy, os.X_OK)
        assert policy.read_text().endswith("exit 101\n")
    assert not policy.exists()


def test_a_policy_of_the_machine_itself_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    monkeypatch.setattr(packages, "_POLICY", policy)
    with packages._no_service_starts():
        assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert policy.exists()


def test_an_altered_wp_cli_is_refused(tmp_path: Path) -> None:
    phar = tmp_path / "wp-cli.phar"
    phar.write_bytes(b"<?php echo 'not the published one';")
    with pytest.raises(StackError, match="not the published one"):
        download._check_wp_cli(phar)


def test_a_failed_preparation_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSLUFT_CACHE", str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise StackError("the line went dead")

    with pytest.raises(StackError, match="went dead"):
        fetch_cached("thing", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["thing.lock"]


def test_the_remains_of_a_killed_preparation_are_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSLUFT_CACHE", str(tmp_path))
    (tmp_path / ".thing.killed").mkdir()
    made = fetch_cached("thing", lambda folder: (folder / "whole").touch())
    assert (made / "whole").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thing", "thing.lock"]
