"""The REST facade's wiring: the only place in `api` that knows adapters."""

from __future__ import annotations

from fastapi import FastAPI

from api.dependencies import Context
from api.errors import install_error_handlers
from api.routes import reading, requesting, session
from api.sessions import Sessions
from reconciler.daemon import SystemClock, open_repo
from reconciler.service import Service
from reconciler.settings import Settings


def make_app(settings: Settings) -> FastAPI:
    """Make the facade over the fleet repo that the settings name. Raises `RepoUnusable` or `SettingsInvalid`."""
    service = Service(open_repo(settings, purpose="facade"), SystemClock())
    app = FastAPI(title="Pressluft", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.context = Context(service, Sessions(settings.admin_password_hash))
    install_error_handlers(app)
    for router in (session.router, reading.router, requesting.router):
        app.include_router(router, prefix="/api")

    @app.get("/healthz", include_in_schema=False)
    def report_health() -> dict[str, str]:
        return {"status": "ok"}

    return app
