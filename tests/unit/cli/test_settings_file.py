"""A file with settings that cannot be read is told, whatever the command: else it would run without them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from reconciler.cli.main import app


@pytest.mark.parametrize("command", ["status", "run", "serve", "doctor"])
def test_a_file_that_is_not_there_is_named(command: str, tmp_path: Path) -> None:
    missing = tmp_path / "settings.toml"
    done = CliRunner().invoke(app, [command, "--config", str(missing)])
    assert done.exit_code == 1
    assert f"{missing} cannot be read: No such file or directory" in done.output
    assert "PRESSLUFT_CONFIG" in done.output


@pytest.mark.parametrize("content", [b"repo = [", b"\xff\xfe"], ids=["no TOML", "no text"])
def test_a_file_that_is_no_toml_is_named(content: bytes, tmp_path: Path) -> None:
    broken = tmp_path / "settings.toml"
    broken.write_bytes(content)
    done = CliRunner().invoke(app, ["status", "--config", str(broken)])
    assert done.exit_code == 1
    assert f"{broken} is no TOML" in done.output
