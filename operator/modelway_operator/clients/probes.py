"""Probes of candidates on their way, and their answers: they take longer than a turn may.

Rule: a turn asks for what it would like to know and gets what is known; it never waits.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from modelway_contract.config import ProbeResult
from modelway_operator.clients.gateways import Endpoint, Gateways

PROBE_AGAIN_SECONDS: Final = 5.0


class Probes:
    """One probe of each model at a time, by any gateway that is ready."""

    def __init__(self, gateways: Gateways, *, on_answer: Callable[[], None], clock: Callable[[], float]) -> None:
        self._gateways = gateways
        self._on_answer = on_answer
        self._clock = clock
        self._answers: dict[str, tuple[ProbeResult, float]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def answers(self, models: tuple[str, ...], endpoints: list[Endpoint]) -> Mapping[str, ProbeResult]:
        """What is known of these; what is not, or failed a while ago, is asked now for a later turn."""
        self._answers = {model: answer for model, answer in self._answers.items() if model in models}
        now = self._clock()
        for model in models:
            known = self._answers.get(model)
            is_due = known is None or (not known[0].ok and now - known[1] >= PROBE_AGAIN_SECONDS)
            if is_due and endpoints and model not in self._tasks:
                self._tasks[model] = asyncio.create_task(self._probe(model, endpoints[0]), name=f"probe {model}")
        return {model: answer for model, (answer, _) in self._answers.items()}

    async def _probe(self, model: str, endpoint: Endpoint) -> None:
        try:
            answer = await self._gateways.probe(endpoint, model)
            self._answers[model] = (answer, self._clock())
        finally:
            del self._tasks[model]
        self._on_answer()
