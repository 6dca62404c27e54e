"""A plain docroot is brought into the layout of releases and back, and its path serves the site all the while."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_survey import (
    looks_at_its_place,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import take_lock
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from tests.integration.node.plain_docroot import CONFIG, FILES, Docroot, make_docroot, run_php

UPLOADED = "wp-content/uploads/2026/01/photo.jpg"


@pytest.fixture
def docroot(tmp_path: Path) -> Iterator[Docroot]:
    with make_docroot(tmp_path) as made:
        yield made


def test_every_file_is_found_where_it_was_the_very_same_inode(docroot: Docroot) -> None:
    before = docroot.photo()
    docroot.adopt()
    docroot.assert_adopted()
    assert docroot.photo() == before


def test_undoing_leaves_no_trace(docroot: Docroot) -> None:
    before, names = docroot.photo(), docroot.list_all()
    docroot.adopt()
    docroot.undo()
    assert docroot.photo() == before
    assert docroot.list_all() == names
    assert not docroot.path.is_symlink()


def test_a_dry_run_names_what_the_run_does_and_touches_nothing(docroot: Docroot) -> None:
    names = docroot.list_all()
    foreseen = docroot.adopt(check_mode=True)["adoption"]
    assert (docroot.list_all(), docroot.state_dir.exists()) == (names, False)
    done = docroot.adopt()["adoption"]
    text = json.dumps(foreseen["actions"]).replace(foreseen["release"], done["release"])
    assert json.loads(text) == done["actions"]
    [whole, *_] = [action for action in foreseen["actions"] if action["do"] == "move"]
    kept = [text for name, text in FILES.items() if name not in {"robots.txt", "wp-config.php"}]
    code = [text for name, text in FILES.items() if text in kept and "uploads" not in name]
    assert (whole["path"], whole["files"]) == (str(docroot.path), len(code))
    assert whole["bytes"] == sum(len(text) for text in code)


def test_a_dry_run_of_the_way_back_touches_nothing(docroot: Docroot) -> None:
    docroot.adopt()
    names = docroot.list_all()
    foreseen = docroot.undo(check_mode=True)["adoption"]
    assert docroot.list_all() == names
    assert docroot.undo()["adoption"]["actions"] == foreseen["actions"]


def test_adopting_or_undoing_again_changes_nothing(docroot: Docroot) -> None:
    docroot.adopt()
    names = docroot.list_all()
    again = docroot.adopt()
    assert (again["adoption"]["is_done"], again["changed"], docroot.list_all()) == (True, False, names)
    docroot.undo()
    names = docroot.list_all()
    again = docroot.undo()
    assert (again["adoption"]["is_done"], again["changed"], docroot.list_all()) == (True, False, names)
    docroot.adopt()
    docroot.assert_adopted()


def test_a_layout_that_was_made_by_hand_counts_as_adopted(docroot: Docroot) -> None:
    docroot.adopt()
    Path(docroot.state_dir, docroot.environment.id, "adoption.json").unlink()
    assert docroot.adopt()["adoption"]["is_done"] is True
    with pytest.raises(NodeError, match="nothing to undo"):
        docroot.undo()


def test_no_file_is_ever_missing_for_whoever_asks_by_the_docroots_path(docroot: Docroot) -> None:
    asked = [docroot.path / name for name in ("index.php", "wp-config.php", UPLOADED, "robots.txt")]
    with asking_all_the_time(asked) as (answers, missing):
        for _ in range(5):
            docroot.adopt()
            docroot.undo()
    assert len(answers) > 100
    assert missing == []


@contextmanager
def asking_all_the_time(asked: list[Path]) -> Iterator[tuple[list[int], list[Path]]]:
    answers, missing, stop = list[int](), list[Path](), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            for path in asked:
                try:
                    answers.append(len(path.read_bytes()))
                except OSError:
                    missing.append(path)

    thread = threading.Thread(target=ask)
    thread.start()
    yield answers, missing
    stop.set()
    thread.join()


def test_on_the_way_back_php_finds_what_it_remembers_until_it_was_reloaded(docroot: Docroot) -> None:
    docroot.adopt()
    remembered = [os.path.realpath(docroot.path / name) for name in FILES]
    seen: list[str] = []

    def look(step: str) -> None:
        if "php reloaded" not in seen:
            assert [path for path in remembered if not Path(path).exists()] == [], step
        seen.append(step)

    docroot.undo(look)
    assert "docroot exchanged" in seen


def test_without_a_way_to_reload_php_it_is_said_and_cleaned_up_later(docroot: Docroot) -> None:
    names = docroot.list_all()
    docroot.environment = dataclasses.replace(docroot.environment, fpm_service="")
    assert "php.fpm_service" in docroot.adopt()["adoption"]["notes"][-1]
    [note] = docroot.undo()["adoption"]["notes"]
    assert "run the same command again" in note
    assert docroot.list_all() != names
    docroot.undo()
    assert docroot.list_all() == names


def test_a_layout_that_somebody_made_after_undoing_is_left_alone(docroot: Docroot) -> None:
    release = docroot.root / "releases" / docroot.adopt()["adoption"]["release"]
    docroot.undo()
    release.parent.mkdir(parents=True)
    docroot.path.rename(release)
    (docroot.root / "current").symlink_to(f"releases/{release.name}")
    docroot.path.symlink_to(docroot.root / "current")
    names = docroot.list_all()
    docroot.undo()
    assert docroot.list_all() == names


def test_undoing_takes_the_release_that_is_served_then(docroot: Docroot) -> None:
    docroot.adopt()
    first = (docroot.root / "current").readlink()
    later = docroot.root / "releases/later"
    shutil.copytree(docroot.root / first, later, symlinks=True)
    (later / "index.php").write_text("<?php // a later front page")
    fresh = docroot.root / "fresh"
    fresh.symlink_to("releases/later")
    fresh.rename(docroot.root / "current")
    (docroot.root / "shared" / UPLOADED).write_text("a later photo")
    (docroot.root / "shared/wp-content/unused").mkdir()
    *_, unused, left = docroot.undo()["adoption"]["actions"]
    assert (docroot.path / "index.php").read_text() == "<?php // a later front page"
    assert (docroot.path / UPLOADED).read_text() == "a later photo"
    assert (docroot.path / "wp-config.php").read_text() == CONFIG
    assert (left["do"], Path(left["path"]).name) == ("leave", first.name)
    assert (unused["do"], Path(unused["path"]).name) == ("leave", "unused")
    assert (docroot.root / "shared/wp-content/unused").is_dir()
    assert (docroot.root / first).is_dir()


def test_a_site_that_is_not_healthy_once_moved_is_put_back(docroot: Docroot) -> None:
    before, names = docroot.photo(), docroot.list_all()

    def break_it(step: str) -> None:
        if step == "php reloaded" and docroot.path.is_symlink():
            (docroot.path / "index.php").rename(docroot.path / "gone")
        if step == "docroot exchanged" and not docroot.path.is_symlink():
            (docroot.path / "gone").rename(docroot.path / "index.php")

    with pytest.raises(NodeError, match="plain one again and healthy") as failed:
        docroot.adopt(break_it)
    assert failed.value.code == "HEALTH_CHECK_FAILED"
    assert (docroot.photo(), docroot.list_all()) == (before, names)


def test_a_site_that_is_not_healthy_as_it_is_is_not_moved(docroot: Docroot) -> None:
    docroot.environment = dataclasses.replace(docroot.environment, body_contains="no such words")
    assert_refused(docroot, "not healthy as it is", code="HEALTH_CHECK_FAILED")


def test_a_web_server_that_serves_another_docroot_is_found_before_anything_moves(docroot: Docroot) -> None:
    other = docroot.folder / "srv/other"
    shutil.copytree(docroot.path, other)
    docroot.path = other
    assert_refused(docroot, "answered HTTP 404")


def test_a_php_that_may_not_read_the_new_place_is_found_before_anything_moves(docroot: Docroot) -> None:
    with run_php(docroot.path, f"open_basedir={docroot.path}") as url:
        docroot.environment = dataclasses.replace(docroot.environment, url=url, health_urls=(f"{url}/",))
        assert_refused(docroot, "PHP runs files in .*, but not what a link there leads to")


def test_a_php_that_may_read_it_is_proved_to(docroot: Docroot) -> None:
    with run_php(docroot.path, "open_basedir=") as url:
        docroot.environment = dataclasses.replace(docroot.environment, url=url, health_urls=(f"{url}/",))
        assert docroot.adopt()["adoption"]["notes"] == []


def test_an_uploads_folder_that_is_not_there_yet_is_made_where_it_belongs(docroot: Docroot) -> None:
    shutil.rmtree(docroot.path / "wp-content/uploads")
    docroot.adopt()
    docroot.assert_adopted()
    (docroot.path / "wp-content/uploads/new.jpg").write_text("new")
    docroot.undo()
    assert (docroot.path / "wp-content/uploads/new.jpg").read_text() == "new"
    assert not (docroot.path / "wp-content/uploads").is_symlink()


def test_uploads_on_other_storage_stay_there(docroot: Docroot) -> None:
    storage = docroot.folder / "storage"
    (docroot.path / "wp-content/uploads").rename(storage)
    (docroot.path / "wp-content/uploads").symlink_to(storage)
    before = docroot.photo()
    docroot.adopt()
    assert docroot.photo() == before
    assert (docroot.path / "wp-content/uploads").readlink() == storage
    docroot.undo()
    assert docroot.photo() == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(CONFIG, False, id="as WordPress writes it"),
        pytest.param(CONFIG.replace("__DIR__", "dirname( __FILE__ )"), False, id="as it was written once"),
        pytest.param(CONFIG + "require 'salts.php';", True, id="a file beside it"),
        pytest.param(CONFIG + "define( 'WP_CONTENT_DIR', __DIR__ . '/c' );", True, id="its own folder"),
        pytest.param(CONFIG + "$here = dirname( __FILE__, 2 );", True, id="the folder above"),
    ],
)
def test_a_file_that_asks_where_it_lies_is_told_from_others(content: str, expected: bool) -> None:
    assert looks_at_its_place(content.encode()) is expected


def test_a_config_that_asks_where_it_lies_stays_in_the_release(docroot: Docroot) -> None:
    (docroot.path / "wp-config.php").write_text(CONFIG + "require __DIR__ . '/salts.php';")
    docroot.adopt()
    assert not (docroot.path / "wp-config.php").is_symlink()
    assert (docroot.path / "wp-content/uploads").is_symlink()


def make_second_name(docroot: Docroot) -> None:
    html = docroot.path.rename(docroot.path.with_name("real"))
    docroot.path.symlink_to(html)


def put_root_within(docroot: Docroot) -> None:
    docroot.environment = dataclasses.replace(docroot.environment, root=str(docroot.path / "acme"))


def make_root_the_docroot(docroot: Docroot) -> None:
    docroot.environment = dataclasses.replace(docroot.environment, root=str(docroot.path))


def leave_config_above(docroot: Docroot) -> None:
    (docroot.path / "wp-config.php").rename(docroot.path.parent / "wp-config.php")


def link_out(docroot: Docroot) -> None:
    (docroot.path / "wp-content/data").symlink_to("../../outside")


def link_out_of_uploads(docroot: Docroot) -> None:
    (docroot.path / "wp-content/uploads/plugins").symlink_to("../plugins")


def link_uploads_within(docroot: Docroot) -> None:
    (docroot.path / "wp-content/uploads").rename(docroot.path / "files")
    (docroot.path / "wp-content/uploads").symlink_to("../files")


def link_content(docroot: Docroot) -> None:
    (docroot.path / "wp-content").rename(docroot.path / "content")
    (docroot.path / "wp-content").symlink_to("content")


def serve_another(docroot: Docroot) -> None:
    docroot.root.mkdir(parents=True)
    (docroot.root / "current").symlink_to("releases/x")


REFUSED: dict[str, tuple[Callable[[Docroot], object], str]] = {
    "root is the docroot": (make_root_the_docroot, "is the docroot .* itself"),
    "root in the docroot": (put_root_within, "or lies in it"),
    "a link": (make_second_name, "is a link to"),
    "nothing there": (lambda it: shutil.rmtree(it.path), "there is no folder"),
    "no WordPress": (lambda it: (it.path / "wp-load.php").unlink(), "not the folder of a WordPress"),
    "config above": (leave_config_above, "has no wp-config.php"),
    "an update": (lambda it: (it.path / ".maintenance").touch(), "being updated"),
    "a link out of it": (link_out, "wp-content/data would lead somewhere else"),
    "a link out of uploads": (link_out_of_uploads, "uploads/plugins would lead somewhere else"),
    "uploads lead into the docroot": (link_uploads_within, "is a link that leads to"),
    "wp-content is a link": (link_content, "lies behind a link"),
    "something in shared": (
        lambda it: (it.root / "shared/wp-content/uploads").mkdir(parents=True),
        "shared/wp-content/uploads is there already",
    ),
    "another release": (serve_another, "current is there already"),
    "not absolute": (lambda it: setattr(it, "path", Path("html")), "no absolute path"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_docroot_is_refused_and_stays_as_it_is(docroot: Docroot, name: str) -> None:
    prepare, expected = REFUSED[name]
    prepare(docroot)
    assert_refused(docroot, expected)


def assert_refused(docroot: Docroot, expected: str, *, code: str = "SCHEMA_UNSUPPORTED") -> None:
    """It is refused, and not a name is another one afterwards."""
    before = docroot.list_all()
    with pytest.raises(NodeError, match=expected) as refused:
        docroot.adopt()
    assert refused.value.code == code
    assert refused.value.remedy
    assert docroot.list_all() == before


def test_a_dry_run_names_every_refusal(docroot: Docroot) -> None:
    link_out(docroot)
    link_out_of_uploads(docroot)
    refused = docroot.adopt(check_mode=True)["adoption"]["refused"]
    assert len(refused) == 2
    assert all(one["remedy"] for one in refused)


def test_a_root_on_another_file_system_is_refused(docroot: Docroot) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        docroot.environment = dataclasses.replace(docroot.environment, root=f"{other}/acme")
        assert_refused(docroot, "nothing can be moved between them")
        assert list(Path(other).iterdir()) == []


def test_another_environments_docroot_is_refused(docroot: Docroot, tmp_path: Path) -> None:
    docroot.state_dir.mkdir(mode=0o700)
    taken = {"other": {"root": str(docroot.path.resolve())}}
    (docroot.state_dir / "identities.json").write_text(json.dumps(taken))
    assert_refused(docroot, "overlaps")


def test_an_environment_in_which_something_is_at_work_is_left_alone(docroot: Docroot) -> None:
    docroot.adopt()
    names = docroot.list_all()
    folder = docroot.state_dir / docroot.environment.id
    with take_lock(str(folder), Job("other", 1, "env_promote", "cut_over"), wait=0):
        assert_busy(docroot, "job other is at work")
    state = json.loads((folder / "state.json").read_text())
    for changes, expected in (
        ({"status": "failed"}, "it is failed"),
        ({"job": "staged"}, "job staged has staged"),
    ):
        (folder / "jobs/staged").mkdir(parents=True, exist_ok=True)
        journal: dict[str, Any] = {"steps": [{"name": "staged"}], "cut": {}}
        (folder / "jobs/staged/journal.json").write_text(json.dumps(journal))
        (folder / "state.json").write_text(json.dumps({**state, **changes}))
        assert_busy(docroot, expected)
    assert docroot.list_all() == names


def assert_busy(docroot: Docroot, expected: str) -> None:
    with pytest.raises(NodeError, match=expected) as refused:
        docroot.undo()
    assert refused.value.code == "ENVIRONMENT_NOT_ACTIVE"
