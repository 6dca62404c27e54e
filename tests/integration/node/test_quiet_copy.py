"""A copy of a real WordPress sends nothing and runs nothing by itself, and copying it leaves production untouched."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.quiet import PLUGIN_PATH

from reconciler.stack.site import Site
from tests.integration.node.test_refresh_wordpress import Node
from tests.servers import Pair

MAILER = """<?php
/* Plugin Name: Sends by itself, as plugins of mail services do */
if ( ! function_exists( 'wp_mail' ) ) {
	function wp_mail( $to, $subject, $message ) {
		return mail( $to, $subject, $message );
	}
}
"""


@pytest.fixture
def node(wordpress_pair: Callable[..., Pair], node_config: Path, tmp_path: Path) -> Node:
    return Node(wordpress_pair(posts=5, comments=5, uploads=2), node_config, tmp_path)


def run_wp(site: Site, sendmail: Path, *words: str) -> str:
    """WP-CLI with a sendmail that keeps what it is given."""
    command = [
        "php",
        "-d",
        f"sendmail_path={sendmail}",
        str(site.stack.wordpress.cli),
        f"--path={site.current}",
    ]
    done = subprocess.run([*command, "--allow-root", *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def sendmail(tmp_path: Path) -> Path:
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >> {tmp_path}/mails\n")
    program.chmod(0o755)
    return program


def count_mails(sendmail: Path) -> int:
    mails = sendmail.with_name("mails")
    return mails.read_text().count("Subject:") if mails.exists() else 0


def look_at(site: Site) -> tuple[object, ...]:
    """All of production, by means that share no code with the product: files with times, tables with counters."""
    files = {}
    for path in sorted(site.root.rglob("*")):
        found = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
        files[str(path)] = (found.st_mode, found.st_uid, found.st_mtime_ns, found.st_ctime_ns, content)
    tables = site.query(
        "SELECT TABLE_NAME, AUTO_INCREMENT, CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
        " ORDER BY 1",
        site.database_name,
    )
    names = ", ".join(f"`{name}`" for name, *_ in tables)
    return files, tables, site.query(f"CHECKSUM TABLE {names} EXTENDED")


def test_a_refresh_leaves_production_as_it_was_to_the_byte_and_the_second(node: Node) -> None:
    node.production.fetch("/")
    before = look_at(node.production)
    node.refresh("full")
    node.staging.query("UPDATE {p}posts SET post_title = 'own' LIMIT 1")
    node.refresh("protected")
    after = look_at(node.production)
    for was, now in zip(before, after, strict=True):
        assert now == was


def test_a_copy_sends_no_mail_whichever_way_its_plugins_send(node: Node, sendmail: Path) -> None:
    plugin = node.production.current / "wp-content/plugins/mailer.php"
    plugin.write_text(MAILER)
    send = ["eval", "var_dump(wp_mail('a@example.test', 'hello', 'text'));"]
    run_wp(node.production, sendmail, "plugin", "activate", "mailer")
    run_wp(node.production, sendmail, *send)
    assert count_mails(sendmail) == 1  # so this would be seen
    node.refresh("full")
    assert "bool(true)" in run_wp(node.staging, sendmail, *send)
    (node.staging.current / "wp-content/plugins/mailer.php").unlink()
    assert "bool(true)" in run_wp(node.staging, sendmail, *send)
    assert count_mails(sendmail) == 1
    (node.staging.current / PLUGIN_PATH).unlink()
    run_wp(node.staging, sendmail, *send)
    assert count_mails(sendmail) == 2


def test_a_copy_whose_php_can_send_by_itself_says_so_to_its_administrator(node: Node, sendmail: Path) -> None:
    node.refresh("full")
    look = ["eval", "do_action( 'admin_notices' );"]
    assert "sendmail_path = /bin/true" in run_wp(node.staging, sendmail, *look)
    assert "sendmail_path" not in run_wp(node.staging, Path("/bin/true"), *look)
    assert "sendmail_path" not in run_wp(node.production, sendmail, *look)


@pytest.mark.parametrize("config", ["", "define( 'DISABLE_WP_CRON', false );"])
def test_a_copy_runs_no_scheduled_event_by_any_door(node: Node, sendmail: Path, config: str) -> None:
    ran = node.staging.root.parent / f"ran-{os.urandom(3).hex()}"
    (node.production.current / "wp-content/mu-plugins").mkdir(exist_ok=True)
    (node.production.current / "wp-content/mu-plugins/job.php").write_text(
        f"<?php add_action( 'the_job', function () {{ touch( '{ran}' ); }} );"
    )
    schedule = "wp_schedule_single_event( time() - 60, 'the_job' );"
    run_wp(node.production, sendmail, "eval", schedule)
    node.refresh("full")
    settings = node.staging.root / "shared" / "wp-config.php"
    text = settings.read_text().replace("define( 'DISABLE_WP_CRON', true );", "")
    settings.write_text(text.replace("<?php", f"<?php\n{config}", 1))
    run_wp(node.staging, sendmail, "eval", schedule)
    node.staging.fetch("/")
    node.staging.fetch("/wp-cron.php?doing_wp_cron")
    run_wp(node.staging, sendmail, "cron", "event", "run", "--due-now")
    assert not ran.exists()
    (node.staging.current / PLUGIN_PATH).unlink()
    run_wp(node.staging, sendmail, "cron", "event", "run", "--due-now")
    assert ran.exists()
    ran.unlink()
