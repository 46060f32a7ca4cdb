"""Asks a model's backends for their list of models, from where traffic will come and with the same credentials.

The rule: a result tells the status and our own words for a failure, never a byte that the upstream sent.
"""

from __future__ import annotations

import asyncio
from typing import Final

from modelway_contract.config import ProbeResult
from modelway_gateway.core.routes import Backend
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.upstream.client import UpstreamClient
from modelway_gateway.upstream.interface import Headers, Origin, UpstreamFailure

DEADLINE_SECONDS: Final = 5.0


async def probe(
    runtime: Runtime, upstream: UpstreamClient, model: str, *, deadline_seconds: float = DEADLINE_SECONDS
) -> ProbeResult:
    """Well if one backend of this model answers below 500 and neither 401 nor 403."""
    found = runtime.compiled.models.get(model)
    if found is None:
        return ProbeResult(ok=False, message="This gateway's config has no such model.")
    worst = ProbeResult(ok=False, message="The model has no backend with an address.")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_seconds
    for backend in found.backends:
        addresses = runtime.addresses.get(backend.id)
        if backend.discovered and addresses is None:
            continue
        result = await _probe_one(upstream, backend, addresses[0] if addresses else None, deadline - loop.time())
        if result.ok:
            return result
        worst = result
        if loop.time() >= deadline:
            break
    return worst


class _Probe:
    """Sink that needs the head only."""

    def __init__(self, done: asyncio.Future[int | UpstreamFailure]) -> None:
        self._done = done

    def on_head(self, status: int, headers: Headers) -> None:  # noqa: ARG002 - a sink's signature
        self._set(status)

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_failure(self, failure: UpstreamFailure) -> None:
        self._set(failure)

    def _set(self, result: int | UpstreamFailure) -> None:
        if not self._done.done():
            self._done.set_result(result)


async def _probe_one(
    upstream: UpstreamClient, backend: Backend, address: tuple[str, int] | None, seconds: float
) -> ProbeResult:
    done: asyncio.Future[int | UpstreamFailure] = asyncio.get_running_loop().create_future()
    assert isinstance(backend.origin, Origin)
    exchange = upstream.exchange(backend.origin, address, backend.probe_head, b"", _Probe(done))
    try:
        async with asyncio.timeout(seconds):
            result = await done
    except TimeoutError:
        return ProbeResult(ok=False, message=f"Backend {backend.name} did not answer in time.")
    finally:
        exchange.abort()
    if isinstance(result, UpstreamFailure):
        return ProbeResult(ok=False, message=result.message)
    message = f"Backend {backend.name} answered with status {result}."
    return ProbeResult(ok=result < 500 and result not in (401, 403), status=result, message=message)
