"""Names to addresses, cached: a connection does not wait for DNS while an answer is known.

The rule: an answer is fresh for 30 s; for as long again it still serves while a new one is fetched; after that a caller
waits up to 2 s for the new one, and the old one serves again when there is none to be had (last good).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from modelway_gateway.upstream.interface import Address

FRESH_SECONDS = 30.0
LOOKUP_SECONDS = 2.0
AGAIN_SECONDS = 5.0
_AGAIN_UNKNOWN_SECONDS = 1.0
_MAX_NAMES = 4096

Lookup = Callable[[str, int], Awaitable[list[Address]]]
"""Asks the system; raises OSError (or UnicodeError, for what is no name) when there is no answer."""


async def system_lookup(host: str, port: int) -> list[Address]:
    """Ask the system's resolver, in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(sockaddr[0]), int(sockaddr[1])) for *_, sockaddr in found))


class _Entry:
    __slots__ = ("addresses", "lookup", "lookup_at", "lookup_since", "resolved_at")

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self.resolved_at = float("-inf")
        self.lookup: asyncio.Task[None] | None = None
        self.lookup_since = 0.0
        self.lookup_at = float("-inf")
        """Not before this time is the system asked again."""


class Resolver:
    """A cache of names. One lookup per name is under way at most, however slow the resolver."""

    def __init__(self, lookup: Lookup = system_lookup, clock: Callable[[], float] | None = None) -> None:
        self._lookup = lookup
        self._clock = clock or asyncio.get_running_loop().time
        self._entries: dict[Address, _Entry] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Addresses in the order to try them; empty when none is known and none was found."""
        entry = self._entries.get((host, port))
        if entry is None:
            if len(self._entries) >= _MAX_NAMES:
                self._entries.pop(next(iter(self._entries)))
            entry = self._entries[host, port] = _Entry()
        now = self._clock()
        if now < entry.lookup_at:
            return entry.addresses
        if entry.lookup is None:
            entry.lookup_since = now
            entry.lookup = asyncio.get_running_loop().create_task(self._refresh(entry, host, port))
        if now - entry.resolved_at >= 2 * FRESH_SECONDS:
            # Without a last good answer the caller's connect time-out is the only bound.
            patience = max(0.0, entry.lookup_since + LOOKUP_SECONDS - now) if entry.addresses else None
            await asyncio.wait((entry.lookup,), timeout=patience)
        return entry.addresses

    def demote(self, host: str, port: int, address: Address) -> None:
        """Try this address last from now on: connecting to it failed."""
        entry = self._entries.get((host, port))
        if entry is not None and address in entry.addresses:
            entry.addresses = [*(each for each in entry.addresses if each != address), address]

    async def close(self) -> None:
        """Give up what is under way."""
        lookups = [entry.lookup for entry in self._entries.values() if entry.lookup is not None]
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        self._entries.clear()

    async def _refresh(self, entry: _Entry, host: str, port: int) -> None:
        try:
            addresses = await self._lookup(host, port)
        except (OSError, UnicodeError):
            addresses = []
        finally:
            entry.lookup = None
        now = self._clock()
        if addresses:
            entry.addresses, entry.resolved_at, entry.lookup_at = addresses, now, now + FRESH_SECONDS
        else:
            entry.lookup_at = now + (AGAIN_SECONDS if entry.addresses else _AGAIN_UNKNOWN_SECONDS)
