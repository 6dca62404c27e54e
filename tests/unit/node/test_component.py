"""Which component a file belongs to, and what changes a component."""

import os
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import (
    find_component,
    find_component_paths,
    measure_components,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    make_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection

PROTECTION = make_protection(
    {
        "protected_paths": ["wp-content/uploads", "wp-content/plugins/forms/data"],
        "preserved_files": ["wp-config.php"],
        "volatile_files": ["wp-content/cache", "*.log"],
    }
)


@pytest.mark.parametrize(
    ("path", "component"),
    [
        ("index.php", "core"),
        ("xmlrpc.php", "core"),
        ("wp-admin/css/a.css", "core"),
        ("wp-includes/version.php", "core"),
        ("wp-content/plugins/shop/inc/a.php", "plugins/shop"),
        ("wp-content/plugins/hello.php", "plugins/hello.php"),
        ("wp-content/themes/leaf/style.css", "themes/leaf"),
        ("wp-content/mu-plugins/must/a.php", "mu-plugins/must"),
        ("wp-content/languages/de.mo", "files/wp-content/languages/de.mo"),
        ("wp-content/db.php", "files/wp-content/db.php"),
        (".htaccess", "files/.htaccess"),
        ("my-admin/index.php", "files/my-admin/index.php"),
        ("sub/wp-includes/a.php", "files/sub/wp-includes/a.php"),
    ],
)
def test_every_file_belongs_to_one_component(path: str, component: str) -> None:
    assert find_component(path) == component
    paths = find_component_paths(component)
    assert any(path == top or path.startswith(f"{top}/") for top in paths)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "plugins",
        "plugins/",
        "plugins/..",
        "plugins/a/b",
        "themes/../../x",
        "files/../x",
        "files//etc/passwd",
        "files/./x",
        "files/index.php",
        "files/wp-content/plugins/shop/a.php",
        "uploads/2024",
    ],
)
def test_a_name_that_is_no_component_leads_nowhere(name: str) -> None:
    with pytest.raises(ValueError, match="no component"):
        find_component_paths(name)


@pytest.fixture
def site(tmp_path: Path) -> Environment:
    return make_site(tmp_path / "site")


def make_site(root: Path) -> Environment:
    release = root / "releases" / "first"
    for name in ("index.php", "wp-content/plugins/shop/shop.php", "wp-content/plugins/shop/inc/a.php"):
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).write_text(f"<?php // {name}")
    (root / "current").symlink_to("releases/first")
    return make_environment(
        {
            "id": "e",
            "name": "shop",
            "type": "staging",
            "url": "https://shop.test",
            "root": str(root),
            "database": {"name": "shop", "table_prefix": "wp_"},
        }
    )


def measure(site: Environment) -> dict[str, str | None]:
    return {name: found.digest for name, found in measure_components(site, PROTECTION).items()}


def test_equal_code_has_equal_digests_wherever_it_lies(site: Environment, tmp_path: Path) -> None:
    other = make_site(tmp_path / "other")
    shop = Path(other.current) / "wp-content/plugins/shop"
    os.chown(shop / "shop.php", 12, 34)
    (shop / "shop.php").chmod(0o600)
    shop.chmod(0o700)
    os.utime(shop / "shop.php", (1, 1))
    assert measure(other) == measure(site)


@pytest.mark.parametrize("change", ["content", "new", "gone", "moved", "executable", "link"])
def test_a_change_of_one_component_changes_it_alone(site: Environment, change: str) -> None:
    before = measure(site)
    shop = Path(site.current) / "wp-content/plugins/shop"
    file = shop / "shop.php"
    if change == "content":
        file.write_text(file.read_text().upper())
    elif change == "new":
        (shop / "new").touch()
    elif change == "gone":
        file.unlink()
    elif change == "moved":
        file.rename(shop / "inc" / "shop.php")
    elif change == "executable":
        file.chmod(0o755)
    else:
        content = file.read_text()
        file.unlink()
        (shop.parent.parent / "real.log").write_text(content)
        file.symlink_to("../../real.log")
    after = measure(site)
    assert after["plugins/shop"] != before["plugins/shop"]
    assert after["core"] == before["core"]


def test_protected_preserved_and_volatile_files_are_no_code(site: Environment) -> None:
    before = measure(site)
    for name in (
        "wp-config.php",
        "wp-content/uploads/a.png",
        "wp-content/cache/page",
        "wp-content/debug.log",
        "wp-content/plugins/shop/inc/x.log",
        "wp-content/plugins/forms/data/entry.txt",
    ):
        path = Path(site.current) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert measure(site) == before


def test_a_pipe_in_a_plugin_changes_it_and_hangs_nothing(site: Environment) -> None:
    before = measure(site)
    os.mkfifo(Path(site.current) / "wp-content/plugins/shop/pipe")
    assert measure(site)["plugins/shop"] != before["plugins/shop"]


def test_a_release_that_is_gone_is_an_error_and_not_a_release_without_code(site: Environment) -> None:
    Path(site.current).unlink()
    with pytest.raises(NodeError, match="cannot read the release") as caught:
        measure(site)
    assert caught.value.code == "DRIFT_CHECK_FAILED"
