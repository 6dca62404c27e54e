"""The one place that maps what went wrong to HTTP: `{code, message, details?}` and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from reconciler.errors import PressluftError, Transient
from reconciler.service import Conflict, GateUnmet, NotFound, Refused
from schemas.api import Problem

log = structlog.get_logger()

CODES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "unavailable",
}


class Unauthorized(PressluftError):
    """Nobody is logged in."""


class TooManyTries(PressluftError):
    """Somebody guesses passwords."""


def answer(
    status: int, message: str, *, code: str = "", details: list[dict[str, str]] | None = None
) -> JSONResponse:
    """Make the answer of a failure."""
    problem = Problem(code=code or CODES.get(status, "internal_error"), message=message, details=details)
    return JSONResponse(problem.model_dump(exclude_none=True), status_code=status)


def install_error_handlers(app: FastAPI) -> None:
    """Let every failure of the app be answered in the one form."""

    @app.exception_handler(PressluftError)
    async def on_known(_: Request, error: PressluftError) -> JSONResponse:
        return answer_known(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        details = [
            {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
            for item in error.errors()
        ]
        return answer(HTTPStatus.BAD_REQUEST, "the request is not valid", details=details)

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> JSONResponse:
        message = HTTPStatus(error.status_code).phrase.lower()
        response = answer(error.status_code, message)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        log.error("a request broke", path=request.url.path, exc_info=error)
        return answer(
            HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; the server's log says what"
        )


def answer_known(error: PressluftError) -> JSONResponse:
    """Answer one of the product's own errors."""
    match error:
        case GateUnmet(reasons=reasons):
            details = [
                {"code": item.code.lower(), "message": item.detail, "remedy": item.remedy} for item in reasons
            ]
            return answer(409, str(error), code=reasons[0].code.lower(), details=details)
        case Conflict():
            return answer(409, str(error))
        case NotFound():
            return answer(404, str(error))
        case Refused():
            return answer(400, str(error))
        case Unauthorized():
            return answer(401, str(error))
        case TooManyTries():
            return answer(429, str(error))
        case Transient(retry_after=seconds):
            response = answer(503, "the fleet repo cannot be reached right now")
            response.headers["Retry-After"] = str(max(1, int(seconds)))
            return response
        case _:
            return answer(503, "the fleet repo cannot be used; the server's log says why")
