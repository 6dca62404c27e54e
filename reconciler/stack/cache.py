"""The folder of prepared copies: downloads, an empty data directory, an installed site."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def find_cache_folder() -> Path:
    """Return $PRESSLUFT_CACHE, else `pressluft` below $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("PRESSLUFT_CACHE")
    if own:
        return Path(own)
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(general) if general else Path.home() / ".cache") / "pressluft"


def fetch_cached(key: str, make: Callable[[Path], None]) -> Path:
    """Return the cached folder `key`, which `make(folder)` fills when it is not there yet.

    It appears whole or not at all, whoever is killed meanwhile, and is made once, however many ask at once.
    """
    cache = find_cache_folder()
    finished = cache / key
    if finished.is_dir():
        return finished
    with hold_lock(key):
        if finished.is_dir():
            return finished
        for remnant in cache.glob(f".{key}.*"):
            shutil.rmtree(remnant)
        partial = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=cache))
        try:
            make(partial)
            partial.rename(finished)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return finished


@contextmanager
def hold_lock(name: str) -> Iterator[None]:
    """Keep other processes with the same cache out of the block; waits for them without limit."""
    cache = find_cache_folder()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (cache / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
