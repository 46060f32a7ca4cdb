"""From the `Authorization` header to the client that asks.

The rule: a key decides, never any other header; and whoever gives a wrong key is refused, not taken for anonymous.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from modelway_gateway.core.features import Caller
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.errors import Code, RequestError

MAX_KEY_LENGTH: Final = 512
_BEARER: Final = "bearer "


def identify(runtime: Runtime, authorization: Sequence[str]) -> tuple[str, Caller | None]:
    """The namespace that a request belongs to, and its client unless it is anonymous. Raises RequestError."""
    if not authorization:
        if runtime.anonymous_namespace is None:
            raise RequestError(
                Code.INVALID_API_KEY, "No API key was given. Send it as 'Authorization: Bearer KEY'.", status=401
            )
        return runtime.anonymous_namespace, None
    if len(authorization) > 1:
        raise RequestError(Code.DUPLICATE_AUTHORIZATION, "There is more than one Authorization header.")
    value = authorization[0]
    caller = runtime.known_callers.get(value)
    if caller is None:
        caller = _look_up(runtime, value)
    return caller.namespace, caller


def _look_up(runtime: Runtime, value: str) -> Caller:
    """Whose key this is, by its hash, which tells nothing of how much of a wrong key was right."""
    key = value[len(_BEARER) :].strip()
    if value[: len(_BEARER)].lower() != _BEARER or not key or len(key) > MAX_KEY_LENGTH:
        raise _refused()
    caller = runtime.callers.get(sha256(key.encode("utf-8", "surrogateescape")).hexdigest())
    if caller is None:
        raise _refused()
    if value == f"Bearer {key}":  # one spelling of each right key is remembered: nobody can fill the memory
        runtime.known_callers[value] = caller
    return caller


def _refused() -> RequestError:
    return RequestError(Code.INVALID_API_KEY, "The API key is not valid.", status=401)
