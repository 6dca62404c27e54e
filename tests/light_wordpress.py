"""A WordPress without what only browsers of editors run: half the bytes of every copy, release and backup."""

import shutil
from dataclasses import replace
from pathlib import Path

from reconciler.stack.cache import fetch_cached
from reconciler.stack.download import WordPress, fetch_wordpress, find_wordpress

LEFT_OUT = (
    "wp-includes/js/dist",  # the block editor: 50 of 117 MB; PHP reads its list of scripts from elsewhere
    "wp-content/themes/twentytwentyfour",
    "wp-content/themes/twentytwentythree",
)


def fetch_light_wordpress() -> WordPress:
    """Return a copy of the fetched WordPress without `LEFT_OUT`, made once for this machine."""
    wordpress = find_wordpress() or fetch_wordpress(lambda _line: None)
    folder = fetch_cached(f"light-{wordpress.version}", lambda folder: _copy(wordpress.tree, folder))
    return replace(wordpress, tree=folder / "wordpress")


def _copy(tree: Path, folder: Path) -> None:
    shutil.copytree(tree, folder / "wordpress", symlinks=True)
    for name in LEFT_OUT:
        shutil.rmtree(folder / "wordpress" / name, ignore_errors=True)  # other versions have other themes
