"""Reads server-sent events: where one ends, and what a chat completion chunk in it says.

The rule: events are handed on as the bytes they came in, never rebuilt; only their end and their data are found here.
What an upstream sends is not trusted to have any shape: a reader answers "no" or None for what it cannot read.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

SseEvent = tuple[bytes, bytes | None]
"""The event as it came, with the blank line that ends it; and its data, None for comments and other events without."""

MAX_EVENT_BYTES = 1024 * 1024
DONE = b"[DONE]"

# Of the ways to look into bytes: `number in data` costs 20 ns, `data.find(word)` 80, and `word in data` 160, because it
# tries to read the word as a number first.
_CR = ord("\r")

# A lone CR ends a line too, but one at the end of what has come so far may be half of a CRLF: the next byte decides.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class SseEventTooLargeError(ValueError):
    """An event grew past the limit before it ended."""


class SseSplitter:
    """Cuts a stream of bytes into events, whatever the pieces it comes in."""

    __slots__ = ("_cr_seen", "_max_event_bytes", "_pending")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()
        self._cr_seen = False

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished event is held."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that are complete now."""
        if not self._cr_seen and _CR in data:
            self._cr_seen = True
        buffer: bytes | bytearray = data
        look_from = 0
        if self._pending:
            look_from = max(0, len(self._pending) - 3)  # the end may have begun in what was here before
            self._pending += data
            buffer = self._pending
        elif _is_plain(data) and not self._cr_seen and len(data) <= self._max_event_bytes:
            return [(data, data[6:-2])]  # by far the most common: one piece, one event
        events: list[SseEvent] = []
        start = 0
        while (end := self._end(buffer, max(start, look_from))) > 0:
            self._check_size(end - start)
            raw = bytes(buffer[start:end])
            events.append((raw, event_data(raw)))
            start = end
        self._check_size(len(buffer) - start)
        if buffer is self._pending:
            del self._pending[:start]
        elif start < len(data):
            self._pending += data[start:]
        return events

    def finish(self) -> SseEvent | None:
        """What is left when the stream ends: an event without its blank line, or nothing."""
        raw = bytes(self._pending)
        self._pending.clear()
        return (raw, event_data(raw)) if raw else None

    def _end(self, buffer: bytes | bytearray, start: int) -> int:
        if not self._cr_seen:
            found = buffer.find(b"\n\n", start)
            return found + 2 if found >= 0 else 0
        match = _EVENT_END.search(buffer, start)
        return match.end() if match is not None else 0

    def _check_size(self, size: int) -> None:
        if size > self._max_event_bytes:
            raise SseEventTooLargeError(f"an event is larger than {self._max_event_bytes} bytes")


def event_data(raw: bytes) -> bytes | None:
    """The data of one event: its `data` lines, joined by LF."""
    if _is_plain(raw) and _CR not in raw:
        return raw[6:-2]
    values = [
        line[6:] if line.startswith(b"data: ") else line[5:]
        for line in _LINE_END.split(raw.removeprefix(_BOM))
        if line.startswith(b"data:") or line == b"data"
    ]
    return b"\n".join(values) if values else None


def _is_plain(raw: bytes) -> bool:
    return raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and raw.endswith(b"\n\n")


_UNREADABLE = (msgspec.MsgspecError, RecursionError)
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # no upstream counts further, and what fits no float would raise


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the upstream counted them."""

    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0


# Leaves are raw: what they hold is only compared with "nothing", so no shape of theirs can be an error.
_ABSENT = msgspec.Raw()
_NOTHING = frozenset((b"", b"null", b'""', b"[]", b"{}"))


class _Delta(msgspec.Struct):
    content: msgspec.Raw = _ABSENT
    tool_calls: msgspec.Raw = _ABSENT
    function_call: msgspec.Raw = _ABSENT
    reasoning_content: msgspec.Raw = _ABSENT
    reasoning: msgspec.Raw = _ABSENT
    refusal: msgspec.Raw = _ABSENT
    audio: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: msgspec.Raw = _ABSENT


class _ContentChunk(msgspec.Struct):
    choices: list[_Choice] | None = None


class _ErrorChunk(msgspec.Struct):
    error: msgspec.Raw = _ABSENT
    object: msgspec.Raw = _ABSENT


class _UsageChunk(msgspec.Struct):
    usage: Usage | None = None


_read_content = msgspec.json.Decoder(_ContentChunk).decode
_read_error = msgspec.json.Decoder(_ErrorChunk).decode
_read_usage = msgspec.json.Decoder(_UsageChunk).decode


def is_done(data: bytes) -> bool:
    """Whether this is the word that ends an OpenAI stream."""
    return data.strip() == DONE


def has_content(data: bytes) -> bool:
    """Whether a chunk carries anything of the answer, as against a role, an empty delta or figures."""
    try:
        choices = _read_content(data).choices
    except _UNREADABLE:
        return False
    for choice in choices or ():
        delta = choice.delta
        if bytes(choice.text) not in _NOTHING or (
            delta is not None
            and (
                bytes(delta.content) not in _NOTHING
                or bytes(delta.tool_calls) not in _NOTHING
                or bytes(delta.reasoning_content) not in _NOTHING
                or bytes(delta.reasoning) not in _NOTHING
                or bytes(delta.refusal) not in _NOTHING
                or bytes(delta.function_call) not in _NOTHING
                or bytes(delta.audio) not in _NOTHING
            )
        ):
            return True
    return False


def has_error(data: bytes) -> bool:
    """Whether an upstream says inside a 200 that it failed."""
    if data.find(b"error") < 0:  # any spelling of the word with escapes is not one that servers use
        return False
    try:
        chunk = _read_error(data)
    except _UNREADABLE:
        return False
    return bytes(chunk.error) not in _NOTHING or bytes(chunk.object) == b'"error"'


def usage_of(data: bytes) -> Usage | None:
    """The token counts of a chunk or of a whole answer, where it has them."""
    if data.find(b'"usage"') < 0:
        return None
    try:
        return _read_usage(data).usage
    except _UNREADABLE:
        return None


class Tally:
    """Counts one stream as it passes: what it said of itself, or else what was seen."""

    __slots__ = ("content_chunks", "usage")

    def __init__(self) -> None:
        self.content_chunks = 0
        self.usage: Usage | None = None

    def add(self, data: bytes) -> bool:
        """Take a chunk's data into account; True when it has content."""
        self.usage = usage_of(data) or self.usage
        content = has_content(data)
        self.content_chunks += content
        return content

    @property
    def completion_tokens(self) -> int:
        """The upstream's own count, or the number of chunks with content."""
        return self.usage.completion_tokens if self.usage is not None else self.content_chunks
