"""What a request is, as far as a decision may look at it. Costly facts are found at most once, and only when asked for.

The rule: a header counts only when it came exactly once; of two that differ, nobody could say which one was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

BYTES_PER_TOKEN: Final = 4
"""A rough estimate, low for code and high for Chinese: it keeps a request from a model that is far too small for it,
and leaves the close calls to the upstream, which counts exactly."""

Fields = dict[str, msgspec.Raw]
_EMPTY: Final = (b"null", b"[]", b"{}")


class HeaderSource(Protocol):
    """A request's headers, names in any case."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        """All values of one header."""


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A client that gave a key. Names, groups and tiers mean something in its own namespace only."""

    namespace: str
    name: str
    groups: frozenset[str] = frozenset()
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model must be able to do for this request."""

    tools: bool
    images: bool
    json_schema: bool
    input_tokens: int
    """Estimated by `BYTES_PER_TOKEN`; 0 where images make the size meaningless."""
    output_tokens: int
    """What the client asked for at most; 0 when it did not say."""


class Question:
    """One request, before it is decided."""

    __slots__ = ("_needs", "body", "caller", "fields", "headers", "model", "namespace")

    def __init__(
        self,
        *,
        namespace: str,
        model: str,
        caller: Caller | None,
        headers: HeaderSource,
        fields: Fields,
        body: bytes,
    ) -> None:
        self.namespace = namespace
        self.model = model
        self.caller = caller
        self.headers = headers
        self.fields = fields
        self.body = body
        self._needs: Needs | None = None

    def header(self, name: str) -> str | None:
        """The header's value, or None when it did not come exactly once."""
        values = self.headers.getall(name, ())
        return values[0] if len(values) == 1 else None

    @property
    def needs(self) -> Needs:
        if self._needs is None:
            self._needs = _find_needs(self.fields, self.body)
        return self._needs


def _find_needs(fields: Fields, body: bytes) -> Needs:
    # In JSON every quote inside a string has a backslash before it, so this finds the word as a whole string only.
    images = b'"image_url"' in body
    return Needs(
        tools=_is_given(fields, "tools") or _is_given(fields, "functions"),
        images=images,
        json_schema=_wants_schema(fields),
        input_tokens=0 if images else len(body) // BYTES_PER_TOKEN,
        output_tokens=max(_number(fields, "max_completion_tokens"), _number(fields, "max_tokens")),
    )


def _is_given(fields: Fields, name: str) -> bool:
    raw = fields.get(name)
    return raw is not None and bytes(raw) not in _EMPTY


class _ResponseFormat(msgspec.Struct):
    type: str = ""


_read_format = msgspec.json.Decoder(_ResponseFormat).decode
_read_number = msgspec.json.Decoder(int).decode


def _wants_schema(fields: Fields) -> bool:
    raw = fields.get("response_format")
    if raw is None:
        return False
    try:
        return _read_format(raw).type == "json_schema"
    except msgspec.ValidationError:  # the upstream will say what is wrong with it
        return False


def _number(fields: Fields, name: str) -> int:
    raw = fields.get(name)
    if raw is None:
        return 0
    try:
        return max(0, _read_number(raw))
    except (msgspec.ValidationError, msgspec.DecodeError):  # the upstream will say what is wrong with it
        return 0
