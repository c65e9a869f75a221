"""Failures in A1111's shape: ``{"error", "detail", "body", "errors"}``, and a status.

One translator for what this program raises on purpose, one for what it did not expect. The
``detail`` is always a text that says what happened and what to do.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException as FastAPIHTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from webui.errors import WebUIError
from webui.lenient import json_safe

logger = logging.getLogger(__name__)


class SafeJSONResponse(JSONResponse):
    """JSON of anything: what JSON cannot hold (NaN, lone surrogates) is replaced, never a crash."""

    def render(self, content: Any) -> bytes:
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            return text.encode("utf-8")
        except (ValueError, TypeError, RecursionError):
            text = json.dumps(json_safe(content), ensure_ascii=False, separators=(",", ":"))
            return text.encode("utf-8")


class ApiError(FastAPIHTTPException):
    """A failure whose kind and status are part of A1111's protocol.

    Args:
        status: HTTP status.
        detail: What happened and what to do.
        error: The kind a client may look at, such as ``KeyError``.
        errors: The text of the original's exception.
    """

    def __init__(
        self, status: int, detail: str, *, error: str = "HTTPException", errors: str = ""
    ) -> None:
        super().__init__(status, detail)
        self.error = error
        self.errors = errors


def answer_error(err: Exception) -> Response:
    """Translate any failure of a request into an answer; unexpected ones are logged."""
    if isinstance(err, WebUIError):
        return answer_webui_error(err)
    if isinstance(err, ApiError):
        return _answer(err.status_code, err.error, err.detail, err.errors)
    if isinstance(err, RequestValidationError):
        return _answer_validation(err)
    if isinstance(err, HTTPException):
        return _answer(err.status_code, "HTTPException", str(err.detail), headers=err.headers)
    return answer_unexpected(err)


def answer_webui_error(err: WebUIError) -> Response:
    """A failure this program raised on purpose: its own status, message and hint."""
    return _answer(err.http_status, type(err).__name__, str(err), err.message, code=err.code)


def answer_unexpected(err: Exception) -> Response:
    """A failure nobody foresaw: 500, and an id under which its traceback stands in the log."""
    error_id = secrets.token_hex(4)
    logger.error("Request failed, error id %s", error_id, exc_info=err)
    return _answer(
        500,
        type(err).__name__,
        f"The server met an unexpected {type(err).__name__}: {err}. "
        f"Its traceback is in the server's log under the id {error_id}.",
        str(err),
        id=error_id,
    )


def _answer_validation(err: RequestValidationError) -> Response:
    """What is wrong with the first field, in words; all fields in ``fields``."""
    found = [
        {"loc": [str(part) for part in e["loc"]], "msg": e["msg"], "type": e["type"]}
        for e in err.errors()
    ]
    return _answer(
        422, "RequestValidationError", _describe(err.errors()[0]), found[0]["msg"], fields=found
    )


def _describe(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"][1:])
    if problem["type"] == "json_invalid":
        reason = problem.get("ctx", {}).get("error", "it ends too early")
        return f"The body is not readable JSON: {reason} at character {where}. Send valid JSON."
    if problem["type"] == "missing":
        return f"{where or 'The body'} is missing. Send it as Content-Type: application/json."
    shown = repr(problem.get("input"))
    shown = shown if len(shown) <= 80 else shown[:77] + "…"
    rule = problem["msg"].removeprefix("Value error, ")
    rule = rule[:1].lower() + rule[1:]
    return f"{where or 'The body'} was {shown}; {rule}. Change that value and send it again."


def _answer(
    status: int,
    error: str,
    detail: str,
    errors: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    content = {"error": error, "detail": detail, "body": "", "errors": errors, **more}
    return SafeJSONResponse(content, status_code=status, headers=dict(headers or {}))
