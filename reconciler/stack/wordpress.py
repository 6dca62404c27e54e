"""Installing WordPress fast: installed once for real, kept as a dump, then loaded under other names."""

import hashlib
import secrets
import shutil
from pathlib import Path

from reconciler.stack.cache import fetch_cached
from reconciler.stack.command import StackError, run_command
from reconciler.stack.download import WordPress
from reconciler.stack.mariadb import Login, MariaDB

ASSETS = Path(__file__).parent / "assets"
_TEMPLATE_URL = "http://pressluft-template.invalid"
_TEMPLATE_PREFIX = "pressluft_template_"
_KEYS = tuple(
    f"{name}_{kind}" for kind in ("KEY", "SALT") for name in ("AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE")
)


# A site on its own: no calls to the outside, no work that starts with a visit, no updates by itself.
_SWITCHES = ("WP_HTTP_BLOCK_EXTERNAL", "DISABLE_WP_CRON", "AUTOMATIC_UPDATER_DISABLED")


def copy_tree(wordpress: WordPress, target: Path) -> None:
    """Copy a pristine WordPress with the demonstration theme and plugin to `target`, which must not exist."""
    run_command(["cp", "-a", "--no-preserve=ownership", "--reflink=auto", wordpress.tree, target])
    for kind in ("theme", "plugin"):
        shutil.copytree(ASSETS / kind, target / "wp-content" / f"{kind}s", dirs_exist_ok=True)
    run_command(["chmod", "-R", "u=rwX,go=rX", target / "wp-content"])


def make_config(database: Login, table_prefix: str) -> str:
    """Return a wp-config.php with fresh keys for the database named as its user; addresses stay in the options.

    It works through a link: WordPress's wp-load.php and WP-CLI both define ABSPATH before they read it, so it
    must not derive that from its own place, which is `shared` once links are resolved.
    """
    texts = {
        "DB_NAME": database.user,
        "DB_USER": database.user,
        "DB_PASSWORD": database.password,
        "DB_HOST": f"localhost:{database.socket}",
        "DB_CHARSET": "utf8mb4",
        "DB_COLLATE": "",
        **{key: secrets.token_urlsafe(48) for key in _KEYS},
    }
    return "\n".join(
        [
            "<?php",
            *(f"define( '{name}', {_quote(text)} );" for name, text in texts.items()),
            *(f"define( '{name}', true );" for name in _SWITCHES),
            f"$table_prefix = {_quote(table_prefix)};",
            "require_once ABSPATH . 'wp-settings.php';",
            "",
        ]
    )


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def make_installed_dump(mariadb: MariaDB, wordpress: WordPress, *, url: str, table_prefix: str) -> str:
    """Return SQL that makes an empty database an installed site at `url`. Installs a template the first time."""
    key = f"site-{wordpress.version}-{_hash_assets()}"
    folder = fetch_cached(key, lambda folder: _install_template(folder, mariadb, wordpress))
    dump = (folder / "dump.sql").read_text(encoding="utf-8")
    host = _TEMPLATE_URL.removeprefix("http://")
    return (
        dump.replace(_TEMPLATE_URL, url)
        .replace(host, url.removeprefix("http://"))
        .replace(_TEMPLATE_PREFIX, table_prefix)
    )


def _hash_assets() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in ASSETS.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(ASSETS)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _install_template(folder: Path, mariadb: MariaDB, wordpress: WordPress) -> None:
    database = mariadb.create_database(f"template_{secrets.token_hex(4)}")
    tree = folder / "tree"
    try:
        copy_tree(wordpress, tree)
        (tree / "wp-config.php").write_text(make_config(database, _TEMPLATE_PREFIX), encoding="utf-8")
        run_command(["php", ASSETS / "install.php", tree, _TEMPLATE_URL, "Pressluft demo"], timeout=120)
        _check_replaceable(mariadb, database.user)
        dump = ["mariadb-dump", f"--defaults-file={mariadb.client_file}", "--default-character-set=utf8mb4"]
        dump += ["--skip-comments", "--hex-blob", database.user]
        (folder / "dump.sql").write_text(run_command(dump), encoding="utf-8")
    finally:
        mariadb.drop_database(database.user)
        shutil.rmtree(tree, ignore_errors=True)


def _check_replaceable(mariadb: MariaDB, database: str) -> None:
    """Make sure that plain text replacement cannot break a length that PHP wrote into a serialized value."""
    host = _TEMPLATE_URL.removeprefix("http://")
    with mariadb.connect(database) as cursor:
        cursor.execute(
            f"SELECT option_name FROM {_TEMPLATE_PREFIX}options WHERE option_value LIKE %s"  # noqa: S608  a constant
            " AND (option_value LIKE %s OR option_value LIKE %s)",
            ("%:{%", f"%{host}%", f"%{_TEMPLATE_PREFIX}%"),
        )
        names = [row[0] for row in cursor.fetchall()]
    if names:
        raise StackError(f"the installed template has its address in serialized options: {', '.join(names)}")
