"""A staged release is asked for its pages before it goes live, by code that can change nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.preflight import make_account

from tests.integration.node import test_cut_over_wordpress
from tests.integration.node.test_cut_over_wordpress import Sites

sites = test_cut_over_wordpress.sites


@pytest.fixture
def asked(sites: Sites) -> Iterator[Sites]:
    """Sites on a node that knows where PHP-FPM listens."""
    set_listen(sites, str(sites.stack.php_fpm.socket))
    yield sites
    assert count_accounts(sites) == 0


def set_listen(sites: Sites, listen: str) -> None:
    ini = Path(sites.promotion.config_dir, "node.ini")
    ini.write_text(ini.read_text() + f"[fastcgi]\nlisten = {listen}\n")


def count_accounts(sites: Sites) -> int:
    sites.promotion.admin.execute(
        "SELECT COUNT(*) FROM mysql.user WHERE User = %s", (make_account(sites.promotion.production),)
    )
    return int(sites.promotion.admin.fetchone()[0])


def find_views(sites: Sites) -> int:
    sites.promotion.admin.execute(
        "SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA LIKE %s",
        (f"{sites.promotion.production.database}\\_\\_pressluft%",),
    )
    return int(sites.promotion.admin.fetchone()[0])


def refuse(sites: Sites) -> NodeError:
    """Stage what must not go live, and see that nothing of it is left."""
    before, code = sites.checksums(), sites.promotion.code()
    with pytest.raises(NodeError) as refused:
        sites.promotion.stage()
    promotion = sites.promotion
    assert (promotion.own_databases(), promotion.releases()) == (set(), {promotion.release()})
    assert (sites.checksums(), promotion.code()) == (before, code)
    assert promotion.read_state()["status"] == "active"
    assert ">1.0.0<" in sites.production.fetch("/").body
    return refused.value


def test_a_theme_that_breaks_php_is_refused_before_it_is_ever_live(asked: Sites) -> None:
    asked.edit_theme("defined( 'ABSPATH' ) || exit;", "call_of_nobody();", file="functions.php")
    refused = refuse(asked)
    assert refused.code == "HEALTH_CHECK_FAILED"
    assert "Nothing live was changed" in refused.remedy


def test_a_page_that_would_name_the_source_is_refused_too(asked: Sites) -> None:
    asked.edit_theme("<footer>", f"<footer><a href='{asked.staging.url}/about'>about</a>", file="footer.php")
    assert "names the source" in refuse(asked).message


def test_a_sound_release_is_asked_with_its_own_options_and_leaves_nothing_behind(asked: Sites) -> None:
    asked.edit_theme("Version: 1.0.0", "Version: 2.0.0")
    asked.staging.query("UPDATE {p}options SET option_value = 'Spring' WHERE option_name = 'blogdescription'")
    staged = asked.promotion.stage()
    assert staged["preflight"] == {"asked": [asked.production.url + "/"], "skipped": []}
    assert (find_views(asked), count_accounts(asked)) == (0, 0)
    assert {path.name for path in (asked.production.root / "releases").iterdir()} == {
        "initial",
        asked.promotion.job_id,
    }
    asked.promotion.cut_over()
    assert ">2.0.0<" in asked.production.fetch("/").body


def test_code_that_writes_when_it_is_asked_changes_neither_production_nor_what_was_staged(
    asked: Sites,
) -> None:
    before = asked.checksums()
    asked.edit_theme(
        "defined( 'ABSPATH' ) || exit;",
        "defined( 'ABSPATH' ) || exit; global $wpdb;"
        " if ( 'pressluft-preflight' === ( $_SERVER['HTTP_USER_AGENT'] ?? '' ) ) {"
        " $wpdb->suppress_errors();"
        " $wpdb->query( \"UPDATE $wpdb->posts SET post_title = 'overwritten'\" );"
        " $wpdb->query( \"UPDATE $wpdb->options SET option_value = 'x' WHERE option_name = 'blogdescription'\" );"
        " }",
        file="functions.php",
    )
    asked.staging.query("UPDATE {p}options SET option_value = 'Spring' WHERE option_name = 'blogdescription'")
    assert asked.promotion.stage()["preflight"]["asked"]
    assert asked.checksums() == before
    asked.promotion.cut_over()
    assert asked.promotion.option("blogdescription") == "Spring"


def test_a_site_that_cannot_be_asked_this_way_is_not_held_up(asked: Sites) -> None:
    config = asked.production.root / "shared" / "wp-config.php"
    config.write_text(config.read_text().replace("<?php", "<?php if (defined('DB_NAME')) exit(1);", 1))
    asked.edit_theme("Version: 1.0.0", "Version: 2.0.0")
    [skipped] = asked.promotion.stage()["preflight"]["skipped"]
    assert "cannot be asked this way either" in skipped
    asked.promotion.cut_over()


@pytest.mark.parametrize("prepare", ["no listen", "a login without the right"])
def test_without_the_means_nothing_is_asked_and_that_is_said(sites: Sites, prepare: str) -> None:
    if prepare != "no listen":
        set_listen(sites, str(sites.stack.php_fpm.socket))
        limit_login(sites)
    sites.edit_theme("Version: 1.0.0", "Version: 2.0.0")
    preflight: dict[str, Any] = sites.promotion.stage()["preflight"]
    assert preflight["asked"] == []
    [skipped] = preflight["skipped"]
    assert ("fastcgi" if prepare == "no listen" else "may not create a reading account") in skipped


def limit_login(sites: Sites) -> None:
    """Give the node a login that may do all but make accounts."""
    admin, name = sites.promotion.admin, f"node_{sites.promotion.job_id[:8]}"
    admin.execute(f"CREATE USER {name}@localhost IDENTIFIED BY 'node'")
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, RELOAD, PROCESS"
    rights += ", LOCK TABLES, TRIGGER, CREATE VIEW, SHOW VIEW"
    admin.execute(f"GRANT {rights} ON *.* TO {name}@localhost")
    login = Path(sites.promotion.config_dir, "mysql.cnf")
    socket = sites.stack.mariadb.admin.socket
    login.write_text(f"[client]\nuser = {name}\npassword = node\nsocket = {socket}\nhost = localhost\n")
