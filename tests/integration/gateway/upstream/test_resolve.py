"""Names: looked up once, kept for a bounded time, and kept longer when there is nothing better."""

from __future__ import annotations

import asyncio

from modelway_gateway.upstream.interface import Address, FailureKind
from modelway_gateway.upstream.resolve import AGAIN_SECONDS, FRESH_SECONDS, Resolver

from tests.integration.gateway.upstream.calls import a_caller, an_origin, until
from tests.support.upstreams import OK, answering, raw_upstream


class Names:
    """A resolver of the system's kind, with a clock."""

    def __init__(self, *answers: list[Address] | OSError) -> None:
        self.now = 1000.0
        self.asked = 0
        self.answers = list(answers)
        self.slow = False
        self.go_on = asyncio.Event()
        self.resolver = Resolver(self.lookup, lambda: self.now)

    async def lookup(self, host: str, port: int) -> list[Address]:
        assert (host, port) == ("a.example", 80)
        self.asked += 1
        answer = self.answers.pop(0)
        if self.slow:
            await self.go_on.wait()
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def resolve(self) -> list[Address]:
        return await self.resolver.resolve("a.example", 80)


A, B = [("192.0.2.1", 80)], [("192.0.2.2", 80)]
NOT_FOUND = OSError("no such name")


async def test_an_answer_serves_without_asking_again_while_it_is_fresh() -> None:
    """No connection asks the system."""
    names = Names(A)
    first = await names.resolve()
    names.now += FRESH_SECONDS - 1

    assert first == await names.resolve() == A
    assert names.asked == 1


async def test_an_answer_past_its_time_serves_while_a_new_one_is_fetched() -> None:
    """A change of address is seen within a minute, and nobody waits for it."""
    names = Names(A, B)
    await names.resolve()
    names.now += FRESH_SECONDS + 1

    assert await names.resolve() == A

    await until(lambda: names.asked == 2)

    assert await names.resolve() == B


async def test_an_old_answer_waits_for_the_new_one() -> None:
    """After an idle hour the first call does not go to an address of an hour ago."""
    names = Names(A, B)
    await names.resolve()
    names.now += 3600

    assert await names.resolve() == B


async def test_f48_the_last_good_answer_serves_when_there_is_no_new_one() -> None:
    """A dead DNS server takes no backend down, and is not asked at every call."""
    names = Names(A, NOT_FOUND, B)
    await names.resolve()
    names.now += 3600

    assert await names.resolve() == A
    assert await names.resolve() == A
    assert names.asked == 2

    names.now += AGAIN_SECONDS

    assert await names.resolve() == B


async def test_f48_a_slow_lookup_is_waited_for_once_and_not_repeated() -> None:
    """The last good answer serves after a bounded wait; one lookup is under way at most."""
    names = Names(A, B)
    await names.resolve()
    names.now += 3600
    names.slow = True
    waiting = asyncio.create_task(names.resolve())
    await until(lambda: names.asked == 2)
    names.now += 10

    assert await names.resolve() == A
    assert names.asked == 2

    names.go_on.set()

    assert await waiting == B
    await names.resolver.close()


async def test_f48_callers_share_a_lookup() -> None:
    """However many ask at once."""
    names = Names(A)
    names.slow = True
    waiting = [asyncio.create_task(names.resolve()) for _ in range(5)]
    await until(lambda: names.asked == 1)
    names.go_on.set()

    assert await asyncio.gather(*waiting) == [A] * 5


async def test_f48_a_name_that_does_not_exist_is_a_dns_error() -> None:
    """Told as such, and not asked for again within the same second."""
    names = Names(NOT_FOUND)
    async with a_caller(names.resolver) as caller:
        first = await caller.call(an_origin(80, host="a.example"))
        second = await caller.call(an_origin(80, host="a.example"))

        assert [first.kind, second.kind] == [FailureKind.DNS_ERROR] * 2
        assert names.asked == 1


async def test_f48_a_slow_lookup_meets_the_connect_time_out() -> None:
    """Where nothing is known there is nothing else to do; the lookup goes on for others."""
    names = Names(A)
    names.slow = True
    async with a_caller(names.resolver) as caller:
        sink = await caller.call(an_origin(80, host="a.example", connect=0.3))

        assert sink.kind is FailureKind.CONNECT_TIMEOUT


async def test_the_next_address_is_tried_and_remembered() -> None:
    """An address that refuses is tried last from then on."""
    async with raw_upstream(answering(OK)) as upstream:

        async def lookup(_host: str, port: int) -> list[Address]:
            return [("127.0.0.2", port), ("127.0.0.1", port)]

        resolver = Resolver(lookup)
        async with a_caller(resolver) as caller:
            sink = await caller.call(an_origin(upstream.port, host="a.example"))

            assert sink.status == 200
            assert (await resolver.resolve("a.example", upstream.port))[0] == ("127.0.0.1", upstream.port)


async def test_the_system_is_asked_by_default() -> None:
    """`localhost` is in every system's files."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port, host="localhost"))

        assert sink.status == 200
