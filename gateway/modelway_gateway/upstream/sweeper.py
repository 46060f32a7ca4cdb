"""The one timer: every deadline of the process is looked at from here, ten times a second.

The rule: nothing on the request path makes a timer of its own; it keeps a time and offers `sweep(now)`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

_log = logging.getLogger("modelway_gateway.sweeper")
PERIOD_SECONDS = 0.1


class Sweeper:
    """Calls each `sweep(loop.time())` every 100 ms between `start` and `stop`."""

    def __init__(self, *sweeps: Callable[[float], None]) -> None:
        self._sweeps = sweeps
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._next(asyncio.get_running_loop())

    def stop(self) -> None:
        """Sweep no more. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(PERIOD_SECONDS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next(loop)  # first, so that a failing sweep does not end all others
        for sweep in self._sweeps:
            try:
                sweep(loop.time())
            except Exception:
                _log.exception("A sweep failed")
