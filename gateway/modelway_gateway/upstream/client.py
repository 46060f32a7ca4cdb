"""The client: takes a warm connection or opens one, and keeps what is under way and what rests.

The rule: `exchange` never waits. Only opening a connection costs a task; a call on a warm one is a single write.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from modelway_gateway.upstream.connection import Connection
from modelway_gateway.upstream.exchange import LiveExchange
from modelway_gateway.upstream.interface import Address, Exchange, FailureKind, Origin, Sink
from modelway_gateway.upstream.pool import Pool
from modelway_gateway.upstream.resolve import Resolver

_TIDY_SECONDS = 1.0
_MAX_ADDRESSES_TRIED = 4


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures at one moment; the totals count from the start."""

    exchanges: int
    idle_connections: int
    opened_total: int
    reused_total: int
    resent_total: int


class UpstreamClient:
    """Calls upstreams. `sweep(loop.time())` must be called about every 100 ms."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._resolver = resolver or Resolver()
        self._pools: dict[tuple[Origin, Address | None], Pool] = {}
        self._exchanges: set[LiveExchange] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._tidy_at = 0.0
        self._opened = self._reused = self._resent = 0

    def exchange(
        self,
        origin: Origin,
        address: Address | None,
        head: bytes,
        body: bytes,
        sink: Sink,
        *,
        streamed: bool = True,
        total_seconds: float | None = None,
    ) -> Exchange:
        """Send `head` (with its blank line) and `body`; the sink hears of the answer.

        `address` is one endpoint of a Service; without it the origin's host is resolved. The method must not be HEAD.
        The first-token time-out is for `streamed` answers: another one begins only when all of it has been made.
        `total_seconds` is for a call that may take less than the origin says in all.
        """
        exchange = LiveExchange(
            self._exchanges.discard, self._loop, origin, address, head, body, sink, streamed, total_seconds
        )
        self._exchanges.add(exchange)
        pool = self._pools.get((origin, address))
        connection = pool.take() if pool is not None else None
        if connection is None:
            self._open(exchange)
        else:
            self._reused += 1
            connection.start(exchange, reused=True)
        return exchange

    def close_idle(self, keep: Iterable[Origin]) -> None:
        """Close what rests for origins that the config no longer has; what is in use closes after its answer."""
        kept = set(keep)
        for key, pool in list(self._pools.items()):
            if key[0] not in kept:
                del self._pools[key]
                pool.retire()

    async def close(self) -> None:
        """End everything: exchanges under way fail as aborted."""
        for exchange in list(self._exchanges):
            exchange.abort()
        self.close_idle(())
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await self._resolver.close()

    def sweep(self, now: float) -> None:
        """Enforce the deadlines of exchanges, and let connections go that have rested too long."""
        for exchange in [each for each in self._exchanges if each.check_at <= now]:
            if not exchange.over:
                exchange.check(now)
        if now >= self._tidy_at:
            self._tidy_at = now + _TIDY_SECONDS
            for key, pool in list(self._pools.items()):
                pool.close_old(now)
                if pool.is_empty:  # endpoints come and go; nothing of a gone one may stay
                    del self._pools[key]

    @property
    def stats(self) -> Stats:
        return Stats(
            exchanges=len(self._exchanges),
            idle_connections=sum(pool.idle_count for pool in self._pools.values()),
            opened_total=self._opened,
            reused_total=self._reused,
            resent_total=self._resent,
        )

    # For pools

    def resend(self, exchange: LiveExchange) -> None:
        """The warm connection was closing when the request was sent on it: once more, on a new one."""
        self._resent += 1
        exchange.begin_resend(self._loop.time())
        self._open(exchange)

    # Opening

    def _open(self, exchange: LiveExchange) -> None:
        task = exchange.connect_task = self._loop.create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, exchange: LiveExchange) -> None:
        origin, connection = exchange.origin, None
        kind, what = FailureKind.CLOSED_EARLY, "closed the connection at once"
        try:
            addresses = (
                [exchange.address] if exchange.address else await self._resolver.resolve(origin.host, origin.port)
            )
            if addresses:
                connection = await self._connect_to_any(exchange, addresses)
            else:
                kind, what = FailureKind.DNS_ERROR, "has a name that could not be resolved"
        except ssl.SSLCertVerificationError as exc:
            kind, what = FailureKind.TLS_ERROR, f"has a certificate that cannot be trusted ({exc.verify_message})"
        except ssl.SSLError as exc:
            kind, what = FailureKind.TLS_ERROR, f"failed the TLS handshake ({exc.reason or 'no reason given'})"
        except OSError as exc:
            reason = os.strerror(exc.errno) if exc.errno else "the connection was closed at once"
            kind, what = FailureKind.CONNECT_ERROR, f"could not be connected to ({reason})"
        except ValueError:  # a host that is no name, or a server name that cannot be sent
            kind, what = FailureKind.CONNECT_ERROR, "has an address that cannot be used"
        exchange.connect_task = None
        if connection is None:
            exchange.fail(kind, what)
        elif exchange.over or not connection.is_open:
            connection.close()
            exchange.fail(kind, what)
        else:
            connection.start(exchange, reused=False)

    async def _connect_to_any(self, exchange: LiveExchange, addresses: list[Address]) -> Connection:
        error: OSError = ConnectionError()
        for address in addresses[:_MAX_ADDRESSES_TRIED]:
            try:
                return await self._connect_to(exchange, address)
            except ssl.SSLError:
                raise
            except OSError as exc:
                error = exc
                self._resolver.demote(exchange.origin.host, exchange.origin.port, address)
        raise error

    async def _connect_to(self, exchange: LiveExchange, address: Address) -> Connection:
        origin = exchange.origin
        pool = self._pools.get((origin, exchange.address))
        if pool is None:
            pool = self._pools[origin, exchange.address] = Pool(self, self._loop)
        pool.opening += 1
        try:
            connection = await self._dial(pool, origin, address)
        finally:
            pool.opening -= 1
        self._opened += 1
        return connection

    async def _dial(self, pool: Pool, origin: Origin, address: Address) -> Connection:
        host, port = address
        if origin.ssl_context is None:
            _, connection = await self._loop.create_connection(pool.connection, host, port)
        else:
            _, connection = await self._loop.create_connection(
                pool.connection,
                host,
                port,
                ssl=origin.ssl_context,
                server_hostname=origin.server_name or origin.host,
                ssl_handshake_timeout=origin.timeouts.connect_seconds + 1.0,  # ours comes first
                ssl_shutdown_timeout=1.0,
            )
        return connection
