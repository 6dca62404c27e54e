"""Working as root in another user's folder: no link of his leads us anywhere."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import quiet, reload, wp_cli
from ansible_collections.pressluft.wordpress.plugins.module_utils.file_copy import copy_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import (
    HeldFolder,
    find_controller,
    find_trusted,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

STRANGER, ANOTHER = 7001, 7002


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of root's that nothing may be written to."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious").write_text("root's")
    return folder


def check_untouched(elsewhere: Path) -> None:
    assert {path.name for path in elsewhere.iterdir()} == {"precious"}
    assert (elsewhere / "precious").read_text() == "root's"
    assert (elsewhere / "precious").stat().st_uid == 0


def test_a_link_of_a_user_to_what_is_not_his_is_not_trusted(tmp_path: Path, elsewhere: Path) -> None:
    link = tmp_path / "uploads"
    link.symlink_to(elsewhere)
    assert find_trusted(str(link)) == str(elsewhere)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(NodeError, match="does not belong") as refused:
        find_trusted(str(link))
    assert refused.value.code == "SCHEMA_UNSUPPORTED"
    os.chown(elsewhere, STRANGER, STRANGER)
    assert find_trusted(str(link)) == str(elsewhere)


def test_a_link_behind_a_trusted_one_is_looked_at_too(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "inner").symlink_to(elsewhere)
    os.chown(tmp_path / "inner", STRANGER, STRANGER, follow_symlinks=False)
    (tmp_path / "outer").symlink_to("inner")
    with pytest.raises(NodeError):
        find_trusted(str(tmp_path / "outer"))


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(NodeError, match="circle"):
        find_trusted(str(tmp_path / "a"))


def test_what_took_a_folders_place_is_neither_written_nor_removed(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "below").symlink_to(elsewhere)
    with HeldFolder(str(tmp_path / "top")) as held:
        for change in (
            lambda: held.remove("below/precious"),
            lambda: held.put_link("below/new", "x"),
            lambda: held.make_folder("below/new"),
            lambda: held.adjust("below/precious", owner=(STRANGER, STRANGER)),
            lambda: held.put_file("below/precious", lambda _fd: None, owner=(0, 0), mode=0o644),
            lambda: held.remove("../elsewhere/precious"),
        ):
            with pytest.raises(OSError, match=r".") as refused:
                change()
            assert refused.type is NotADirectoryError
        held.remove("below")
    check_untouched(elsewhere)


def test_a_folder_replaced_by_a_link_between_look_and_write_is_not_followed(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race itself: the target's folder becomes a link right after it was listed."""
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        (folder / "2026").mkdir(parents=True)
    (source / "2026" / "precious").write_text("a visitor's upload")
    original = HeldFolder.put_file

    def swap_then_put(self: HeldFolder, path: bytes, *arguments: object, **options: object) -> None:
        if (target / "2026").is_dir() and not (target / "2026").is_symlink():
            (target / "2026").rename(tmp_path / "aside")
            (target / "2026").symlink_to(elsewhere)
        original(self, path, *arguments, **options)

    monkeypatch.setattr(HeldFolder, "put_file", swap_then_put)
    with pytest.raises(NodeError):
        copy_folder(str(source), str(target))
    check_untouched(elsewhere)


def test_a_program_of_an_upload_does_not_take_its_new_owners_rights(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    program = tmp_path / "source" / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o6755)
    copy_folder(str(tmp_path / "source"), str(tmp_path / "target"))
    assert (tmp_path / "target" / "program").stat().st_mode & 0o7777 == 0o755


def make_release(tmp_path: Path) -> Path:
    release = tmp_path / "release"
    (release / "wp-content").mkdir(parents=True)
    (release / "index.php").write_text("<?php")
    for path in (release, *release.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    return release


def test_the_quiet_plugin_is_not_written_through_a_users_link(tmp_path: Path, elsewhere: Path) -> None:
    release = make_release(tmp_path)
    folder = release / "wp-content" / "mu-plugins"
    folder.symlink_to(elsewhere)
    os.chown(folder, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(NodeError, match="mu-plugins"):
        quiet.install_plugin(str(release), production_url="https://shop.test")
    check_untouched(elsewhere)


def test_a_link_in_the_quiet_plugins_place_is_replaced_and_not_followed(
    tmp_path: Path, elsewhere: Path
) -> None:
    release = make_release(tmp_path)
    plugin = release / quiet.PLUGIN_PATH
    plugin.parent.mkdir()
    plugin.symlink_to(elsewhere / "precious")
    quiet.install_plugin(str(release), production_url="https://shop.test")
    assert plugin.read_bytes() == quiet.make_plugin("https://shop.test")
    assert (plugin.is_symlink(), plugin.stat().st_uid) == (False, STRANGER)
    check_untouched(elsewhere)


def test_whoever_made_the_link_decides_and_not_whose_file_it_names(tmp_path: Path) -> None:
    other = tmp_path / "bashrc"
    other.write_text("")
    os.chown(other, ANOTHER, ANOTHER)
    link = tmp_path / "wp-config.php"
    link.symlink_to(other)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    assert find_controller(str(link)) == STRANGER


def test_code_of_a_user_who_cannot_be_become_never_runs_as_root(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    answer = wp_cli.run_wp(
        SimpleNamespace(php_cli="/bin/true"), "/bin/true", ["core", "is-installed"], folder=str(release)
    )
    assert not answer.ok
    assert "never runs as root" in answer.said


def test_a_missing_php_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.php").write_text("<?php")
    answer = wp_cli.run_wp(
        SimpleNamespace(php_cli="/nowhere/php"), "/bin/true", ["core", "is-installed"], folder=str(tmp_path)
    )
    assert not answer.ok
    assert "/nowhere/php" in answer.said


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that SIGUSR2 would end."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.send_signal(signal.SIGKILL)


def test_a_pid_file_that_names_another_process_ends_nobody(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    for said in (str(bystander.pid), "0", "-1", "1"):
        (tmp_path / "fpm.pid").write_text(said)
        assert "no php-fpm" in reload.reload_php(str(tmp_path / "fpm.pid"))
    assert bystander.poll() is None
