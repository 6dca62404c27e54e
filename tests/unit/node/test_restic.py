"""restic's secrets stay in files and in its own environment; what it says is repeated only as far as it is safe."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import restic as restic_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import NodeConfig
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.restic import (
    Restic,
    escape_pattern,
    find_vain,
    open_repository,
)

MakeConfig = Callable[..., NodeConfig]


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    def make(repository: str = "", environment: str = "", mode: int = 0o600) -> NodeConfig:
        files = {"password": "secret of the test\n", "environment": environment}
        for name, content in files.items():
            (tmp_path / name).write_text(content)
            (tmp_path / name).chmod(mode)
        return NodeConfig(
            mysql_defaults_file="",
            restic_repository=repository or str(tmp_path / "repository"),
            restic_password_file=str(tmp_path / "password"),
            restic_environment_file=str(tmp_path / "environment") if environment else "",
            wp_cli="",
            fastcgi_listen="",
        )

    return make


def _open(config: NodeConfig, tmp_path: Path) -> Restic:
    return open_repository(config, cache_dir=str(tmp_path / "cache"), may_initialise=True)


def test_a_password_in_the_repositorys_address_is_never_shown(make_config: MakeConfig) -> None:
    restic = Restic(make_config("rest:http://ann:s3cret@127.0.0.1:1/site"), cache_dir="/nonexistent")
    said = "Fatal: unable to open repository at rest:http://ann:s3cret@127.0.0.1:1/site: refused"
    error = restic.make_error("backup", said)
    assert "refused" in error.message
    assert restic.shown_repository == "rest:http://127.0.0.1:1/site"
    assert "s3cret" not in error.message + error.remedy + restic.shown_repository


def test_only_lines_of_known_kinds_are_repeated(make_config: MakeConfig) -> None:
    restic = Restic(make_config(), cache_dir="/nonexistent")
    error = restic.make_error(
        "check", "AWS_SECRET_ACCESS_KEY=hunter2\nFatal: wrong password or no key found\n"
    )
    assert error.message == "restic check failed: Fatal: wrong password or no key found"
    assert "may be shown" in restic.make_error("check", "token=hunter2").message


GONE = "open /backups/data/b2/b27e: no such file or directory"
REFUSED = "client.PutObject: Internal Error"


@pytest.mark.parametrize(
    ("what", "why", "times", "expected"),
    [
        pytest.param("Load(<data/b27e6e74d1>, 250, 682581)", GONE, 2, "", id="a lost pack, once more"),
        pytest.param("Load(<data/b27e6e74d1>, 250, 682581)", GONE, 3, GONE, id="a lost pack"),
        pytest.param("Load(<lock/aa993c39e0>, 0, 0)", GONE, 20, "", id="a lock that somebody took away"),
        pytest.param("Save(<data/aa993c39e0>)", REFUSED, 9, "", id="a storage that may be busy"),
        pytest.param("Save(<data/aa993c39e0>)", REFUSED, 10, REFUSED, id="a storage that takes nothing"),
    ],
)
def test_what_restic_tries_in_vain_is_told(what: str, why: str, times: int, expected: str) -> None:
    said = f"{what} returned error, retrying after 552.330144ms: {why}\n" * times
    assert find_vain(said.encode()) == expected


def test_tries_of_different_things_do_not_add_up() -> None:
    lines = [
        f"Save(<data/{number:010x}>) returned error, retrying after 1s: {REFUSED}\n" for number in range(20)
    ]
    assert find_vain("".join(lines).encode()) == ""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for restic: writes what it was given into the files argv and env."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "restic").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/argv\nenv > {tmp_path}/env\necho "[]"\n'
    )
    (folder / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param("", "GOMEMLIMIT=128MiB\n", id="by itself"),
        pytest.param("GOMEMLIMIT=1GiB\n", "GOMEMLIMIT=1GiB\n", id="as the owner wants"),
    ],
)
def test_restics_memory_is_bounded(
    make_config: MakeConfig, tmp_path: Path, environment: str, expected: str
) -> None:
    _open(make_config(environment=environment), tmp_path)
    assert expected in (tmp_path / "env").read_text()


@pytest.mark.usefixtures("told")
def test_no_secret_is_on_the_command_line(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "inherited")
    config = make_config("rest:http://ann:s3cret@127.0.0.1:1/", "# keys\nAWS_ACCESS_KEY_ID = 'hunter2'\n")
    _open(config, tmp_path)
    environment = (tmp_path / "env").read_text()
    assert "AWS_ACCESS_KEY_ID=hunter2\n" in environment
    assert "s3cret" in environment
    assert "secret of the test" not in environment
    assert "inherited" not in environment
    assert "s3cret" not in (tmp_path / "argv").read_text()


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_files_with_secrets_that_others_can_read_are_refused(
    make_config: MakeConfig, tmp_path: Path, mode: int
) -> None:
    with pytest.raises(NodeError, match="can be read by others") as caught:
        _open(make_config(mode=mode), tmp_path)
    assert caught.value.remedy.startswith("chmod 600")


def test_the_lock_of_a_restic_that_was_killed_is_taken_away(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic_module, "_LOCK_PAUSE_SECONDS", 0)
    config = make_config()
    restic = _open(config, tmp_path)
    environment = dict(
        os.environ,
        RESTIC_REPOSITORY=config.restic_repository,
        RESTIC_PASSWORD_FILE=config.restic_password_file,
    )
    # A backup from a pipe that never ends holds its lock for good, once it is killed.
    with subprocess.Popen(
        ["restic", "backup", "--stdin", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
    ) as held:
        while not _find_locks(config):
            assert held.poll() is None
        held.kill()
        held.wait()
        assert _find_locks(config)
        restic.run(["check", "--quiet"])
    assert not _find_locks(config)


def _find_locks(config: NodeConfig) -> list[Path]:
    return [path for path in Path(config.restic_repository, "locks").iterdir() if len(path.name) == 64]


def test_a_pattern_matches_the_path_alone() -> None:
    assert escape_pattern("/srv/a*[1]?\\b") == "/srv/a\\*\\[1]\\?\\\\b"
