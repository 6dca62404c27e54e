"""The private servers: real ones, in a folder of their own."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pymysql
import pytest

from reconciler.stack.command import StackError, run_command
from reconciler.stack.content import SHOP_OPTION, serialize_php
from reconciler.stack.mariadb import Login, MariaDB
from reconciler.stack.process import stop_leftovers
from reconciler.stack.site import create_site
from reconciler.stack.sshd import Sshd
from reconciler.stack.stack import Stack, stop_stack
from tests.servers import Pair, ignore

MakePair = Callable[..., Pair]


def test_a_database_user_reaches_its_own_database_only(mariadb: MariaDB, database: Login) -> None:
    mariadb.create_database("not_theirs")
    connection = pymysql.connect(
        unix_socket=str(database.socket), user=database.user, password=database.password
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        visible = {row[0] for row in cursor.fetchall()}
    mariadb.drop_database("not_theirs")
    assert visible == {database.user, "information_schema"}


def test_the_administrator_needs_the_password(mariadb: MariaDB) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(unix_socket=str(mariadb.admin.socket), user="root")


def test_the_credentials_file_opens_the_database_and_is_ours_alone(mariadb: MariaDB) -> None:
    answer = run_command(
        ["mariadb", f"--defaults-file={mariadb.client_file}", "-Ne", "SELECT CURRENT_USER()"]
    )
    assert answer.strip() == "root@localhost"
    assert stat.S_IMODE(mariadb.client_file.stat().st_mode) == 0o600


def test_data_survives_a_crash_of_the_server(mariadb: MariaDB, database: Login) -> None:
    mariadb.load_sql(database.user, "CREATE TABLE kept (id INT PRIMARY KEY); INSERT INTO kept VALUES (7)")
    mariadb.kill()
    mariadb.start()
    with mariadb.connect(database.user) as cursor:
        cursor.execute("SELECT id FROM kept")
        assert cursor.fetchall() == ((7,),)


def test_no_server_runs_as_root(stack: Stack) -> None:
    if os.geteuid() != 0:
        assert psutil.Process(stack.mariadb.pid).uids().effective == os.geteuid()
        return
    servers = [stack.mariadb.pid, int(stack.php_fpm.pid_file.read_text())]
    assert 0 not in {psutil.Process(pid).uids().effective for pid in servers}


def test_production_shows_its_theme_version_and_its_shop(wordpress_pair: MakePair) -> None:
    production = wordpress_pair().production
    page = production.fetch("/")
    assert page.status == 200
    assert '<span id="theme-version">1.0.0</span>' in page.body
    assert "Free delivery — this week only</a>: 20 items" in page.body


def test_a_site_is_laid_out_in_releases(wordpress_pair: MakePair) -> None:
    root = wordpress_pair().production.root
    release = root / "releases" / "initial"
    assert (root / "current").readlink() == Path("releases/initial")
    assert (release / "wp-config.php").readlink() == Path("../../shared/wp-config.php")
    assert (release / "wp-content" / "uploads").readlink() == Path("../../../shared/wp-content/uploads")
    assert (release / "wp-content" / "uploads").resolve() == (root / "shared/wp-content/uploads").resolve()


def test_wp_cli_finds_the_configuration_through_the_links(wordpress_pair: MakePair) -> None:
    production = wordpress_pair().production
    production.wp("core", "is-installed")
    assert production.wp("option", "get", "siteurl").strip() == production.url


def test_an_empty_environment_has_a_database_without_tables_and_answers_404(wordpress_pair: MakePair) -> None:
    staging = wordpress_pair().staging
    assert staging.fetch("/").status == 404
    assert staging.query("SHOW TABLES") == ()
    assert not staging.current.exists()


def test_seeded_content_hides_the_address_in_every_kind_of_value(wordpress_pair: MakePair) -> None:
    production = wordpress_pair(posts=10, comments=12, uploads=3).production
    values = production.query("SELECT meta_value FROM {p}postmeta WHERE meta_key LIKE %s", "\\_demo%")
    gallery = serialize_php({"title": "Story 1", "url": f"{production.url}/?demo-story=1"})
    escaped = production.url.replace("/", "\\/")
    assert (gallery,) in values
    assert any(str(value).startswith(f'{{"image":"{escaped}') for (value,) in values)
    assert production.query("SELECT COUNT(*) FROM {p}comments WHERE comment_agent = 'demo'") == ((12,),)
    picture = production.fetch("/wp-content/uploads/2026/01/demo-0003.png")
    assert picture.headers["content-type"] == "image/png"


def test_php_reads_what_we_serialized(wordpress_pair: MakePair) -> None:
    production = wordpress_pair().production
    layout = production.wp("option", "pluck", SHOP_OPTION, "layout").strip()
    escaped = production.url.replace("/", "\\/")
    assert layout == f'{{"logo": "{escaped}\\/logo.png"}}'


def test_a_visitor_can_comment(wordpress_pair: MakePair) -> None:
    production = wordpress_pair().production
    production.post_comment(1, "First!")
    production.post_comment(1, "Second!")
    newest = production.query("SELECT comment_content FROM {p}comments ORDER BY comment_ID DESC LIMIT 2")
    assert newest == (("Second!",), ("First!",))


def test_a_site_lives_under_another_prefix_and_behind_a_page_cache(stack: Stack, server_folder: Path) -> None:
    site = create_site(stack, "prefixed", table_prefix="xy_", cache_path=server_folder / "cache")
    try:
        first, second = site.fetch("/"), site.fetch("/")
        tables = {str(row[0]) for row in site.query("SHOW TABLES")}
    finally:
        stack.forget("prefixed")
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert "xy_demo_shop_items" in tables
    assert {name for name in tables if not name.startswith("xy_")} == set()


def test_php_goes_on_after_a_reload(wordpress_pair: MakePair, stack: Stack) -> None:
    production = wordpress_pair().production
    stack.php_fpm.reload()
    assert production.fetch("/").status == 200


def test_sshd_lets_the_key_in_and_nobody_else(sshd: Sshd, tmp_path: Path) -> None:
    assert run_command(["ssh", *sshd.ssh_options, f"{sshd.user}@{sshd.host}", "echo", "in"]) == "in\n"
    stranger = tmp_path / "key"
    run_command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger])
    options = [word.replace(str(sshd.client_key), str(stranger)) for word in sshd.ssh_options]
    with pytest.raises(StackError, match="Permission denied"):
        run_command(["ssh", *options, f"{sshd.user}@{sshd.host}", "true"])


def test_git_clones_over_the_private_sshd(sshd: Sshd, tmp_path: Path) -> None:
    run_command(["git", "init", "--quiet", "--bare", tmp_path / "fleet.git"])
    environment = {**os.environ, "GIT_SSH_COMMAND": sshd.git_ssh_command}
    address = sshd.make_git_url(tmp_path / "fleet.git")
    run_command(["git", "clone", "--quiet", address, tmp_path / "clone"], env=environment)
    assert (tmp_path / "clone" / ".git").is_dir()


_START_AND_WAIT = """
import sys
from pathlib import Path
from reconciler.stack.mariadb import MariaDB
from reconciler.stack.process import Lifetime
server = MariaDB(Path(sys.argv[1]), report=lambda line: None, lifetime=Lifetime(sys.argv[2]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def _start_and_kill_the_starter(folder: Path, lifetime: str) -> psutil.Process:
    starter = subprocess.Popen(
        [sys.executable, "-c", _START_AND_WAIT, str(folder), lifetime],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with starter:
        assert starter.stdout is not None
        server = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(signal.SIGKILL)
    return server


def test_a_server_ends_when_its_starter_is_killed(server_folder: Path) -> None:
    server = _start_and_kill_the_starter(server_folder / "db", "caller")
    psutil.wait_procs([server], timeout=20)
    assert not server.is_running()


def test_a_kept_server_goes_on_until_it_is_stopped(server_folder: Path) -> None:
    server = _start_and_kill_the_starter(server_folder / "db", "kept")
    assert server.is_running()
    assert stop_stack(server_folder) == ["mariadb"]
    assert not server.is_running()


def test_a_recorded_id_that_is_somebody_else_now_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "mariadb.process.json"
    record.write_text(f'{{"pid": {os.getpid()}, "started": 1.0}}')
    assert stop_leftovers(tmp_path) == []
    assert not record.exists()


def test_a_new_stack_takes_over_the_folder_of_a_killed_one(server_folder: Path) -> None:
    folder = server_folder / "stack"
    with Stack(folder, report=ignore):
        pass
    leftover = _start_and_kill_the_starter(folder / "mariadb", "kept")
    with Stack(folder, report=ignore) as stack, stack.mariadb.connect() as cursor:
        cursor.execute("SELECT 1")
    assert not leftover.is_running()


def test_two_stacks_cannot_share_a_folder(stack: Stack) -> None:
    with pytest.raises(StackError, match="another run uses"), Stack(stack.folder, report=ignore):
        pass


def test_a_stack_refuses_a_folder_with_files_of_somebody_else(server_folder: Path) -> None:
    (server_folder / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(StackError, match="holds files that no stack made"),
        Stack(server_folder, report=ignore),
    ):
        pass
    assert (server_folder / "thesis.txt").exists()
