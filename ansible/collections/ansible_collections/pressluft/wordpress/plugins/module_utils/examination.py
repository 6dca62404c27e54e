"""Whether a node has what Pressluft needs, and how to get what is missing. Takes no lock and changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import clock
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import (
    connect,
    pymysql,
    run_query,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.detached import find_code
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import make_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.prepare import PROGRAM, UNIT, pack_code
from ansible_collections.pressluft.wordpress.plugins.module_utils.restic import Restic
from ansible_collections.pressluft.wordpress.plugins.module_utils.server_check import (
    REMEDY,
    is_new_enough,
    read_server,
)

OK, WARNING, MISSING = "ok", "warning", "missing"
OLDEST_PYTHON = (3, 8)
OLDEST_RESTIC = (0, 12)
LEAST_FREE_BYTES = 1 << 30
RIGHTS = (
    *("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "RELOAD", "INDEX", "ALTER"),
    *("LOCK TABLES", "CREATE VIEW", "SHOW VIEW", "TRIGGER"),
)
"""What the login needs everywhere: shadow databases are created and dropped for each promotion."""
SECONDS = 20
_ADOPT = "pressluft adopt SITE/ENV --docroot FOLDER (docs: adopt a docroot)."
_PHP = "echo PHP_VERSION, extension_loaded('mysqli') ? '' : ' without mysqli';"


def examine(call):
    """Look at everything; `environments` of the request are those on this node, as other steps are told of them."""
    environments = [make_environment(item) for item in call.request.get("environments") or ()]
    findings = [*examine_python(), examine_clock(call.job.controller_time), examine_systemd()]
    findings += [examine_space("state_dir", call.state_dir), examine_recovery(call.state_dir)]
    try:
        config = read_node_config(call.config_dir)
    except NodeError as error:
        findings.append(_miss("node.ini", error.message, error.remedy))
        return {"examination": {"findings": findings}}
    findings += [*examine_database(config, environments), *examine_restic(config)]
    findings.append(examine_wp_cli(config))
    for environment in environments:
        findings += examine_environment(environment)
    return {"examination": {"findings": findings}}


def examine_python():
    """This interpreter, and PyMySQL in it."""
    version = sys.version_info[:3]
    shown = "{0}.{1}.{2} at {3}".format(*version, sys.executable)
    if version < OLDEST_PYTHON:
        yield _miss(
            "python", shown, "Install Python 3.8 or newer and name it in the node's python_interpreter."
        )
    else:
        yield _find("python", OK, shown)
    if pymysql is None:
        yield _miss("PyMySQL", "not installed for this Python", "apt install python3-pymysql")
    else:
        yield _find("PyMySQL", OK, str(getattr(pymysql, "__version__", "installed")))


def examine_clock(controller_time):
    """How far this clock is off: over 30 s the node is refused."""
    try:
        clock.check_skew(controller_time)
    except NodeError as error:
        return _miss("clock", error.message, "timedatectl set-ntp true")
    return _find("clock", OK, "within {0} s of the controller's".format(clock.MAX_SKEW_SECONDS))


def examine_systemd():
    """Whether systemd runs here: without it a cut-over that is killed waits for the controller."""
    if os.path.isdir("/run/systemd/system"):
        return _find("systemd", OK, "runs")
    remedy = "Nothing, if this is meant: the controller finishes or reverses a cut-over that was killed."
    return _find("systemd", WARNING, "does not run here", remedy)


def examine_recovery(state_dir):
    """What finishes or reverses a half-done cut-over without the controller: there, of this version, running."""
    program, remedy = os.path.join(state_dir, PROGRAM), "pressluft node prepare NODE"
    try:
        with open(program, "rb") as stream:
            is_current = stream.read() == pack_code(find_code())
    except OSError:
        return _find("recovery", WARNING, "there is no {0}".format(program), remedy)
    if not is_current:
        return _find("recovery", WARNING, "{0} is of another version".format(program), remedy)
    if os.path.isdir("/run/systemd/system") and _ask(["systemctl", "is-active", UNIT]) is None:
        return _find("recovery", WARNING, "{0} does not run".format(UNIT), remedy)
    return _find("recovery", OK, program)


def examine_space(name, path):
    """Free room of the file system that a folder is on, or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    shown = "{0} has {1:.1f} GiB free".format(path, free / (1 << 30))
    if free >= LEAST_FREE_BYTES:
        return _find(name, OK, shown)
    return _find(name, WARNING, shown, "Make room: staging takes as much again as the site.")


