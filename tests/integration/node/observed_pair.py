"""A production and its copy, small enough to be made for every test: tables, options, code and uploads."""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import (
    make_baseline,
    write_baseline,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect, open_snapshot
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    make_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.localise import ROWS_KEPT
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import measure_side
from ansible_collections.pressluft.wordpress.plugins.module_utils.observation import observe
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection

from reconciler.stack.mariadb import MariaDB

PROTECTION = {
    "protected_tables": ["posts", "postmeta", "wc_orders"],
    "protected_paths": ["wp-content/uploads"],
    "preserved_tables": ["users", "actionscheduler_*"],
    "preserved_options": ["siteurl", "home", "*user_roles", "*db_version", "_transient_*"],
    "preserved_files": ["wp-config.php", "robots.txt"],
    "volatile_options": ["_transient_*", "*.lock"],
    "volatile_files": ["wp-content/cache", "*.log", ".maintenance"],
}
JOB = "11111111-1111-4111-8111-111111111111"
IDS = {
    "production": "22222222-2222-4222-8222-222222222222",
    "staging": "33333333-3333-4333-8333-333333333333",
}
URLS = {"production": "https://shop.test", "staging": "https://staging.shop.test"}
FILES = {
    "index.php": "<?php // core",
    "wp-includes/version.php": "<?php\n$wp_version = '7.1';\n$wp_db_version = 60717;\n",
    "wp-content/index.php": "<?php",
    "wp-content/plugins/shop/shop.php": "<?php /* shop 1.0 */",
    "wp-content/plugins/hello.php": "<?php /* hello */",
    "wp-content/themes/leaf/style.css": "body {}",
    "wp-content/mu-plugins/must.php": "<?php",
    ".htaccess": "# nothing",
}
TABLES = """
CREATE TABLE {p}options (option_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, option_name VARCHAR(191) NOT NULL UNIQUE,
    option_value LONGTEXT NOT NULL, autoload VARCHAR(20) NOT NULL DEFAULT 'yes') COLLATE utf8mb4_unicode_520_ci;
CREATE TABLE {p}posts (ID BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, post_title TEXT, guid VARCHAR(255));
CREATE TABLE {p}users (ID BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, user_login VARCHAR(60));
CREATE TABLE {p}slides (id INT AUTO_INCREMENT PRIMARY KEY, image TEXT, width INT);
CREATE TABLE {p}notes (note TEXT);
INSERT INTO {p}options (option_name, option_value) VALUES ('siteurl', '{url}'), ('home', '{url}'), ('blogname', 'Shop'),
    ('logo', '{url}/logo.png'), ('db_version', '60717'), ('_transient_x', '{p}');
INSERT INTO {p}posts (post_title, guid) VALUES ('One', 'https://shop.test/?p=1'), ('Two', 'https://shop.test/?p=2');
INSERT INTO {p}users (user_login) VALUES ('ann');
INSERT INTO {p}slides (image, width) VALUES ('{url}/a.png', 10);
INSERT INTO {p}notes VALUES ('first')
"""


@dataclass
class Pair:
    """Both environments, an administrator's cursor, and the node's own folder."""

    production: Environment
    staging: Environment
    admin: Any
    defaults_file: str
    state_dir: str

    def sql(self, *statements: str) -> None:
        """Run statements; `P.` and `S.` before a table's name stand for production's and staging's."""
        for statement in statements:
            said = statement.replace("P.", f"{self.production.database}.wp_")
            self.admin.execute(said.replace("S.", f"{self.staging.database}.stg_"))

    def take_baseline(self, protection: dict[str, list[str]] = PROTECTION) -> None:
        """Take the baseline of both sides as they are, as a full refresh does."""
        rules = make_protection(protection)
        with closing(connect(self.defaults_file)) as connection:
            open_snapshot(connection)
            ours, theirs = (
                measure_side(connection, side, rules, rows_kept=ROWS_KEPT)
                for side in (self.production, self.staging)
            )
        baseline = make_baseline(
            job_id=JOB,
            production_id=self.production.id,
            source_id=self.staging.id,
            production=ours.measures,
            source=theirs.measures,
        )
        write_baseline(self.state_dir, self.staging.id, baseline, production=ours.measures)

    def observe(self, protection: dict[str, list[str]] = PROTECTION) -> dict[str, Any]:
        """Observe both sides."""
        return observe(
            self.production,
            self.staging,
            make_protection(protection),
            defaults_file=self.defaults_file,
            state_dir=self.state_dir,
        )

    def find(self, name: str) -> dict[str, Any]:
        """Observe, and return the resource of that name."""
        return find(self.observe(), name)

    def path(self, side: str, name: str) -> Path:
        """A file below the `current` of one side."""
        environment = self.production if side == "production" else self.staging
        return Path(environment.current) / name


def make_pair(mariadb: MariaDB, admin: Any, folder: Path, databases: dict[str, str]) -> Pair:
    """Make both sites: same content, other addresses, prefixes and folders."""
    sides = {
        side: make_environment(
            {
                "id": IDS[side],
                "name": side,
                "type": side,
                "url": URLS[side],
                "root": str(folder / side),
                "database": {"name": databases[side], "table_prefix": prefix},
            }
        )
        for side, prefix in (("production", "wp_"), ("staging", "stg_"))
    }
    for side, environment in sides.items():
        _make_folders(folder / side)
        admin.execute(f"USE {environment.database}")
        for statement in TABLES.format(p=environment.table_prefix, url=URLS[side]).split(";\n"):
            admin.execute(statement)
    (folder / "state").mkdir(mode=0o700)
    return Pair(sides["production"], sides["staging"], admin, str(mariadb.client_file), str(folder / "state"))


def find(observation: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the one resource of that name."""
    [resource] = [found for found in observation["resources"] if found["name"] == name]
    return dict(resource)


def find_differing(observation: dict[str, Any]) -> set[str]:
    """Return the names of the resources that are not as in the baseline, on either side."""
    return {
        found["name"]
        for found in observation["resources"]
        if found["unreadable"]
        or found["production"] != found["production_baseline"]
        or found["source"] != found["source_baseline"]
    }


def _make_folders(root: Path) -> None:
    release = root / "releases" / "first"
    for name, content in FILES.items():
        path = release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    uploads = root / "shared" / "wp-content" / "uploads"
    (uploads / "2024").mkdir(parents=True)
    (uploads / "2024" / "a.png").write_bytes(b"picture")
    (release / "wp-content" / "uploads").symlink_to("../../../shared/wp-content/uploads")
    (root / "shared" / "wp-config.php").write_text("<?php // of this place alone")
    (release / "wp-config.php").symlink_to("../../shared/wp-config.php")
    (root / "current").symlink_to("releases/first")


def remove_code(pair: Pair, side: str, name: str) -> None:
    """Remove a file or folder of the code."""
    path = pair.path(side, name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
