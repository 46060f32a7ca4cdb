"""Everything that can go wrong in the gateway, by whose fault it is.

::

    GatewayError
    ├── RequestError           the client's: answered with 4xx, never sent upstream
    ├── RoutingError           the config's: no such model, no rule, nothing eligible
    ├── UpstreamError          the upstream's: 502, 503, 504, or its own 4xx passed on
    ├── ConfigError            a pushed config cannot be built: 422
    ├── PushFencedError        a push that is older than one already seen: 409
    ├── SectionsMissingError   a push without a section that this gateway does not have: 412
    ├── PromptModelError       the prompt model's files are not those that were measured
    └── SettingsError          this process is started wrongly: exit code 2

The rule: a message never holds a byte of a key, a prompt or a header; `render` is the only place that makes error JSON.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from modelway_contract.config import Rejection


class Code(StrEnum):
    """What stands in `error.code`; a closed set, so it may be a metric label."""

    # Requests that were sent nowhere.
    INVALID_API_KEY = "invalid_api_key"
    DUPLICATE_AUTHORIZATION = "duplicate_authorization"
    UNKNOWN_URL = "unknown_url"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    EMPTY_BODY = "empty_body"
    INVALID_JSON = "invalid_json"
    BODY_TOO_DEEP = "body_too_deep"
    PROMPT_TOO_LONG = "prompt_too_long"
    MISSING_FIELD = "missing_required_parameter"
    INVALID_TYPE = "invalid_type"
    INVALID_VALUE = "invalid_value"
    UPSTREAM_OVERRIDE = "upstream_override_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    NO_MATCHING_RULE = "no_matching_rule"
    NO_ELIGIBLE_MODEL = "no_eligible_model"
    NO_CONFIG = "no_config"
    NO_ENDPOINTS = "no_endpoints"
    BROKEN_SIGNAL = "broken_signal"
    SIGNAL_UNAVAILABLE = "signal_unavailable"
    # What became of those that were sent.
    INVALID_REQUEST = "invalid_request"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_CREDENTIALS_EXHAUSTED = "upstream_credentials_exhausted"
    UPSTREAM_ERROR = "upstream_error"
    CONNECT_ERROR = "connect_error"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 - a time-out's name
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    REQUEST_TIMEOUT = "request_timeout"
    STREAM_ERROR = "stream_error"
    SHUTTING_DOWN = "shutting_down"


REFUSAL_CODES: Final = (
    *tuple(Code)[: tuple(Code).index(Code.INVALID_REQUEST)],
    Code.REQUEST_TIMEOUT,
    Code.SHUTTING_DOWN,
)
"""Codes of requests that were sent nowhere: for the last two, that waited for a classifier when they ended."""


class ErrorType(StrEnum):
    """What stands in `error.type`, as OpenAI's clients know it."""

    INVALID_REQUEST = "invalid_request_error"
    AUTHENTICATION = "authentication_error"
    RATE_LIMIT = "rate_limit_error"
    API = "api_error"


class GatewayError(Exception):
    """Base of all errors here."""


class AnsweredError(GatewayError):
    """An error that a client gets to see."""

    def __init__(
        self,
        status: int,
        code: Code,
        message: str,
        *,
        type: ErrorType,  # noqa: A002 - the name on the wire
        param: str | None = None,
        should_retry: bool = False,
        retry_after: str | None = None,
        upstream_code: str | None = None,
    ) -> None:
        """Keep what the answer needs; `retry_after` is a header's value, already checked."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.type = type
        self.param = param
        self.should_retry = should_retry
        self.retry_after = retry_after
        self.upstream_code = upstream_code


class RequestError(AnsweredError):
    """The request is wrong; sending it again as it is will not help."""

    def __init__(self, code: Code, message: str, *, param: str | None = None, status: int = 400) -> None:
        """Take the type from the status."""
        kind = ErrorType.AUTHENTICATION if status == 401 else ErrorType.INVALID_REQUEST
        super().__init__(status, code, message, type=kind, param=param)


class RoutingError(AnsweredError):
    """The config has no answer to this request."""


class UpstreamError(AnsweredError):
    """The upstream failed, or refused."""


class ConfigError(GatewayError):
    """A pushed config cannot be built; the last good one goes on serving."""

    def __init__(self, errors: tuple[Rejection, ...]) -> None:
        """Keep every reason."""
        super().__init__("; ".join(f"{each.path}: {each.message}" for each in errors[:3]))
        self.errors = errors


class PushFencedError(GatewayError):
    """A push with a lower (epoch, sequence) than one seen before."""

    def __init__(self, epoch: int, sequence: int) -> None:
        """Keep the pair that was seen."""
        super().__init__(f"({epoch}, {sequence}) was seen before")
        self.epoch = epoch
        self.sequence = sequence


class SectionsMissingError(GatewayError):
    """A push refers to sections by digest that this gateway does not have."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        """Keep the sections' names."""
        super().__init__("missing: " + ", ".join(missing))
        self.missing = missing


class PromptModelError(GatewayError):
    """The model file is damaged, of another format, or not the one that its digest names."""


class SettingsError(GatewayError):
    """The process was started with settings that cannot work."""


class _Error(msgspec.Struct):
    message: str
    type: str
    code: str
    param: str | None
    decision: str | None


class _Body(msgspec.Struct, omit_defaults=True):
    error: _Error


class _LastChoice(msgspec.Struct):
    index: int = 0
    delta: dict[str, str] = {}
    finish_reason: str = "error"


class _LastChunk(msgspec.Struct):
    """The shape of a chat completion chunk, so that clients that read `choices` first do not stumble."""

    id: str
    object: str
    created: int
    model: str
    choices: tuple[_LastChoice, ...]
    error: _Error


_encoder: Final = msgspec.json.Encoder()


def _error(exc: AnsweredError, decision: str | None) -> _Error:
    return _Error(exc.message, exc.type.value, exc.upstream_code or exc.code.value, exc.param, decision)


def render(exc: AnsweredError, *, decision: str | None) -> bytes:
    """The body of an error answer, OpenAI-shaped."""
    return _encoder.encode(_Body(_error(exc, decision)))


def render_last_event(exc: AnsweredError, *, decision: str, model: str, created: int) -> bytes:
    """The event that ends a stream which had begun: top-level `error` and `finish_reason: "error"`."""
    chunk = _LastChunk(decision, "chat.completion.chunk", created, model, (_LastChoice(),), _error(exc, decision))
    return b"data: " + _encoder.encode(chunk) + b"\n\n"
