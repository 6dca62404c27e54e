"""WordPress and WP-CLI, from npm's registry, or WordPress alone from Debian when npm has nothing to give."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from reconciler.stack.cache import fetch_cached, find_cache_folder
from reconciler.stack.command import Report, StackError, run_command

_NPM_PACKAGE = "wp-studio@1.22.0"
_NPM_KEY = "wordpress-wp-studio-1.22.0"
_APT_KEY = "wordpress-debian"
_IN_PACKAGE = "package/dist/cli/wp-files"
# The checksum that the WP-CLI project publishes for the phar of 2.12.0.
_WP_CLI_SHA512 = (
    "be928f6b8ca1e8dfb9d2f4b75a13aa4aee0896f8a9a0a1c45cd5d2c98605e617"
    "2e6d014dda2e27f88c98befc16c040cbb2bd1bfa121510ea5cdf5f6a30fe8832"
)
# The second line is what Debian's WordPress links to instead of shipping its own copy.
_DEBIAN_PACKAGES = (
    *("wordpress", "wordpress-theme-twentytwentythree"),
    *("libjs-cropper", "libjs-prototype", "libjs-scriptaculous", "libjs-underscore", "php-getid3"),
)


@dataclass(frozen=True)
class WordPress:
    """A pristine WordPress tree to copy from, and the WP-CLI phar, which Debian does not have (then None)."""

    tree: Path
    cli: Path | None

    @property
    def version(self) -> str:
        """The version WordPress says it is, such as 6.8.1."""
        for line in (self.tree / "wp-includes" / "version.php").read_text(encoding="utf-8").splitlines():
            if line.startswith("$wp_version"):
                return line.split("'")[1]
        raise StackError(f"{self.tree} holds no WordPress; delete it and run `make packages`")


def find_wordpress() -> WordPress | None:
    """Return the WordPress that was fetched before, the one with WP-CLI first, or None. Asks no network."""
    cache = find_cache_folder()
    if (cache / _NPM_KEY).is_dir():
        return WordPress(tree=cache / _NPM_KEY / "wordpress", cli=cache / _NPM_KEY / "wp-cli.phar")
    if (cache / _APT_KEY).is_dir():
        return WordPress(tree=cache / _APT_KEY / "wordpress", cli=None)
    return None


def fetch_wordpress(report: Report) -> WordPress:
    """Return WordPress with WP-CLI, downloaded if need be, else Debian's; raise StackError if neither is there."""
    found = find_wordpress()
    if found is not None and found.cli is not None:
        return found
    report(f"fetching WordPress and WP-CLI ({_NPM_PACKAGE}, 67 MB)")
    try:
        folder = fetch_cached(_NPM_KEY, _download_from_npm)
    except StackError as error:
        report(f"npm: {error}")
        report("falling back to Debian's WordPress, without WP-CLI")
        return found or WordPress(tree=fetch_cached(_APT_KEY, _download_from_debian) / "wordpress", cli=None)
    return WordPress(tree=folder / "wordpress", cli=folder / "wp-cli.phar")


def _download_from_npm(folder: Path) -> None:
    # npm would otherwise try for minutes before Debian gets its turn.
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=2000"]
    run_command(["npm", "pack", _NPM_PACKAGE, "--loglevel=error", *patience], cwd=folder, timeout=900)
    archive = next(folder.glob("*.tgz"))
    wanted = [f"{_IN_PACKAGE}/latest/wordpress", f"{_IN_PACKAGE}/wp-cli/wp-cli.phar"]
    run_command(["tar", "-xzf", archive, "-C", folder, "--no-same-owner", *wanted], timeout=300)
    files = folder / _IN_PACKAGE
    _check_wp_cli(files / "wp-cli" / "wp-cli.phar")
    (files / "latest" / "wordpress").rename(folder / "wordpress")
    (files / "wp-cli" / "wp-cli.phar").rename(folder / "wp-cli.phar")
    shutil.rmtree(folder / "package")
    archive.unlink()
    _make_readable(folder)


def _check_wp_cli(phar: Path) -> None:
    with phar.open("rb") as file:
        found = hashlib.file_digest(file, "sha512").hexdigest()
    if found != _WP_CLI_SHA512:
        raise StackError(f"the WP-CLI in {_NPM_PACKAGE} is not the published one: its sha512 is {found}")


def _download_from_debian(folder: Path) -> None:
    parts = folder / "parts"
    parts.mkdir()
    run_command(["apt-get", "download", "--quiet", *_DEBIAN_PACKAGES], cwd=parts, timeout=900)
    for archive in parts.glob("*.deb"):
        run_command(["dpkg-deb", "-x", archive, parts])
        archive.unlink()
    _inline_links(parts / "usr/share/wordpress", root=parts)
    (parts / "usr/share/wordpress").rename(folder / "wordpress")
    shutil.rmtree(parts)
    # Debian's own configuration would be found before a site's.
    (folder / "wordpress" / "wp-config.php").unlink(missing_ok=True)
    _make_readable(folder)


def _inline_links(tree: Path, *, root: Path) -> None:
    """Replace links out of `tree` by copies of what they mean inside `root`; drop those that lead nowhere."""
    for path in [path for path in tree.rglob("*") if path.is_symlink()]:
        target = path.readlink()
        meant = root / target.relative_to("/") if target.is_absolute() else path.parent / target
        path.unlink()
        if meant.is_dir():
            shutil.copytree(meant, path, ignore_dangling_symlinks=True)
        elif meant.exists():
            shutil.copyfile(meant, path)


def _make_readable(folder: Path) -> None:
    run_command(["chmod", "-R", "u=rwX,go=rX", folder])
