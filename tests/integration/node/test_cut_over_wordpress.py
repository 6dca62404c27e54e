"""Promotions on real WordPress behind nginx and PHP-FPM, while visitors come and go."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    make_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import check_health
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

from reconciler.stack.site import Site, create_site, seed_content
from reconciler.stack.stack import Stack
from schemas.preset import (
    PRESERVED_FILES,
    PRESERVED_OPTIONS,
    PRESETS,
    VOLATILE_FILES,
    VOLATILE_OPTIONS,
)
from schemas.state import Preset
from tests.integration.node.observed_pair import Pair
from tests.integration.node.plain_site import Promotion

THEME = Path("wp-content/themes/pressluft-demo")
PROTECTED_TABLES = ("posts", "postmeta", "comments", "commentmeta", "users", "usermeta", "terms")
CONTENT = PRESETS[Preset.CONTENT_PROTECT]
PROTECTION = {
    "protected_tables": list(CONTENT.protected_tables),
    "protected_paths": list(CONTENT.protected_paths),
    "preserved_tables": list(CONTENT.preserved_tables),
    "preserved_options": list(PRESERVED_OPTIONS),
    "preserved_files": list(PRESERVED_FILES),
    "volatile_options": list(VOLATILE_OPTIONS),
    "volatile_files": list(VOLATILE_FILES),
}


class Sites:
    """Two real sites and the promotion between them."""

    def __init__(self, stack: Stack, production: Site, staging: Site, promotion: Promotion) -> None:
        self.stack, self.production, self.staging, self.promotion = stack, production, staging, promotion

    def edit_theme(self, old: str, new: str, *, file: str = "style.css") -> None:
        path = self.staging.current / THEME / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def find_php_workers(self) -> set[int]:
        master = psutil.Process(int(self.stack.php_fpm.pid_file.read_text()))
        return {child.pid for child in master.children()}

    def checksums(self) -> dict[str, object]:
        """MariaDB's own checksum of what must not change."""
        return {name: self.production.query(f"CHECKSUM TABLE {{p}}{name}")[0][1] for name in PROTECTED_TABLES}


@pytest.fixture
def sites(stack: Stack, node_config: Path, tmp_path: Path) -> Iterator[Sites]:
    label = os.urandom(3).hex()
    production = create_site(stack, f"prod_{label}", cache_path=stack.sites_folder / f"cache_{label}")
    seed_content(production, posts=20, comments=30, uploads=3)
    staging = create_site(stack, f"stag_{label}", table_prefix="stg_")
    with stack.mariadb.connect() as admin:
        state_dir = tmp_path / "state"
        state_dir.mkdir(mode=0o700)
        pair = Pair(
            describe(stack, production, "production"),
            describe(stack, staging, "staging"),
            admin,
            str(node_config / "mysql.cnf"),
            str(state_dir),
        )
        pair.take_baseline(PROTECTION)
        promotion = Promotion(pair, pair.production, str(node_config), str(uuid4()), protection=PROTECTION)
        yield Sites(stack, production, staging, promotion)
        for name in promotion.own_databases():
            stack.mariadb.drop_database(name)
    for name in (production.name, staging.name):
        stack.forget(name)


def describe(stack: Stack, site: Site, kind: str) -> Environment:
    return make_environment(
        {
            "id": str(uuid4()),
            "name": kind,
            "type": kind,
            "url": site.url,
            "root": str(site.root),
            "database": {"name": site.database_name, "table_prefix": site.table_prefix},
            "php": {"fpm_service": str(stack.php_fpm.pid_file), "cli": "php"},
            "web_server": {"cache_path": str(site.cache_path or "")},
            "health": {"urls": [site.url + "/"], "body_contains": "theme-version", "stable_for": 1},
        }
    )


@contextmanager
def visit_all_the_time(site: Site) -> Iterator[list[tuple[float, int, str]]]:
    """Ask for pages without a pause; yields what was answered: seconds, status, the theme's version."""
    answers: list[tuple[float, int, str]] = []
    stop = threading.Event()

    def visit() -> None:
        while not stop.is_set():
            began = time.monotonic()
            page = site.fetch(f"/?visit={len(answers)}")
            version = page.body.partition('theme-version">')[2].partition("<")[0]
            answers.append((time.monotonic() - began, page.status, version))

    thread = threading.Thread(target=visit)
    thread.start()
    yield answers
    stop.set()
    thread.join()


def test_visitors_see_the_new_release_and_never_an_error(sites: Sites) -> None:
    before = sites.checksums()
    sites.edit_theme("Version: 1.0.0", "Version: 2.0.0")
    sites.staging.query("UPDATE {p}options SET option_value = 'Spring' WHERE option_name = 'blogdescription'")
    sites.production.fetch("/")  # now the page cache holds an old page
    sites.promotion.stage()
    workers = sites.find_php_workers()
    with visit_all_the_time(sites.production) as answers:
        result = sites.promotion.cut_over()
    assert not workers & sites.find_php_workers()  # or the old code would stay in their OPcache
    assert {status for _, status, _ in answers} == {200}
    versions = [version for _, _, version in answers]
    assert versions == sorted(versions)  # never back to the old one
    assert set(versions) == {"1.0.0", "2.0.0"}
    assert (
        max(seconds for seconds, _, _ in answers) < 20
    )  # `make bench` measures; nobody waits for a time-out
    assert result["health"]["healthy"] is True
    assert [check["name"] for check in result["health"]["checks"]] == [
        "database",
        f"http {sites.production.url}/",
        "wordpress",
    ]
    assert '<span id="theme-version">2.0.0</span>' in sites.production.fetch("/").body  # not the cached one
    assert sites.production.wp("option", "get", "blogdescription").strip() == "Spring"
    assert sites.checksums() == before


def test_a_theme_that_breaks_php_never_stays(sites: Sites) -> None:
    before = sites.promotion.tables()
    sites.edit_theme("defined( 'ABSPATH' ) || exit;", "call_of_nobody();", file="functions.php")
    sites.staging.query("UPDATE {p}options SET option_value = 'Spring' WHERE option_name = 'blogdescription'")
    sites.promotion.stage()
    with pytest.raises(NodeError) as failed:
        sites.promotion.cut_over()
    assert failed.value.code == "HEALTH_CHECK_FAILED"
    page = sites.production.fetch("/")
    assert (page.status, '<span id="theme-version">1.0.0</span>' in page.body) == (200, True)
    after = sites.promotion.tables()
    assert {name for name in after if after[name] != before[name]} <= {"wp_options"}  # WordPress's own cron
    assert sites.production.wp("option", "get", "blogdescription").strip() != "Spring"


def test_a_page_that_names_the_source_is_not_healthy(sites: Sites) -> None:
    sites.edit_theme("<footer>", f"<footer><a href='{sites.staging.url}/about'>about</a>", file="footer.php")
    sites.promotion.stage()
    with pytest.raises(NodeError, match="names the source"):
        sites.promotion.cut_over()
    assert sites.staging.host not in sites.production.fetch("/").body


def test_a_site_without_its_database_user_is_not_healthy(sites: Sites) -> None:
    config = sites.production.root / "shared" / "wp-config.php"
    config.write_text(config.read_text().replace("DB_PASSWORD', '", "DB_PASSWORD', 'x"))
    environment = sites.promotion.production
    with sites.stack.mariadb.connect() as cursor:
        health = check_health(cursor.connection, environment, wp_cli=str(sites.stack.wordpress.cli))
    failed = {check["name"] for check in health["checks"] if not check["ok"]}
    assert failed == {f"http {sites.production.url}/", "wordpress"}
