"""From what an upstream did to what the client is told, and to how the request is counted.

Rules to know: a client gets an upstream's words only for what it did wrong itself, bounded, and without the backend's
key. A 404 or 405 is passed on but counts against the upstream: no client chose the path or the upstream's model name,
and a candidate with a wrong one must not pass for healthy.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from modelway_contract.config import RetryOn
from modelway_contract.names import Outcome
from modelway_gateway.core.attempts import Cause
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
_TIMEOUT_CAUSES: Final = {
    FailureKind.CONNECT_TIMEOUT: Cause(RetryOn.CONNECT_ERROR),
    FailureKind.FIRST_TOKEN_TIMEOUT: Cause(RetryOn.TIMEOUT),
}
_NOT_CONNECTED: Final = frozenset({FailureKind.CONNECT_ERROR, FailureKind.DNS_ERROR, FailureKind.TLS_ERROR})
_NOT_THE_CLIENTS_FAULT: Final = frozenset({404, 405})
_PASSING_STATUSES: Final = frozenset({500, 502, 503, 504, 529})
_RETRY_AFTER: Final = re.compile(
    rb"[0-9]{1,9}(?:\.[0-9]{1,9})?|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)
"""Seconds or a date: whatever else an upstream says there may quote the prompt."""
_FINAL: Final = Cause()
_SERVER_ERROR: Final = Cause(RetryOn.SERVER_ERROR)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error to answer with, the outcome to count, and what decides whether somebody else is asked first."""

    error: UpstreamError
    outcome: Outcome
    cause: Cause = _FINAL


def from_failure(failure: UpstreamFailure, *, content_began: bool) -> Failure:
    """An exchange that did not end well."""
    code = _TIMEOUTS.get(failure.kind)
    if code is not None:
        # What took long once will take long again: no retry but for a connection, which costs little.
        retry = failure.kind is FailureKind.CONNECT_TIMEOUT
        cause = _TIMEOUT_CAUSES.get(failure.kind, _FINAL)
        return _failure(504, code, failure.message, Outcome.TIMEOUT, should_retry=retry, cause=cause)
    if failure.kind in _NOT_CONNECTED:
        cause = Cause(RetryOn.CONNECT_ERROR)
        return _failure(502, Code.CONNECT_ERROR, failure.message, Outcome.CONNECT_ERROR, should_retry=True, cause=cause)
    if content_began:
        return _failure(502, Code.STREAM_ERROR, failure.message, Outcome.STREAM_ERROR)
    message, outcome = failure.message, Outcome.UPSTREAM_ERROR
    return _failure(502, Code.UPSTREAM_ERROR, message, outcome, should_retry=True, cause=_SERVER_ERROR)


def from_status(status: int, headers: Headers, body: bytes, backend: Backend) -> Failure:
    """An answer that is not 200."""
    name = f"Backend {backend.name}"
    retry_after = _retry_after(headers)
    if status == 429:
        return _failure(
            429,
            Code.RATE_LIMITED,
            f"{name} is rate limited.",
            Outcome.RATE_LIMITED,
            type_=ErrorType.RATE_LIMIT,
            should_retry=True,
            retry_after=retry_after,
            cause=Cause(RetryOn.RATE_LIMITED, retry_after_seconds=_seconds(retry_after)),
        )
    if status in (401, 402, 403):
        return _failure(
            502,
            Code.UPSTREAM_CREDENTIALS_EXHAUSTED,
            f"{name} refused the gateway's own credentials.",
            Outcome.UPSTREAM_ERROR,
            cause=Cause(key_refused=True),
        )
    if 400 <= status < 500 and status != 408:
        return _refused_by_upstream(status, body, backend)
    cause = _FINAL
    if status in _PASSING_STATUSES:
        cause = Cause(RetryOn.SERVER_ERROR, retry_after_seconds=_seconds(retry_after))
    if status in (503, 529):
        return _failure(
            503,
            Code.UPSTREAM_ERROR,
            f"{name} is overloaded or down (status {status}).",
            Outcome.UPSTREAM_ERROR,
            should_retry=True,
            retry_after=retry_after,
            cause=cause,
        )
    retry = status >= 500 or status == 408
    message = f"{name} answered with status {status}."
    return _failure(502, Code.UPSTREAM_ERROR, message, Outcome.UPSTREAM_ERROR, should_retry=retry, cause=cause)


def from_error_in_answer(data: bytes, backend: Backend) -> Failure:
    """An error object inside a 200: by the status that it names, where it names one."""
    error = _read_error(data)
    status = error.code if isinstance(error.code, int) else 0
    if 400 <= status <= 599:
        return from_status(status, [], data, backend)
    return bad_answer(backend, "answered with an error")


def bad_answer(backend: Backend, what: str, *, cause: Cause = _SERVER_ERROR) -> Failure:
    """An answer that cannot be passed on."""
    message, outcome = f"Backend {backend.name} {what}.", Outcome.UPSTREAM_ERROR
    return _failure(502, Code.UPSTREAM_ERROR, message, outcome, should_retry=True, cause=cause)


def too_large(backend: Backend) -> Failure:
    """An answer that nobody should be asked for again."""
    return bad_answer(backend, "sent too large an answer", cause=_FINAL)


def broken_stream(backend: Backend, what: str, *, content_began: bool) -> Failure:
    """A stream that ended in another way than streams end."""
    message, outcome = f"Backend {backend.name} {what}.", Outcome.STREAM_ERROR
    cause = _FINAL if content_began else _SERVER_ERROR
    return _failure(502, Code.STREAM_ERROR, message, outcome, should_retry=not content_began, cause=cause)


def out_of_time(seconds: float, *, by_client: bool) -> Failure:
    """The request as a whole took too long. A client's own deadline blames no model, as little as its going away."""
    if by_client:
        message = f"The request took longer than the {seconds:g} s that x-request-timeout allows."
        return _failure(504, Code.REQUEST_TIMEOUT, message, Outcome.CLIENT_CANCEL)
    message = f"The request took longer than {seconds:g} s in all."
    return _failure(504, Code.TOTAL_TIMEOUT, message, Outcome.TIMEOUT)


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
        if name == b"retry-after" and _RETRY_AFTER.fullmatch(value) is not None:
            return value.decode("ascii")
    return None


def _seconds(retry_after: str | None) -> float | None:
    """A `Retry-After`, which may also be a date; what cannot be read says nothing."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
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
    cause: Cause = _FINAL,
) -> Failure:
    error = UpstreamError(status, code, message, type=type_, should_retry=should_retry, retry_after=retry_after)
    return Failure(error, outcome, cause)
