"""The one place that maps what went wrong to HTTP: `{code, message, details?}` and nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from reconciler.errors import PressluftError, Transient
from reconciler.outbox import Overloaded
from reconciler.request import NotCancellable
from reconciler.service import Conflict, GateUnmet, NotFound, Refused
from schemas.api import Detail, Problem

log = structlog.get_logger()

CODES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal_error",
    503: "unavailable",
}


class Unacceptable(PressluftError):
    """A request that is refused for what it is; `status` is the HTTP status."""

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Unauthorized(Unacceptable):
    """Nobody is logged in."""

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, message, {"WWW-Authenticate": "Bearer"})


class ResetRefused(PressluftError):
    """A reset that cannot be; `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer(
    status: int,
    message: str,
    *,
    code: str = "",
    details: Sequence[Detail] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Make the answer of a failure."""
    problem = Problem(
        code=code or CODES.get(status, "error"), message=message, details=list(details) if details else None
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def install_error_handlers(app: FastAPI) -> None:
    """Let every failure of the app be answered in the one form."""

    @app.exception_handler(PressluftError)
    async def on_known(_: Request, error: PressluftError) -> JSONResponse:
        return answer_known(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        details = [
            Detail(field=".".join(str(part) for part in item["loc"])[:300], message=item["msg"][:300])
            for item in error.errors()
        ]
        return answer(HTTPStatus.BAD_REQUEST, "the request is not valid", details=details)

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, HTTPStatus(error.status_code).phrase.lower(), headers=error.headers)

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        return answer_bug(request.url.path, error)


def answer_bug(path: str, error: Exception) -> JSONResponse:
    """Answer what nobody foresaw; only the log says what it was."""
    # Written out here, since some renderers of exceptions show the values of variables as well.
    log.error("a request broke", path=path, traceback="".join(traceback.format_exception(error)))
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; the server's log says what")


def answer_known(error: PressluftError) -> JSONResponse:
    """Answer one of the product's own errors."""
    match error:
        case GateUnmet(reasons=reasons):
            details = [
                Detail(code=item.code.lower(), message=item.detail, remedy=item.remedy) for item in reasons
            ]
            return answer(409, str(error), code=reasons[0].code.lower(), details=details)
        case NotCancellable():
            return answer(409, str(error), code="job_not_cancellable")
        case ResetRefused(code=code):
            return answer(409, str(error), code=code)
        case Conflict() | Refused():
            return answer(409, str(error))
        case NotFound():
            return answer(404, str(error))
        case Unacceptable(status=status, headers=headers):
            return answer(status, str(error), headers=headers)
        case _:
            return answer_unavailable(error)


def answer_unavailable(error: PressluftError) -> JSONResponse:
    """Answer that nothing can be done at the moment, and when to come again; the log says why."""
    if isinstance(error, Overloaded):
        return answer(503, str(error), code="overloaded", headers=retry_after(error.retry_after))
    if isinstance(error, Transient):
        log.warning("the fleet repo cannot be reached", reason=str(error))
        message = "the fleet repo cannot be reached right now"
        return answer(503, message, headers=retry_after(error.retry_after))
    log.error("the fleet repo cannot be used", reason=str(error))
    return answer(503, "the fleet repo cannot be used; the server's log says why", headers=retry_after(30))


def retry_after(seconds: float) -> Mapping[str, str]:
    """Make the header that says when to come again."""
    return {"Retry-After": str(max(1, round(seconds)))}
