"""One run: every test against every contestant in turns, round after round.

The rule: what is compared was measured seconds apart, and a window in which others worked on the gateway's core is done
again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import host
from bench.contestants import Contestant
from bench.plan import Test
from bench.windows import Load, Window, expect, measure, running_load

TOO_MUCH_FOREIGN: Final = 0.1
"""A window in which others had more of the gateway's core is done again,"""
MOST_RETAKES: Final = 1
"""so often at most; the quietest one counts."""
_SETTLE_SECONDS: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What every window needs."""

    programs: Path
    folder: Path
    key: str
    """Of the client that asks."""


class Run:
    """What is being measured, and what was found so far."""

    def __init__(self, tools: Tools, *, upstream: Contestant, gateways: Sequence[Contestant]) -> None:
        self._tools = tools
        self._upstream = upstream
        self._gateways = list(gateways)
        self.figures: dict[str, dict[str, list[float]]] = {}
        self.foreign_shares: list[float] = []
        self.fixed_work_us: list[float] = []
        self.answered = 0
        self.retaken = 0

    def hold_streams(self, load: Load) -> None:
        """What each gateway needs at rest, and more for each stream; it must have done nothing before."""
        tools = self._tools
        for contestant in self._gateways:
            _say(f"  memory, {contestant.name}")
            before = host.memory_bytes(contestant.pids)
            with running_load(load, contestant, programs=tools.programs, folder=tools.folder, key=tools.key) as process:
                expect(process, "measuring")
                expect(process, "held")
                time.sleep(_SETTLE_SECONDS)
                held = host.memory_bytes(contestant.pids)
            self._note(contestant, "memory_mb", before / 1e6)
            self._note(contestant, "held_stream_kb", (held - before) / load.connections / 1e3)

    def measure(self, tests: Sequence[Test], *, rounds: int) -> None:
        """All rounds; who comes first changes each time."""
        turn = 0
        for number in range(rounds):
            for test in tests:
                _say(f"  round {number + 1} of {rounds}: {test.name}")
                for _ in range(test.times):
                    turn += 1
                    order = self._gateways if turn % 2 else self._gateways[::-1]
                    for contestant in ([self._upstream] if test.also_direct else []) + order:
                        self._take(test, contestant)

    def _take(self, test: Test, contestant: Contestant) -> None:
        window = self._window(test, contestant)
        for _ in range(MOST_RETAKES if contestant.process is not None else 0):
            if window.foreign_share <= TOO_MUCH_FOREIGN:
                break
            self.retaken += 1
            window = min(window, self._window(test, contestant), key=lambda each: each.foreign_share)
        for name, value in test.figures(window):
            self._note(contestant, name, value)
        self.fixed_work_us.append(window.fixed_work_us)
        if contestant.process is not None:
            self.foreign_shares.append(window.foreign_share)

    def _window(self, test: Test, contestant: Contestant) -> Window:
        tools = self._tools
        window = measure(test.load, contestant, programs=tools.programs, folder=tools.folder, key=tools.key)
        self.answered += window.outcome.answered
        return window

    def _note(self, contestant: Contestant, name: str, value: float) -> None:
        self.figures.setdefault(contestant.name, {}).setdefault(name, []).append(round(value, 3))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