def examine_database(config, environments):
    """The server, its version, our rights, and the databases of the environments."""
    try:
        connection = connect(config.mysql_defaults_file)
    except NodeError as error:
        yield _miss("database", error.message, "Install MariaDB and write the login into mysql.cnf.")
        return
    with closing(connection) as conn:
        yield judge_server(read_server(conn))
        yield judge_rights([str(row[0]) for row in run_query(conn, "SHOW GRANTS")])
        known = {row[0] for row in run_query(conn, "SHOW DATABASES")}
    for environment in environments:
        if environment.database not in known:
            remedy = "CREATE DATABASE `{0}`; a copy's may be empty.".format(environment.database)
            name = "database of {0}".format(environment.name)
            yield _miss(name, "there is no {0}".format(environment.database), remedy)


def judge_server(server):
    """MariaDB 10.6.1 and newer is needed; MySQL 8 understands our SQL but is untested."""
    if not is_new_enough(server):
        return _miss("database", server, REMEDY)
    if not server.startswith("MariaDB "):
        return _find(
            "database", WARNING, server + ": untested", "Use MariaDB, which every release is tested with."
        )
    return _find("database", OK, server)


def judge_rights(grants):
    """What the login may do everywhere; shadow databases are created and dropped for each promotion."""
    everywhere = [
        found[1] for found in (re.match(r"GRANT (.*) ON \*\.\* TO ", grant) for grant in grants) if found
    ]
    granted = {right.strip().upper() for rights in everywhere for right in rights.split(",")}
    lacking = [right for right in RIGHTS if right not in granted]
    if "ALL PRIVILEGES" in granted or not lacking:
        return _find("database rights", OK, "sufficient")
    remedy = "GRANT {0} ON *.* TO the login in mysql.cnf.".format(", ".join(lacking))
    return _miss("database rights", "the login lacks {0}".format(", ".join(lacking)), remedy)


def examine_restic(config):
    """The program, its password file, and whether the repository answers."""
    said = _ask(["restic", "version"])
    numbers = tuple(int(part) for part in re.findall(r"\d+", said or "")[:2])
    if said is None:
        yield _miss("restic", "not installed", "apt install restic")
        return
    if numbers < OLDEST_RESTIC:
        yield _find("restic", WARNING, said.split(" compiled")[0], "Install restic 0.12 or newer.")
    else:
        yield _find("restic", OK, said.split(" compiled")[0])
    try:
        mode = os.stat(config.restic_password_file).st_mode
        if mode & 0o077:
            remedy = "chmod 600 {0}".format(config.restic_password_file)
            yield _find("backup password", WARNING, "others may read the file", remedy)
        Restic(config, cache_dir=os.devnull).run(
            ["cat", "config", "--no-lock", "--no-cache"], timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        yield _miss(
            "backup storage", "no answer within {0} s".format(SECONDS), "Look at the storage and the network."
        )
    except (OSError, NodeError) as error:
        remedy = getattr(error, "remedy", "Write a long random password into it, mode 600.")
        yield _miss("backup storage", getattr(error, "message", str(error)), remedy)
    else:
        yield _find("backup storage", OK, "answers")


def examine_wp_cli(config):
    """WP-CLI where node.ini says it is."""
    if os.path.isfile(config.wp_cli):
        return _find("wp-cli", OK, config.wp_cli)
    remedy = "Install it from https://wp-cli.org at that path, or name it in node.ini: [wp] cli = ..."
    return _miss("wp-cli", "there is no {0}".format(config.wp_cli), remedy)


def examine_environment(environment):
    """An environment's folders, its room, and its PHP."""
    if not os.path.isdir(os.path.join(environment.root, "releases")):
        remedy = "Make {0}/releases and {0}/shared (docs: set up a node).".format(environment.root)
        if environment.type == "production":
            remedy = _ADOPT
        yield _miss("root of " + environment.name, "no releases/ in {0}".format(environment.root), remedy)
    elif environment.type == "production" and not os.path.islink(environment.current):
        remedy = _ADOPT
        yield _miss("root of " + environment.name, "{0} is no link".format(environment.current), remedy)
    else:
        yield examine_space("root of " + environment.name, environment.root)
    said = _ask([environment.php_cli, "-r", _PHP])
    if said is None or "without" in said:
        remedy = "Install the command-line PHP of the version that serves the site, with mysqli."
        yield _miss(
            "php of " + environment.name, said or "{0} does not run".format(environment.php_cli), remedy
        )
    else:
        yield _find("php of " + environment.name, OK, said)


def _ask(command):
    """What a program says of itself, None where there is none."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _miss(name, detail, remedy):
    return _find(name, MISSING, detail, remedy)


def _find(name, state, detail, remedy=""):
    return {"name": name, "state": state, "detail": detail, "remedy": remedy}
