"""Releases: built from production's own, switched in one step, never a way out of their folder."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import release
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection

FILES = {
    "index.php": "core",
    "wp-includes/version.php": "one",
    "wp-content/plugins/shop/shop.php": "shop 1",
    "wp-content/plugins/shop/old.php": "old",
    "wp-content/plugins/hello.php": "hello",
    "wp-content/themes/leaf/style.css": "green",
    "notes.txt": "ours",
}


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    write_files(root / "releases" / "first", FILES)
    (root / "shared" / "uploads").mkdir(parents=True)
    (root / "releases" / "first" / "wp-content" / "uploads").symlink_to("../../../shared/uploads")
    (root / "current").symlink_to("releases/first")
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source" / "releases" / "one"
    write_files(source, FILES)
    (tmp_path / "source" / "current").symlink_to("releases/one")
    return source


def build(root: Path, source: Path, take: list[str], delete: list[str] | None = None) -> Path:
    release.build_release(
        str(root),
        "second",
        source=SimpleNamespace(root=str(source.parents[1]), current=str(source.parents[1] / "current")),
        components={"take": take, "delete": delete or []},
        protection=make_protection({"protected_paths": ["wp-content/uploads"], "volatile_files": ["*.log"]}),
    )
    return root / "releases" / "second"


def read_files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_release_with_nothing_taken_is_productions_own(root: Path, source: Path) -> None:
    write_files(source, {"index.php": "another"})
    assert read_files(build(root, source, [])) == FILES


def test_a_component_is_taken_as_a_whole(root: Path, source: Path) -> None:
    write_files(
        source, {"wp-content/plugins/shop/shop.php": "shop 2", "wp-content/plugins/shop/new.php": "new"}
    )
    (source / "wp-content/plugins/shop/old.php").unlink()
    built = read_files(build(root, source, ["plugins/shop"]))
    assert {name for name in built if "shop" in name} == {
        "wp-content/plugins/shop/shop.php",
        "wp-content/plugins/shop/new.php",
    }
    assert built["wp-content/themes/leaf/style.css"] == "green"


def test_core_is_taken_without_what_is_not_core(root: Path, source: Path) -> None:
    write_files(source, {"index.php": "newer", "wp-includes/version.php": "two", "notes.txt": "theirs"})
    built = read_files(build(root, source, ["core"]))
    assert (built["index.php"], built["wp-includes/version.php"], built["notes.txt"]) == (
        "newer",
        "two",
        "ours",
    )


def test_what_the_source_deleted_is_gone(root: Path, source: Path) -> None:
    built = read_files(build(root, source, [], ["plugins/hello.php", "files/notes.txt"]))
    assert set(FILES) - set(built) == {"wp-content/plugins/hello.php", "notes.txt"}


def test_what_changes_with_every_visit_stays_productions_in_a_component_too(root: Path, source: Path) -> None:
    write_files(root / "releases" / "first", {"wp-content/plugins/shop/debug.log": "ours"})
    write_files(
        source, {"wp-content/plugins/shop/debug.log": "theirs", "wp-content/plugins/shop/x/new.log": "x"}
    )
    built = read_files(build(root, source, ["plugins/shop"]))
    assert built["wp-content/plugins/shop/debug.log"] == "ours"
    assert "wp-content/plugins/shop/x/new.log" not in built


def test_nothing_is_written_through_a_link_of_the_served_release(
    root: Path, source: Path, tmp_path: Path
) -> None:
    plugins = root / "releases" / "first" / "wp-content" / "plugins"
    plugins.rename(tmp_path / "elsewhere")
    plugins.symlink_to(tmp_path / "elsewhere")
    write_files(source, {"wp-content/plugins/shop/shop.php": "shop 2"})
    with pytest.raises(NodeError, match="behind a link") as refused:
        build(root, source, ["plugins/shop"])
    assert refused.value.code == "SCHEMA_UNSUPPORTED"
    assert (tmp_path / "elsewhere" / "shop" / "shop.php").read_text() == "shop 1"
    assert [path.name for path in (root / "releases").iterdir()] == ["first"]


def test_a_link_that_stands_where_the_release_will_be_is_not_followed(
    root: Path, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("second", ".pressluft-second"):
        (root / "releases" / name).symlink_to(tmp_path / "elsewhere")
    assert read_files(build(root, source, [])) == FILES
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (root / "releases" / "second").is_symlink()


def test_a_folder_of_releases_that_became_a_link_is_neither_written_nor_emptied(
    root: Path, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere" / "second").mkdir(parents=True)
    (root / "releases").rename(root / "aside")
    (root / "releases").symlink_to(tmp_path / "elsewhere")
    with pytest.raises((NodeError, OSError)):
        build(root, source, [])
    with pytest.raises((NodeError, OSError)):
        release.remove_folder(str(root), "second")
    assert (tmp_path / "elsewhere" / "second").is_dir()


def test_code_from_a_source_of_another_user_becomes_productions(root: Path, source: Path) -> None:
    for path, uid in ((root / "releases" / "first", 7001), (source, 7002)):
        for one in (path, *path.rglob("*")):
            os.chown(one, uid, uid, follow_symlinks=False)
    os.chown(source / "wp-content/plugins/shop/old.php", 0, 0)
    built = build(root, source, ["plugins/shop"])
    owners = {path.name: path.lstat().st_uid for path in (built / "wp-content/plugins/shop").iterdir()}
    assert owners == {"shop.php": 7001, "old.php": 0}
    assert (built / "wp-content/plugins/shop").stat().st_uid == 7001


def test_building_leaves_the_served_release_alone(root: Path, source: Path) -> None:
    inodes = {path: path.stat() for path in (root / "releases" / "first").rglob("*")}
    write_files(source, {"wp-content/plugins/shop/shop.php": "shop 2"})
    build(root, source, ["plugins/shop"])
    for path, before in inodes.items():  # a hard link would show in the change time and the count
        after = path.stat()
        assert (after.st_mtime_ns, after.st_ctime_ns, after.st_nlink) == (
            before.st_mtime_ns,
            before.st_ctime_ns,
            before.st_nlink,
        )


def test_links_to_what_no_release_owns_stay_links(root: Path, source: Path) -> None:
    assert (build(root, source, []) / "wp-content" / "uploads").readlink() == Path("../../../shared/uploads")


@pytest.mark.parametrize("name", ["files/../../../etc/passwd", "plugins/..", "core/x", "", "plugins/"])
def test_no_component_leads_out_of_the_release(root: Path, source: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no component"):
        build(root, source, [name])


def test_there_is_never_a_moment_without_a_release(root: Path, source: Path) -> None:
    build(root, source, [])
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add(str((root / "current").readlink()))  # raises when it is not there

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(200):
        release.switch_release(str(root), "second")
        release.switch_release(str(root), "first")
    stop.set()
    thread.join()
    assert seen == {"releases/first", "releases/second"}


def test_a_half_done_switch_does_not_hinder_the_next(root: Path, source: Path) -> None:
    build(root, source, [])
    (root / ".current.pressluft").symlink_to("releases/nowhere")
    release.switch_release(str(root), "second")
    assert release.read_current(str(root)) == "second"


def test_a_release_that_is_gone_is_never_switched_to(root: Path) -> None:
    with pytest.raises(NodeError):
        release.switch_release(str(root), "second")
    assert release.read_current(str(root)) == "first"


def test_the_release_that_is_served_is_never_removed(root: Path) -> None:
    release.remove_release(str(root), "first")
    assert read_files(root / "releases" / "first") == FILES


@pytest.mark.parametrize("target", ["/srv", "shared", "releases/nowhere", "releases/first/wp-content"])
def test_a_current_that_leads_elsewhere_is_refused(root: Path, target: str) -> None:
    (root / "current").unlink()
    (root / "current").symlink_to(target)
    with pytest.raises(NodeError) as refused:
        release.read_current(str(root))
    assert refused.value.code == "SCHEMA_UNSUPPORTED"


def test_a_plain_docroot_is_refused(root: Path) -> None:
    (root / "current").unlink()
    (root / "current").mkdir()
    with pytest.raises(NodeError):
        release.read_current(str(root))


def test_a_protected_link_into_another_release_is_refused(root: Path) -> None:
    uploads = root / "releases" / "first" / "wp-content" / "uploads"
    uploads.unlink()
    (root / "releases" / "zero" / "uploads").mkdir(parents=True)
    uploads.symlink_to("../../zero/uploads")
    with pytest.raises(NodeError, match="wp-content/uploads"):
        release.check_links(str(root / "current"), ["wp-content/uploads"])


def test_a_protected_link_to_other_storage_is_fine(root: Path, tmp_path: Path) -> None:
    uploads = root / "releases" / "first" / "wp-content" / "uploads"
    uploads.unlink()
    uploads.symlink_to(tmp_path)
    release.check_links(str(root / "current"), ["wp-content/uploads", "wp-content/absent"])
