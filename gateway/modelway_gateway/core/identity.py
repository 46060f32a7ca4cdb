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
    key = value[len(_BEARER) :].strip()
    caller = runtime.known_keys.get(key)
    if value[: len(_BEARER)].lower() != _BEARER or not key or len(key) > MAX_KEY_LENGTH:
        raise _refused()
    if caller is None:
        # Only right keys are remembered, so the memory cannot be filled from outside. A look-up by the hash tells
        # nothing of how much of a wrong key was right.
        caller = runtime.callers.get(sha256(key.encode("utf-8", "surrogateescape")).hexdigest())
        if caller is None:
            raise _refused()
        runtime.known_keys[key] = caller
    return caller.namespace, caller


def _refused() -> RequestError:
    return RequestError(Code.INVALID_API_KEY, "The API key is not valid.", status=401)
