"""The REST facade's wiring: the only place in `api` that knows adapters."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pygit2
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pygit2.enums import ObjectType

from api.caller import Reception
from api.contract import BASE, make_contract, make_places
from api.desk import ALONE, Bell, Desk, Watched
from api.door import Door, Limits
from api.errors import install_error_handlers
from api.metrics import Meter
from api.routes import events, operating, reading, requesting, session, settling
from api.sessions import Sessions
from api.tokens import TokenFile
from reconciler.adapters.git_local import is_ours_alone
from reconciler.adapters.git_ref import open_repository
from reconciler.adapters.git_repo import GitFleetRepo
from reconciler.adapters.run_folder import make_progress
from reconciler.daemon import SystemClock, open_repo
from reconciler.outbox import Outbox
from reconciler.service import Service
from reconciler.settings import Settings

TREE_CACHE = 4 * 1024 * 1024
"""libgit2 parses a tree of more than 4 KiB anew each time unless told to keep it: 1 s of 2 for 500 sites."""


def spare_collector() -> None:
    """Keep what was read at the start out of the garbage collector's rounds: with 20,000 jobs one takes 100 ms."""
    gc.collect()
    gc.freeze()


@dataclass
class Facade:
    """An app and what has to be stopped with it."""

    app: Door
    desk: Desk
    repos: tuple[GitFleetRepo, GitFleetRepo]

    @property
    def bell(self) -> Bell:
        """Rings when the repo moved; stopped first, so that streams end."""
        return self.desk.bell


def make_facade(settings: Settings, *, limits: Limits | None = None, daemon: Watched = ALONE) -> Facade:
    """Make the facade over the fleet repo that the settings name. Raises `RepoUnusable` or `SettingsInvalid`.

    `daemon` is the one that runs in this process, which is woken when a git server says that something was pushed.
    """
    pygit2.settings.cache_object_limit(ObjectType.TREE, TREE_CACHE)
    reader, writer = open_repo(settings, purpose="facade"), open_repo(settings, purpose="facade")
    clock, bell = SystemClock(), Bell()
    service = Service(reader, clock, outlet=writer, fetches_on_read=is_worked_on_in_place(settings.repo))
    desk = Desk(
        service=service,
        outbox=Outbox(service, on_look=bell.ring, interval=settings.poll_seconds, on_warm=spare_collector),
        bell=bell,
        reception=Reception(
            Sessions(settings.admin_password_hash), TokenFile(settings.token_file), now=clock.now
        ),
        limits=limits or Limits(),
        meter=Meter(),
        progress=make_progress(settings.state_dir / "runs"),
        webhook_secret=make_secret_reader(settings.webhook_secret),
        daemon=daemon,
    )
    app = make_routes(desk, lifespan_of=(reader, writer), interval=settings.poll_seconds)
    door = Door(app, make_places(make_contract(app)), desk.reception, desk.limits, desk.meter)
    return Facade(door, desk, (reader, writer))


def is_worked_on_in_place(location: str) -> bool:
    """Whether looking at the tip costs next to nothing: the repo is a folder of ours on this machine."""
    path = Path(location).expanduser()
    return path.exists() and is_ours_alone(open_repository(str(path)))


def make_routes(
    desk: Desk | None, *, lifespan_of: tuple[GitFleetRepo, GitFleetRepo] | None = None, interval: float = 5
) -> FastAPI:
    """Make the app with all routes. Without a desk it only serves to write the contract."""

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        if desk is None or lifespan_of is None:
            yield
            return
        desk.bell.bind()
        desk.outbox.start()
        with lifespan_of[1].make_watcher(desk.outbox.look_soon, interval=interval):
            yield
        desk.outbox.stop()
        for repo in lifespan_of:
            repo.close()

    app = FastAPI(
        lifespan=live,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=name_operation,
    )
    app.state.desk = desk
    install_error_handlers(app)
    for router in (session.router, reading.router, requesting.router, settling.router, events.router):
        app.include_router(router, prefix=BASE)
    app.include_router(operating.router)
    return app


def name_operation(route: APIRoute) -> str:
    """Name an operation after its function."""
    return route.name


def make_secret_reader(path: Path | None) -> Callable[[], bytes | None]:
    """Read a secret each time it is needed, so that it can be changed."""

    def read_secret() -> bytes | None:
        try:
            return path.read_bytes().strip() or None if path is not None else None
        except OSError:
            return None

    return read_secret
