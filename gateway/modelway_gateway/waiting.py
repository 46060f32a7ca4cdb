"""A request that waits for a classifier: nothing of it can be decided before there is an answer.

The rule: whatever ends the wait (the answer, the client, its deadline, the shutdown) ends it once, and then nothing is
left running for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from modelway_gateway.answering import SHUTTING_DOWN, Floor
from modelway_gateway.classifiers import Classifiers
from modelway_gateway.client.call import Call
from modelway_gateway.core.classifiers import Asking
from modelway_gateway.core.verdicts import Verdict
from modelway_gateway.errors import AnsweredError


class Waiting:
    """One wait of one request."""

    def __init__(
        self,
        floor: Floor,
        classifiers: Classifiers,
        call: Call,
        *,
        go_on: Callable[[Verdict | None], None],
        refuse: Callable[[AnsweredError], None],
    ) -> None:
        """Exactly one of the two is called, once, and none when the client has gone away.

        `go_on` hears None when the client's time was over first; `refuse` is for the shutdown.
        """
        self._floor = floor
        self._classifiers = classifiers
        self._call = call
        self._go_on = go_on
        self._refuse = refuse
        self._task: asyncio.Task[None] | None = None

    def begin(self, asking: Asking, *, seconds_left: float | None) -> None:
        """Ask, and wait for so long at most; None is as long as the classifier may take."""
        self._floor.active.add(self)
        self._floor.metrics.inflight += 1
        self._task = asyncio.get_running_loop().create_task(self._run(asking, seconds_left))
        self._call.on_disconnect(self._break_off)

    def shut_down(self) -> None:
        """End now, with an error that the client can see."""
        self._break_off()
        self._refuse(SHUTTING_DOWN.error)

    async def _run(self, asking: Asking, seconds_left: float | None) -> None:
        try:
            verdict: Verdict | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_left):
                    verdict = await self._classifiers.ask(asking)
            self._leave()
            self._go_on(verdict)
        except Exception as exc:  # as of any handler; nobody else looks at this task
            self._leave()
            self._call.fail(exc)

    def _break_off(self) -> None:
        assert self._task is not None
        self._leave()
        self._task.cancel()

    def _leave(self) -> None:
        active = self._floor.active
        if self in active:
            active.discard(self)
            self._floor.metrics.inflight -= 1
