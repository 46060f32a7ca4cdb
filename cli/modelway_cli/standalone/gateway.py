"""The one gateway, in this process: pushes and probes are function calls.

Rule: it is told and answers what a replica behind the admin port would be told and answer, so that the operator cannot
tell the difference: an acknowledgement, a rejection with its reason, or a refusal of what is older than what it runs.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Final

from modelway_contract.config import Fenced, ProbeResult, Push, Rejection
from modelway_gateway.errors import ConfigError, PushFencedError
from modelway_gateway.probe import probe
from modelway_gateway.server import Gateway
from modelway_operator.clients.gateways import HEARTBEAT_SECONDS, Endpoint, Gateways, Report

POD: Final = "local"
"""The replica's name."""


class LocalGateway(Gateways):
    """All replicas: one."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        on_change: Callable[[], None],
        on_answer: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(on_change=on_change, on_answer=on_answer)
        self._gateway = gateway
        self._endpoints: tuple[Endpoint, ...] = ()
        self._push: Push | None = None
        self._fenced: Fenced | None = None
        self._rejections: tuple[Rejection, ...] = ()
        self._wake = asyncio.Event()
        self._delivered = asyncio.Event()
        self._task = asyncio.create_task(self._deliver(), name="local gateway")

    async def close(self) -> None:
        """Push nothing any more."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def set_identity(self, context: ssl.SSLContext) -> None:
        """There is nobody to show it to."""

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Take note of what the replica is called."""
        self._endpoints = tuple(endpoints)

    def reports(self) -> tuple[Report, ...]:
        """What the replica would say if it was asked now."""
        return tuple(
            Report(
                endpoint=endpoint,
                ack=self._gateway.live.status(),
                answered_at=self.clock(),
                fenced=self._fenced,
                rejections=self._rejections,
            )
            for endpoint in self._endpoints[:1]
        )

    @property
    def offered(self) -> Push | None:
        """What is offered now."""
        return self._push

    def propose(self, push: Push | None) -> None:
        """Offer this, now and at every heartbeat; None ends all pushing."""
        self._push = push
        self._delivered.clear()
        self._wake.set()

    async def meet(self, *, within_seconds: float) -> None:
        """It is known already."""

    async def settle(self, *, within_seconds: float) -> None:
        """Wait until the replica has answered what is offered now, or the time is over."""
        if self._push is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_seconds):
                    await self._delivered.wait()

    async def probe(self, endpoint: Endpoint, model: str) -> ProbeResult:
        """Ask a model's backends."""
        del endpoint
        runtime = self._gateway.live.current
        if runtime is None:
            return ProbeResult(ok=False, message="the gateway has no config yet")
        return await probe(runtime, self._gateway.upstream, model)

    async def _deliver(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it loses a cancel that comes together with the event.
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            push = self._push
            if push is None:
                continue
            before = (self._gateway.live.status(), self._rejections, self._fenced)
            self.count(await self._apply(push))
            if push is self._push:
                self._delivered.set()
            if before != (self._gateway.live.status(), self._rejections, self._fenced):
                self.on_change()

    async def _apply(self, push: Push) -> int:
        """Push, and what the admin port's HTTP status would have been."""
        try:
            await self._gateway.live.apply_push(push)
        except PushFencedError as error:
            self._fenced = Fenced(epoch=error.epoch, sequence=error.sequence)
            return 409
        except ConfigError as error:
            self._rejections = tuple(error.errors)
            return 422
        self._fenced, self._rejections = None, ()
        return 200
