"""WordPress environments in Pressluft's release layout, served by a stack."""

import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.stack.account import make_folder, write_file
from reconciler.stack.command import StackError, run_command
from reconciler.stack.content import UPLOAD_MONTH, make_content_sql, make_png, make_settings_sql
from reconciler.stack.mariadb import Login
from reconciler.stack.nginx import VirtualHost
from reconciler.stack.ports import find_free_port
from reconciler.stack.stack import Stack
from reconciler.stack.wordpress import copy_tree, make_config, make_installed_dump

FIRST_RELEASE = "initial"
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Page:
    """What a site answered: the HTTP status, the body as text and the headers with lower-case names."""

    status: int
    body: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Site:
    """One environment: a root folder in the release layout, a database with its own user, and an address."""

    stack: Stack
    name: str
    root: Path
    host: str
    port: int
    database: Login
    table_prefix: str
    cache_path: Path | None

    @property
    def url(self) -> str:
        """The address without a slash at the end, such as http://127.0.0.1:20001."""
        return f"http://{self.host}:{self.port}"

    @property
    def database_name(self) -> str:
        """The name of the database; its user has the same."""
        return self.database.user

    @property
    def current(self) -> Path:
        """The link to the release that is served; absent in an empty environment."""
        return self.root / "current"

    @property
    def uploads(self) -> Path:
        """The folder of uploads, which no release owns."""
        return self.root / "shared" / "wp-content" / "uploads"

    def fetch(self, path: str = "/", *, form: Mapping[str, str] | None = None) -> Page:
        """Ask the site for a page, or post a form to it, following redirects; any status is an answer."""
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        # A proxy of the machine's settings knows nothing of our loopback addresses.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            answer = opener.open(self.url + path, data=body, timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode("utf-8", errors="replace")
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Page(status=answer.status, body=text, headers=headers)

    def post_comment(self, post_id: int, text: str) -> None:
        """Write a comment as a visitor does, through the site's own form. Raises StackError if it is refused."""
        form = {"comment_post_ID": str(post_id), "comment": text, "author": "A visitor"}
        page = self.fetch("/wp-comments-post.php", form={**form, "email": "visitor@example.test", "url": ""})
        if page.status != 200:
            raise StackError(f"{self.url} refused the comment with {page.status}: {page.body[:300]}")

    def wp(self, *words: str, timeout: float = 120) -> str:
        """Run WP-CLI on this environment, for `timeout` seconds at most, and return its output. Raises StackError."""
        phar = self.stack.wordpress.cli
        if phar is None:
            raise StackError("there is no WP-CLI: npm could not be reached when WordPress was fetched")
        root = ["--allow-root"] if os.geteuid() == 0 else []
        return run_command(
            ["php", phar, f"--path={self.current}", "--no-color", *root, *words], timeout=timeout
        )

    def query(self, sql: str, *values: object) -> tuple[tuple[object, ...], ...]:
        """Run one statement in the site's database as its administrator; `{p}` in it stands for the prefix."""
        with self.stack.mariadb.connect(self.database_name) as cursor:
            cursor.execute(sql.replace("{p}", self.table_prefix), values)
            return tuple(cursor.fetchall())


def create_site(
    stack: Stack,
    name: str,
    *,
    host: str | None = None,
    table_prefix: str = "wp_",
    cache_path: Path | None = None,
) -> Site:
    """Create an installed site with the demonstration theme and plugin, served at its `url`.

    `name` is letters, digits and underscores; the database is called the same. Each site gets a loopback address
    of its own unless `host` names one, so that one site's address is never part of another's.
    """
    site = create_empty_site(stack, name, host=host, table_prefix=table_prefix, cache_path=cache_path)
    release = site.root / "releases" / FIRST_RELEASE
    copy_tree(stack.wordpress, release)
    (release / "wp-config.php").symlink_to("../../shared/wp-config.php")
    (release / "wp-content" / "uploads").symlink_to("../../../shared/wp-content/uploads")
    dump = make_installed_dump(stack.mariadb, stack.wordpress, url=site.url, table_prefix=table_prefix)
    settings = make_settings_sql(url=site.url, table_prefix=table_prefix)
    stack.mariadb.load_sql(site.database_name, dump + settings)
    site.current.symlink_to(f"releases/{FIRST_RELEASE}")
    stack.report(f"{name} is installed at {site.url}")
    return site


def create_empty_site(
    stack: Stack,
    name: str,
    *,
    host: str | None = None,
    table_prefix: str = "wp_",
    cache_path: Path | None = None,
) -> Site:
    """Create what a first full refresh fills in: wp-config.php, an empty database, no release yet; answers 404."""
    database = stack.mariadb.create_database(name)
    address = host or stack.take_host()
    site = Site(
        stack=stack,
        name=name,
        root=stack.sites_folder / name,
        host=address,
        port=find_free_port(address),
        database=database,
        table_prefix=table_prefix,
        cache_path=cache_path,
    )
    _make_layout(site)
    stack.nginx.serve(
        VirtualHost(
            name=name, host=address, port=site.port, document_root=site.current, cache_path=cache_path
        )
    )
    stack.report(f"{name} is served at {site.url}")
    return site


def _make_layout(site: Site) -> None:
    web = site.stack.nginx.account
    for path in (
        site.root,
        site.root / "releases",
        site.root / "shared",
        site.root / "shared" / "wp-content",
    ):
        make_folder(path)
    make_folder(site.uploads, owner=web)
    # Readable by PHP alone, since it holds the password.
    write_file(
        site.root / "shared" / "wp-config.php",
        make_config(site.database, site.table_prefix),
        owner=web,
        mode=0o600,
    )


def seed_content(site: Site, *, posts: int = 300, comments: int = 500, uploads: int = 24) -> None:
    """Fill an installed site once: posts with metadata, comments, uploaded images and one text file.

    The posts are named demo-story-1 and on; the images are uploads/2026/01/demo-0001.png and on.
    """
    sql = make_content_sql(
        url=site.url, table_prefix=site.table_prefix, posts=posts, comments=comments, uploads=uploads
    )
    site.stack.mariadb.load_sql(site.database_name, sql)
    month = site.uploads / UPLOAD_MONTH
    month.mkdir(parents=True, exist_ok=True)
    for number in range(1, uploads + 1):
        (month / f"demo-{number:04d}.png").write_bytes(make_png(number))
    (month / "price-list.txt").write_text(f"Prices of {site.url}\n", encoding="utf-8")
    web = site.stack.nginx.account
    run_command(["chown", "-R", f"{web.uid}:{web.gid}", site.uploads])
    site.stack.report(f"{site.name} has {posts} posts, {comments} comments and {uploads} images")
