"""Judging an answer: whether it is a good one, who gave it, and when its first content came.

Rule: bytes go in with the moment they arrived, a `Verdict` comes out; nothing here waits or knows a connection. An
answer is good only if it is complete: a stream that just ends has failed, whatever its status.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
MAX_CODE_LENGTH: Final = 64
_BREAKS: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Fault(StrEnum):
    """What can go wrong that no error code of the target's tells."""

    CONNECT_ERROR = "connect_error"
    TLS_ERROR = "tls_error"
    CONNECTION_LOST = "connection_lost"
    TIMEOUT = "timeout"
    PROTOCOL_ERROR = "protocol_error"
    TOO_LARGE = "answer_too_large"
    EMPTY = "empty_answer"
    MALFORMED = "malformed_answer"
    TRUNCATED = "stream_truncated"
    STREAM_ERROR = "stream_error"
    """An error event in a stream that carries no code of its own."""
    NOT_SENT = "not_sent"
    """It was due while `max_in_flight` others were open."""


class _Error(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None


class _Words(msgspec.Struct):
    """The words of one choice: `content`, or anything else that counts as a first sign of one."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Words | None = None
    message: _Words | None = None
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    """What is read of a plain answer or of one event; everything else is passed over."""

    choices: list[_Choice] | None = None
    error: _Error | str | None = None
    model: str | None = None
    system_fingerprint: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Body)


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What an answer turned out to be."""

    error: str | None = None
    """Why it is not a good one."""
    model: str | None = None
    fingerprint: str | None = None
    first_content_at: float | None = None


def code_of(text: str) -> str:
    """`text` as a key of a report: codes come from the target, so they are cut and made printable."""
    return "".join(char if char.isprintable() else "?" for char in text)[:MAX_CODE_LENGTH] or "?"


def judge_refusal(status: int, body: bytes) -> Verdict:
    """The verdict on an answer whose status is not 200: the body's own code, or `http_<status>`."""
    try:
        error = _DECODER.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = None
    return Verdict(error=_code(error, fallback=f"http_{status}"))


def judge_plain(body: bytes) -> Verdict:
    """The verdict on a plain answer with status 200."""
    if not body.strip():
        return Verdict(error=Fault.EMPTY)
    try:
        answer = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Verdict(error=Fault.MALFORMED)
    verdict = Verdict(model=answer.model, fingerprint=answer.system_fingerprint)
    if answer.error is not None:
        verdict.error = _code(answer.error, fallback="error_in_200")
    elif not answer.choices or answer.choices[0].message is None:
        verdict.error = Fault.MALFORMED
    return verdict


class StreamJudge:
    """Reads a stream with status 200, piece by piece."""

    def __init__(self) -> None:
        self._verdict = Verdict()
        self._rest = b""
        self._fed_at = 0.0
        self._is_done = self._has_reason = self._has_events = False

    def feed(self, data: bytes, *, now: float) -> None:
        """Takes bytes that arrived at `now`."""
        self._fed_at = now
        *events, self._rest = _BREAKS.split(self._rest + data)
        for event in events:
            self._read(event, now)

    def finish(self) -> Verdict:
        """The verdict, once the stream has ended by itself; SDKs read a last event without its blank line too."""
        self._read(self._rest, self._fed_at)
        if self._verdict.error is None and not (self._is_done and self._has_reason):
            self._verdict.error = Fault.TRUNCATED if self._has_events else Fault.EMPTY
        return self._verdict

    def _read(self, event: bytes, now: float) -> None:
        lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
        if not data or self._is_done:
            return
        self._has_events = True
        if data == b"[DONE]":
            self._is_done = True
            return
        try:
            self._take(_DECODER.decode(data), now)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._fail(Fault.MALFORMED)

    def _take(self, body: _Body, now: float) -> None:
        verdict = self._verdict
        verdict.model = body.model or verdict.model
        verdict.fingerprint = body.system_fingerprint or verdict.fingerprint
        if body.error is not None:
            self._fail(_code(body.error, fallback=Fault.STREAM_ERROR))
        for choice in body.choices or ():
            self._has_reason |= choice.finish_reason is not None
            words = choice.delta
            if words is not None and verdict.first_content_at is None and _is_content(words):
                verdict.first_content_at = now

    def _fail(self, code: str) -> None:
        self._verdict.error = self._verdict.error or code


def _is_content(words: _Words) -> bool:
    return bool(words.content or words.refusal or words.tool_calls or words.reasoning_content)


def _code(error: _Error | str | None, *, fallback: str) -> str:
    """The code an error carries, or its type, or `fallback`."""
    if not isinstance(error, _Error):
        return fallback
    return code_of(str(error.code or error.type or fallback))
