"""How a simulated LLM behaves: one record that flags, `PUT /behaviour` and tests all fill in.

Rule: a `Behaviour` is only made by `changed`, from a valid one, so every one in use has been checked.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from modelway_cli.errors import UsageError

MAX_DELAY_MS: Final = 3_600_000.0
MAX_TOKENS: Final = 100_000


class ErrorMode(StrEnum):
    """What happens to a request that fails."""

    STATUS = "status"
    """An HTTP error with an OpenAI-shaped body; 429 and 503 carry `Retry-After`."""

    RESET = "reset"
    """The connection is reset before any byte of an answer."""

    HANG = "hang"
    """No byte of an answer ever comes."""

    STALL_MID_STREAM = "stall-mid-stream"
    """The answer starts and then stands still, for ever."""

    ERROR_IN_STREAM = "error-in-stream"
    """A 200 whose stream (or body) turns into an error object; no `[DONE]` follows."""

    EMPTY_200 = "empty-200"
    """A 200 with no body at all."""

    MALFORMED = "malformed"
    """A 200 whose JSON is cut short."""


ModelName = Annotated[str, Meta(min_length=1, max_length=256)]
Delay = Annotated[float, Meta(ge=0, le=MAX_DELAY_MS)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a simulated LLM answers."""

    models: Annotated[tuple[ModelName, ...], Meta(min_length=1, max_length=100)] = ("simulated",)
    """The names it serves; any other gets 404 `model_not_found`."""

    tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = 16
    """Tokens of an answer, fewer where the request's `max_tokens` says so. One token is one streamed chunk."""

    ttft_ms: Delay = 0.0
    """Median time to the first token."""

    ttft_sigma: Annotated[float, Meta(ge=0, le=5)] = 0.0
    """Spread of the time to first token: the sigma of a log-normal factor with median 1. 0 is no spread."""

    token_ms: Delay = 0.0
    """Time for each further token."""

    slow_share: Share = 0.0
    """Share of answers whose time to first token is `slow_ttft_ms` (with the same spread)."""

    slow_ttft_ms: Delay = 2_000.0
    """Median time to the first token of the slow share."""

    error_rate: Share = 0.0
    """Share of valid requests that fail, as `error_mode` says."""

    error_mode: ErrorMode = ErrorMode.STATUS
    """How they fail."""

    error_status: Annotated[int, Meta(ge=400, le=599)] = 500
    """The status of mode `status`, and the kind of error in `error-in-stream`."""

    error_after_tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)] = 4
    """Tokens that a failing stream still delivers (stall-mid-stream, error-in-stream, malformed); 0 fails before the
    first content."""

    api_key: Annotated[str, Meta(min_length=1, max_length=8192)] | None = None
    """Key that `/v1` asks for; without it, anybody may ask. Never shown."""

    seed: int = 0
    """Seed of every draw. The same seed and order of requests give the same answers, delays and failures."""

    version_label: Annotated[str, Meta(min_length=1, max_length=128)] = "v1"
    """What `system_fingerprint` says, so that an answer tells who gave it."""

    def __repr__(self) -> str:
        return f"Behaviour({public_view(self)!r})"


def changed(base: Behaviour, changes: Mapping[str, object]) -> Behaviour:
    """`base` with the named fields changed and everything checked; raises `UsageError` naming the bad field."""
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    try:
        return msgspec.convert(msgspec.to_builtins({**fields, **changes}), Behaviour)
    except msgspec.ValidationError as error:
        raise UsageError(f"behaviour: {error}") from error


def public_view(behaviour: Behaviour) -> dict[str, Any]:
    """Every field but the key, as JSON shows it. Sending it back changes nothing, the key included."""
    fields: dict[str, Any] = msgspec.to_builtins(behaviour)
    del fields["api_key"]
    return fields
