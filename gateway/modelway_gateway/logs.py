"""Structured logs: one JSON object a line, on standard error.

The rule: never a line per request (but at DEBUG one per decision), and never a value that a client, an upstream or a
Secret supplied.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

_FIELDS: Final = "modelway_fields"
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


Field = str | float | Mapping[str, str] | None


def event(log: logging.Logger, level: int, name: str, **fields: Field) -> None:
    """Log one event; `fields` become members of the object."""
    log.log(level, "%s", name, extra={_FIELDS: fields})


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update(getattr(record, _FIELDS, {}))
        if record.exc_info and record.exc_info[0] is not None:
            # The text of an exception may quote what it failed on; its type and place say enough.
            line["error"] = record.exc_info[0].__name__
            traceback = record.exc_info[2]
            frames = []
            while traceback is not None:
                frames.append(f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}")
                traceback = traceback.tb_next
            line["at"] = frames[-6:]
        return _encoder.encode(line).decode()


def configure(level: str) -> None:
    """Send everything to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
