"""From what an upstream did to what the client is told, and to how the request is counted.

Rules to know: a client gets an upstream's words only for what it did wrong itself, bounded, and without the backend's
key. A 404 or 405 is passed on but counts against the upstream: no client chose the path or the upstream's model name,
and a candidate with a wrong one must not pass for healthy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from modelway_contract.names import Outcome
from modelway_gateway.core.routes import Backend
from modelway_gateway.errors import Code, ErrorType, UpstreamError
from modelway_gateway.upstream.interface import FailureKind, Headers, UpstreamFailure

MAX_ERROR_BYTES: Final = 64 * 1024
"""How much of an upstream's error answer is read."""

_MAX_MESSAGE_LENGTH: Final = 2000
_MAX_CODE_LENGTH: Final = 64
_TIMEOUTS: Final = {
    FailureKind.CONNECT_TIMEOUT: Code.CONNECT_TIMEOUT,
    FailureKind.FIRST_TOKEN_TIMEOUT: Code.FIRST_TOKEN_TIMEOUT,
    FailureKind.IDLE_TIMEOUT: Code.IDLE_TIMEOUT,
    FailureKind.TOTAL_TIMEOUT: Code.TOTAL_TIMEOUT,
}
_NOT_CONNECTED: Final = frozenset({FailureKind.CONNECT_ERROR, FailureKind.DNS_ERROR, FailureKind.TLS_ERROR})
_NOT_THE_CLIENTS_FAULT: Final = frozenset({404, 405})


@dataclass(frozen=True, slots=True)
class Failure:
    """An error to answer with, and the outcome to count."""

    error: UpstreamError
    outcome: Outcome


def from_failure(failure: UpstreamFailure, *, content_began: bool) -> Failure:
    """An exchange that did not end well."""
    code = _TIMEOUTS.get(failure.kind)
    if code is not None:
        # What took long once will take long again: no retry but for a connection, which costs little.
        retry = failure.kind is FailureKind.CONNECT_TIMEOUT
        return _failure(504, code, failure.message, Outcome.TIMEOUT, should_retry=retry)
    if failure.kind in _NOT_CONNECTED:
        return _failure(502, Code.CONNECT_ERROR, failure.message, Outcome.CONNECT_ERROR, should_retry=True)
    if content_began:
        return _failure(502, Code.STREAM_ERROR, failure.message, Outcome.STREAM_ERROR)
    return _failure(502, Code.UPSTREAM_ERROR, failure.message, Outcome.UPSTREAM_ERROR, should_retry=True)


def from_status(status: int, headers: Headers, body: bytes, backend: Backend) -> Failure:
    """An answer that is not 200."""
    name = f"Backend {backend.name}"
    if status == 429:
        return _failure(
            429,
            Code.RATE_LIMITED,
            f"{name} is rate limited.",
            Outcome.RATE_LIMITED,
            type_=ErrorType.RATE_LIMIT,
            should_retry=True,
            retry_after=_retry_after(headers),
        )
    if status in (401, 402, 403):
        return _failure(
            502,
            Code.UPSTREAM_CREDENTIALS_EXHAUSTED,
            f"{name} refused the gateway's own credentials.",
            Outcome.UPSTREAM_ERROR,
        )
    if 400 <= status < 500 and status != 408:
        return _refused_by_upstream(status, body, backend)
    if status in (503, 529):
        return _failure(
            503,
            Code.UPSTREAM_ERROR,
            f"{name} is overloaded or down (status {status}).",
            Outcome.UPSTREAM_ERROR,
            should_retry=True,
            retry_after=_retry_after(headers),
        )
    retry = status >= 500 or status == 408
    message = f"{name} answered with status {status}."
    return _failure(502, Code.UPSTREAM_ERROR, message, Outcome.UPSTREAM_ERROR, should_retry=retry)


def from_error_in_answer(data: bytes, backend: Backend) -> Failure:
    """An error object inside a 200: by the status that it names, where it names one."""
    error = _read_error(data)
    status = error.code if isinstance(error.code, int) else 0
    if 400 <= status <= 599:
        return from_status(status, [], data, backend)
    message = f"Backend {backend.name} answered with an error."
    return _failure(502, Code.UPSTREAM_ERROR, message, Outcome.UPSTREAM_ERROR, should_retry=True)


def bad_answer(backend: Backend, what: str) -> Failure:
    """An answer that cannot be passed on."""
    message = f"Backend {backend.name} {what}."
    return _failure(502, Code.UPSTREAM_ERROR, message, Outcome.UPSTREAM_ERROR, should_retry=True)


def broken_stream(backend: Backend, what: str, *, content_began: bool) -> Failure:
    """A stream that ended in another way than streams end."""
    message = f"Backend {backend.name} {what}."
    return _failure(502, Code.STREAM_ERROR, message, Outcome.STREAM_ERROR, should_retry=not content_began)


class _Error(msgspec.Struct):
    message: str = ""
    type: str | None = None
    code: int | str | None = None
    param: str | None = None


class _Answer(msgspec.Struct):
    error: _Error | str | None = None
    message: str = ""
    """Some servers (vLLM before 0.11) put the error at the top."""
    code: int | str | None = None
    param: str | None = None


_read_answer: Final = msgspec.json.Decoder(_Answer).decode


def _read_error(body: bytes) -> _Error:
    try:
        answer = _read_answer(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Error()
    if isinstance(answer.error, _Error):
        return answer.error
    return _Error(message=answer.error or answer.message, code=answer.code, param=answer.param)


def _refused_by_upstream(status: int, body: bytes, backend: Backend) -> Failure:
    error = _read_error(body)
    code = error.code if isinstance(error.code, str) else None
    message = _presentable(error.message, backend, _MAX_MESSAGE_LENGTH)
    return Failure(
        UpstreamError(
            status,
            Code.INVALID_REQUEST,
            message or f"Backend {backend.name} refused the request (status {status}).",
            type=ErrorType.INVALID_REQUEST,
            param=_presentable(error.param, backend, _MAX_CODE_LENGTH) or None,
            upstream_code=_presentable(code, backend, _MAX_CODE_LENGTH) or None,
        ),
        Outcome.UPSTREAM_ERROR if status in _NOT_THE_CLIENTS_FAULT else Outcome.CLIENT_ERROR,
    )


def _presentable(text: str | None, backend: Backend, length: int) -> str:
    if not text:
        return ""
    if backend.secret is not None:
        text = text.replace(backend.secret, "***")
    return text[:length]


def _retry_after(headers: Headers) -> str | None:
    for name, value in headers:
        if name == b"retry-after" and len(value) <= 32 and value.isascii():
            text = value.decode("ascii")
            if text.isprintable():
                return text
    return None


def _failure(
    status: int,
    code: Code,
    message: str,
    outcome: Outcome,
    *,
    type_: ErrorType = ErrorType.API,
    should_retry: bool = False,
    retry_after: str | None = None,
) -> Failure:
    error = UpstreamError(status, code, message, type=type_, should_retry=should_retry, retry_after=retry_after)
    return Failure(error, outcome)
