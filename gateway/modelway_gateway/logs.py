"""Structured logs: one JSON object a line, on standard error; crashes too.

The rule: never a line per request (but at DEBUG one per decision), and never a value that a client, an upstream or a
Secret supplied. Of an exception only type and place are said, since its text may quote what it failed on; of what a
library says only what is written in the library itself.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

import msgspec

_FIELDS: Final = "modelway_fields"
_OURS: Final = ("modelway_gateway", "modelway_operator", "modelway_cli", "modelway_contract")
_HEADS: Final = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending",
    "Exception in callback",
    "Exception in default exception handler",
    "Fatal error on transport",
    "Fatal error: protocol.data_received() call failed",
    "Fatal read error",
    "Fatal write error",
    "Unhandled exception",
    "Unclosed",
)
"""How event loops and aiohttp begin messages that go on with a `repr` of what they were about."""
_SAID_BY_A_LIBRARY: Final = "library_message"
_LAST_FRAMES: Final = 6

_log: Final = logging.getLogger(__name__)
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


Field = str | float | Mapping[str, str] | None


def event(log: logging.Logger, level: int, name: str, **fields: Field) -> None:
    """Log one event; `fields` become members of the object."""
    log.log(level, "%s", name, extra={_FIELDS: fields})


def presentable(record: logging.LogRecord) -> str:
    """The record's message: ours as it is, a library's without what it put in."""
    if record.name.partition(".")[0] in _OURS:
        return record.getMessage()
    if record.args:
        return str(record.msg)
    return next((head for head in _HEADS if str(record.msg).startswith(head)), _SAID_BY_A_LIBRARY)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": presentable(record),
        }
        if record.name.partition(".")[0] not in _OURS:
            line["said_at"] = f"{record.pathname}:{record.lineno}"
        line.update(getattr(record, _FIELDS, {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["at"] = places(record.exc_info[2])
        return _encoder.encode(line).decode()


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Standard error. A record that cannot be written is not quoted either, as `logging` would do."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        kind = sys.exc_info()[0]
        lost = {
            "level": "error",
            "logger": record.name,
            "event": "log_line_lost",
            "error": kind.__name__ if kind else "",
        }
        self.stream.write(_encoder.encode(lost).decode() + "\n")


def configure(level: str) -> None:
    """Send everything to standard error as JSON, crashes included."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    log_crashes()


def log_crashes() -> None:
    """Log what nobody catches like everything else, instead of Python's own words, which hold the exception's text."""
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_a_thread


def forbid_core_dumps() -> None:
    """Whatever ends this process: its memory, which holds prompts and keys, is not written to a disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _uncaught(kind: type[BaseException], exc: BaseException, traceback: TracebackType | None) -> None:
    _log.critical("uncaught_exception", exc_info=(kind, exc, traceback))


def _unraisable(raised: sys.UnraisableHookArgs) -> None:
    if raised.exc_value is not None:
        _log.error("unraisable_exception", exc_info=(raised.exc_type, raised.exc_value, raised.exc_traceback))


def _uncaught_in_a_thread(raised: threading.ExceptHookArgs) -> None:
    if raised.exc_value is not None:
        _log.error("uncaught_exception", exc_info=(raised.exc_type, raised.exc_value, raised.exc_traceback))


def places(traceback: TracebackType | None) -> list[str]:
    """Where it came from: file and line of the last frames."""
    frames = []
    while traceback is not None:
        frames.append(f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return frames[-_LAST_FRAMES:]
