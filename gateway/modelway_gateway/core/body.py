"""Reads a request's body once, into its top-level fields as raw spans, and writes it again for one backend.

The rule: what no rule of ours looks at is passed on byte by byte, but only after it was seen to be JSON, UTF-8, not
too deep, and with each top-level name once (the last one counts, for us and for the upstream).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from modelway_gateway.core.features import Fields
from modelway_gateway.core.route import MAX_NAME_LENGTH
from modelway_gateway.core.routes import Backend, Model
from modelway_gateway.errors import Code, RequestError

MAX_DEPTH: Final = 64
"""Of objects and arrays in each other. Many upstreams die of some hundreds, and that would look like their fault."""

UPSTREAM_OVERRIDES: Final = frozenset(
    {
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "azure_endpoint",
        "base_url",
        "custom_llm_provider",
        "extra_body",
        "extra_headers",
        "extra_query",
        "proxy_url",
    }
)
"""Names by which other gateways let a client send its request, or somebody's key, elsewhere."""

_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_text = msgspec.json.Decoder(str).decode
write_fields = msgspec.json.Encoder().encode
_BRACKETS: Final = bytes.maketrans(b"[]{}", b"()()")
_NO_BRACKETS: Final = bytes(each for each in range(256) if each not in b'[]{}"')
_STRING: Final = re.compile(rb'"[^"]*"')


def read_fields(body: bytes) -> Fields:
    """The top-level fields of a JSON object. Raises RequestError."""
    if not body:
        raise RequestError(Code.EMPTY_BODY, "The request has no body; send a JSON object.")
    try:
        fields = _read_fields(body)
        if not body.isascii():
            body.decode()
    except msgspec.ValidationError:
        raise RequestError(Code.INVALID_JSON, "The body must be a JSON object.") from None
    except UnicodeDecodeError:
        raise RequestError(Code.INVALID_JSON, "The body must be UTF-8.") from None
    except msgspec.DecodeError:
        message = "The body is not valid JSON; check its syntax, and that no escape is half of a surrogate pair."
        raise RequestError(Code.INVALID_JSON, message) from None
    except RecursionError:
        raise _too_deep() from None
    if _may_be_deep(body) and is_deeper_than(body, MAX_DEPTH):
        raise _too_deep()
    return fields


def check_chat(fields: Fields) -> tuple[str, bool]:
    """The model's name and whether a stream is asked for. Raises RequestError."""
    if not UPSTREAM_OVERRIDES.isdisjoint(fields):
        name = min(UPSTREAM_OVERRIDES.intersection(fields))
        raise RequestError(
            Code.UPSTREAM_OVERRIDE, f"{name} is not allowed here: the gateway decides where a request goes.", param=name
        )
    model = _read_model(fields)
    _check_messages(fields)
    raw = fields.get("stream")
    if raw is None:
        return model, False
    stream = bytes(raw)
    if stream not in (b"true", b"false", b"null"):
        raise RequestError(Code.INVALID_TYPE, "stream must be true or false.", param="stream")
    return model, stream == b"true"


def write_for(backend: Backend, model: Model, fields: Fields) -> bytes:
    """The body as this backend gets it: its own name of the model, and defaults where the client said nothing."""
    fields = fields.copy()
    fields["model"] = backend.upstream_model
    for name, raw in model.parameters:
        fields.setdefault(name, raw)
    return write_fields(fields)


def read_answer(body: bytes) -> Fields | None:
    """The top-level fields of an upstream's answer; None when it is not a JSON object in UTF-8."""
    try:
        fields = _read_fields(body)
        if not body.isascii():
            body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return fields


def is_deeper_than(body: bytes, depth: int) -> bool:
    """Whether objects and arrays stand in each other more than `depth` deep. `body` must be valid JSON."""
    # Without escaped backslashes and quotes a string ends at the next quote.
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    brackets = _STRING.sub(b"", text.translate(None, _NO_BRACKETS)).translate(_BRACKETS)
    for _ in range(depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"()", b"")  # takes away the innermost level everywhere
    return bool(brackets)


def _may_be_deep(body: bytes) -> bool:
    """Cheap and rough: whether there are enough brackets at all, counted only as far as needed."""
    left = MAX_DEPTH
    for bracket in b"{[":  # as numbers, which are found faster than bytes are
        position = body.find(bracket)
        while position >= 0:
            left -= 1
            if left < 0:
                return True
            position = body.find(bracket, position + 1)
    return False


def _too_deep() -> RequestError:
    return RequestError(Code.BODY_TOO_DEEP, f"The body is nested more than {MAX_DEPTH} deep.")


def _read_model(fields: Fields) -> str:
    raw = fields.get("model")
    if raw is None:
        raise RequestError(Code.MISSING_FIELD, "model is missing.", param="model")
    try:
        model = _read_text(raw)
    except msgspec.ValidationError:
        raise RequestError(Code.INVALID_TYPE, "model must be a string.", param="model") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestError(Code.INVALID_VALUE, "model is not valid text.", param="model") from None
    if not model:
        raise RequestError(Code.INVALID_VALUE, "model must not be empty.", param="model")
    if len(model) > MAX_NAME_LENGTH:
        raise RequestError(Code.INVALID_VALUE, f"model is longer than {MAX_NAME_LENGTH} characters.", param="model")
    return model


def _check_messages(fields: Fields) -> None:
    raw = fields.get("messages")
    if raw is None:
        raise RequestError(Code.MISSING_FIELD, "messages is missing.", param="messages")
    view = memoryview(raw)
    if view[0] != ord("["):
        raise RequestError(Code.INVALID_TYPE, "messages must be an array.", param="messages")
    if len(view) <= 64 and not bytes(view)[1:-1].strip():
        raise RequestError(Code.INVALID_VALUE, "messages must not be empty.", param="messages")
