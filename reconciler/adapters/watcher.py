"""Says *look again* when a fleet repo may have changed. A wake-up carries nothing: the pass reads for itself."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import structlog
from watchfiles import Change, watch

from reconciler.adapters.git_upkeep import EVERY_SECONDS
from reconciler.errors import PressluftError

_STEP = 10
"""Milliseconds between looks at the kernel's queue: half of it is the mean delay, at 100 wake-ups a second."""
_DEBOUNCE = 40
"""Milliseconds after which a stream of changes is reported although it goes on."""
UPKEEP = "git-upkeep"
UPKEEP_SECONDS = 1.0
"""How long the end of upkeep is waited for when the watcher stops."""
_TOP_FILES = frozenset({"HEAD", "packed-refs"})

_log = structlog.get_logger(__name__)


class Watcher:
    """Watches a local repository's refs through the kernel, and compares tips by a timer in every case."""

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        folder: Path | None,
        read_tips: Callable[[], object],
        interval: float,
        maintain: Callable[[], None] | None = None,
    ) -> None:
        """`folder` is a local git dir. `read_tips` is called in a thread every `interval` seconds, with jitter.

        `maintain` is called in a thread of its own every `EVERY_SECONDS`.
        """
        self._wake = wake
        self._folder = folder
        self._read_tips = read_tips
        self._interval = interval
        self._maintain = maintain
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin; the first comparison of tips is made, and wakes, at once."""
        self._start_thread("git-timer", self._compare_tips)
        if self._maintain is not None:
            maintain = self._maintain
            self._start_thread(UPKEEP, lambda: self._keep_up(maintain))
        if self._folder is not None:
            folder = self._folder
            self._start_thread("git-refs", lambda: self._watch(folder / "refs", recursive=True))
            self._start_thread("git-top", lambda: self._watch(folder, recursive=False))

    def stop(self) -> None:
        """End all threads and wait for them; a comparison under way is waited for, upkeep is not.

        What git packs and prunes at that moment it finishes by itself: it can be killed at any point.
        """
        self._stopped.set()
        for thread in self._threads:
            thread.join(UPKEEP_SECONDS if thread.name == UPKEEP else None)
        self._threads.clear()

    def _start_thread(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _compare_tips(self) -> None:
        last: object = None
        while not self._stopped.is_set():
            try:
                tips = self._read_tips()
            except PressluftError as error:
                # The pass meets the same error and reports it; here it is only a comparison that was missed.
                _log.debug("tips not compared", reason=str(error))
            else:
                if tips != last:
                    self._wake()
                last = tips
            self._stopped.wait(self._interval * random.uniform(0.8, 1.2))  # noqa: S311 - spreads daemons

    def _keep_up(self, maintain: Callable[[], None]) -> None:
        while not self._stopped.wait(EVERY_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads daemons
            maintain()

    def _watch(self, path: Path, *, recursive: bool) -> None:
        try:
            for _changes in watch(
                path,
                watch_filter=_is_about_a_ref,
                step=_STEP,
                debounce=_DEBOUNCE,
                rust_timeout=0,
                stop_event=self._stopped,
                raise_interrupt=False,
                recursive=recursive,
            ):
                self._wake()
        except OSError as error:
            _log.warning("not watched, the timer goes on", path=str(path), reason=str(error))


def _is_about_a_ref(_change: Change, path: str) -> bool:
    """Keep finished moves of refs; lock files come and go with them."""
    place = Path(path)
    return place.suffix != ".lock" and ("refs" in place.parts or place.name in _TOP_FILES)
