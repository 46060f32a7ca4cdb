"""Pushing to gateways: real ones over mutual TLS, and fakes for the answers that real ones give rarely."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from modelway_contract import codec
from modelway_contract.config import Ack, Fenced, Missing, Push, Rejected, Rejection
from modelway_gateway.admin_listener import server_context
from modelway_gateway.server import Gateway, running_gateway
from modelway_operator.clients import certificates
from modelway_operator.clients import gateways as client
from modelway_operator.clients.certificates import Identity, client_context, renew
from modelway_operator.clients.gateways import Endpoint, Gateways, Report

from tests.support.gateway import a_base, a_model, a_policy, a_push, a_rule, a_split, a_target
from tests.support.gateway import settings as gateway_settings
from tests.support.waiting import eventually

Handler = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture
def identity() -> Identity:
    """Certificates as the operator makes them."""
    return renew({}, {}, now=dt.datetime.now(dt.UTC))


@pytest.fixture
def tls_dir(identity: Identity, tmp_path: Path) -> Path:
    """The mounted Secret."""
    for name, content in identity.as_tls_secret().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
async def fleet(identity: Identity) -> AsyncIterator[Gateways]:
    """The operator's side."""
    gateways = Gateways()
    await gateways.set_identity(client_context(identity))
    yield gateways
    await gateways.close()


@asynccontextmanager
async def a_gateway(tls_dir: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(gateway_settings(admin_tls_dir=tls_dir, admin_token=None)) as gateway:
        yield gateway


@asynccontextmanager
async def a_fake(tls_dir: Path, **handlers: Handler) -> AsyncIterator[Endpoint]:
    """Speaks the contract as far as the test says; knows nothing at first sight."""

    async def status(_: web.Request) -> web.Response:
        return answer(200, Ack(base="", credentials="", live="", epoch=0, sequence=0))

    app = web.Application(client_max_size=2**24)
    app.router.add_get("/config/status", handlers.get("status", status))
    for method, path in (("put", "/config"), ("post", "/probe")):
        if method in handlers:
            app.router.add_route(method, path, handlers[method])
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(tls_dir)).start()
    yield Endpoint(pod="fake", address="127.0.0.1", port=runner.addresses[0][1])
    await runner.cleanup()


def answer(status: int, value: Ack | Missing | Fenced | Rejected) -> web.Response:
    return web.Response(status=status, body=codec.encode(value), content_type="application/json")


def ack_of(push: Push) -> Ack:
    live = push.live
    return Ack(
        base=push.base_digest,
        credentials=push.credentials_digest,
        live=codec.digest_live(live.state),
        epoch=live.epoch,
        sequence=live.sequence,
        splits=live.state.splits,
    )


def endpoint_of(gateway: Gateway, pod: str = "gateway-0") -> Endpoint:
    port = gateway.admin_listener.port
    assert port is not None
    return Endpoint(pod=pod, address="127.0.0.1", port=port)


def only(fleet: Gateways) -> Report:
    (report,) = fleet.reports()
    return report


def runs(fleet: Gateways, push: Push) -> Callable[[], bool]:
    return lambda: all(report.ack == ack_of(push) for report in fleet.reports())


STABLE, CANDIDATE = a_model(version="v1"), a_model(version="v2")
BASE = a_base(STABLE, CANDIDATE, policies=(a_policy(a_rule(a_target(STABLE, candidate=CANDIDATE))),))


async def test_every_gateway_runs_what_is_offered(fleet: Gateways, tls_dir: Path) -> None:
    """A whole config arrives at each replica, over mutual TLS, and its acknowledgement is known."""
    push = a_push(BASE, splits=(a_split(100),))
    async with a_gateway(tls_dir) as one, a_gateway(tls_dir) as other:
        fleet.set_endpoints([endpoint_of(one), endpoint_of(other, "gateway-1")])
        fleet.propose(push)
        await eventually(runs(fleet, push))

        assert [push.base_digest] * 2 == [each.live.status().base for each in (one, other)]
        assert all(report.answered_at is not None and not report.error for report in fleet.reports())


async def test_live_part_alone_follows_the_base(
    fleet: Gateways, tls_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a replica has already is not sent again: a weight step is small."""
    sizes = []

    async def put(request: web.Request) -> web.Response:
        body = await request.read()
        push = codec.unpack(body)
        sizes.append(tuple(section is not None for section in (push.base, push.credentials)))
        return answer(200, ack_of(push))

    async with a_fake(tls_dir, put=put) as endpoint:
        fleet.set_endpoints([endpoint])
        for number, share in enumerate((0, 100, 500), start=1):
            push = a_push(BASE, sequence=number, splits=(a_split(share),))
            fleet.propose(push)
            await eventually(runs(fleet, push))

    assert [(True, True), (False, False), (False, False)] == sizes


async def test_gateway_that_lost_its_config_asks_for_it(
    fleet: Gateways, tls_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that was restarted in place answers 412 to the heartbeat, and gets everything."""
    monkeypatch.setattr(client, "HEARTBEAT_SECONDS", 0.05)
    push = a_push(BASE)
    async with a_gateway(tls_dir) as gateway:
        endpoint = endpoint_of(gateway)
        fleet.set_endpoints([endpoint])
        fleet.propose(push)
        await eventually(runs(fleet, push))
    changed = gateway_settings(admin_tls_dir=tls_dir, admin_token=None, admin_port=endpoint.port)
    async with running_gateway(changed) as again:
        await eventually(lambda: again.live.status().base == push.base_digest)


async def test_p15_heartbeat_repeats_the_push(fleet: Gateways, tls_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same push again and again, whether or not something changed."""
    monkeypatch.setattr(client, "HEARTBEAT_SECONDS", 0.05)
    seen = []

    async def put(request: web.Request) -> web.Response:
        push = codec.unpack(await request.read())
        seen.append((push.live.epoch, push.live.sequence))
        return answer(200, ack_of(push))

    async with a_fake(tls_dir, put=put) as endpoint:
        fleet.set_endpoints([endpoint])
        fleet.propose(a_push(BASE, epoch=3, sequence=7))
        await eventually(lambda: len(seen) >= 3)

    assert {(3, 7)} == set(seen)


async def test_p9_refusal_is_known_with_its_reason_and_ends_with_the_next_good_push(
    fleet: Gateways, tls_dir: Path
) -> None:
    """422 leaves the old config acknowledged and says why the new one is not."""
    good, bad, better = (a_push(BASE, sequence=number, splits=(a_split(number),)) for number in (1, 2, 3))

    async def put(request: web.Request) -> web.Response:
        push = codec.unpack(await request.read())
        if push.live.sequence == 2:
            errors = (Rejection(path="$.base.models[0]", code="unknown", message="no such thing"),)
            return answer(422, Rejected(errors=errors))
        return answer(200, ack_of(push))

    async with a_fake(tls_dir, put=put) as endpoint:
        fleet.set_endpoints([endpoint])
        fleet.propose(good)
        await eventually(runs(fleet, good))
        fleet.propose(bad)
        await eventually(lambda: only(fleet).rejections)
        assert ("no such thing", ack_of(good)) == (only(fleet).rejections[0].message, only(fleet).ack)
        fleet.propose(better)
        await eventually(runs(fleet, better))
        assert () == only(fleet).rejections


async def test_f24_higher_epoch_that_a_gateway_has_seen_is_known(fleet: Gateways, tls_dir: Path) -> None:
    """409 tells a leader that somebody else pushed: it must not go on as if nothing were."""
    async with a_gateway(tls_dir) as gateway:
        await gateway.live.apply_push(a_push(BASE, epoch=9, sequence=4))
        fleet.set_endpoints([endpoint_of(gateway)])
        fleet.propose(a_push(BASE, epoch=8, sequence=1, splits=(a_split(1),)))
        await eventually(lambda: only(fleet).fenced)

        assert (9, 4) == (only(fleet).fenced.epoch, only(fleet).fenced.sequence)  # type: ignore[union-attr]
        newer = a_push(BASE, epoch=10, sequence=1, splits=(a_split(1),))
        fleet.propose(newer)
        await eventually(runs(fleet, newer))
        assert only(fleet).fenced is None


async def test_what_gateways_run_is_known_before_anything_is_pushed(fleet: Gateways, tls_dir: Path) -> None:
    """A new leader asks first: epochs and shares decide what it may push."""
    running = a_push(BASE, epoch=5, sequence=2, splits=(a_split(2500),))
    async with a_gateway(tls_dir) as gateway:
        await gateway.live.apply_push(running)
        fleet.set_endpoints([endpoint_of(gateway)])
        await fleet.meet(within_seconds=5.0)

        assert ack_of(running) == only(fleet).ack


async def test_f22_gateway_that_hangs_is_given_up_at_the_deadline_and_delays_nobody(
    fleet: Gateways, tls_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One replica that takes a push and never answers costs the others nothing, and gets one push at a time."""
    monkeypatch.setattr(client, "PUSH_DEADLINE_SECONDS", 1.0)
    arrived, release = [], asyncio.Event()

    async def put(request: web.Request) -> web.Response:
        arrived.append(codec.unpack(await request.read()).live.sequence)
        await release.wait()
        return web.Response(status=500)

    async with a_fake(tls_dir, put=put) as hanging, a_gateway(tls_dir) as healthy:
        fleet.set_endpoints([hanging, endpoint_of(healthy)])
        fleet.propose(a_push(BASE))
        await eventually(lambda: arrived == [1] and healthy.live.status().sequence == 1)
        fleet.propose(a_push(BASE, sequence=2, splits=(a_split(1),)))
        await eventually(lambda: healthy.live.status().sequence == 2)
        assert [1] == arrived
        await eventually(lambda: any("Timeout" in report.error for report in fleet.reports()))
        await eventually(lambda: arrived == [1, 2])
        release.set()


async def test_f21_push_is_tried_again_until_it_arrives(fleet: Gateways, tls_dir: Path) -> None:
    """A failure of the way there is retried, with pauses, and the error is known meanwhile."""
    answers = [500, 503, 200]

    async def put(request: web.Request) -> web.Response:
        push = codec.unpack(await request.read())
        status = answers.pop(0)
        return answer(200, ack_of(push)) if status == 200 else web.Response(status=status)

    push = a_push(BASE)
    errors: set[str] = set()
    fleet.on_change = lambda: errors.update(report.error for report in fleet.reports())
    async with a_fake(tls_dir, put=put) as endpoint:
        fleet.set_endpoints([endpoint])
        fleet.propose(push)
        await eventually(runs(fleet, push))

    assert {"the gateway answered a push with HTTP 500", "the gateway answered a push with HTTP 503", ""} == errors


async def test_b74_gateway_with_a_certificate_of_another_authority_gets_nothing(
    fleet: Gateways, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keys go only to who has shown a certificate of our own authority."""
    folder = tmp_path_factory.mktemp("stranger")
    for name, content in renew({}, {}, now=dt.datetime.now(dt.UTC)).as_tls_secret().items():
        (folder / name).write_bytes(content)
    asked = []

    async def put(request: web.Request) -> web.Response:
        asked.append(await request.read())
        return web.Response(status=200)

    async with a_fake(folder, put=put) as endpoint:
        fleet.set_endpoints([endpoint])
        fleet.propose(a_push(BASE))
        await eventually(lambda: "certificate" in only(fleet).error.lower())

    assert [] == asked


async def test_b74_gateway_with_another_name_gets_nothing(
    fleet: Gateways, identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The right authority is not enough: the one server name must stand in the certificate."""
    folder = tmp_path_factory.mktemp("named")
    other = certificates._new_leaf(identity.authority, "other.internal", server=True, now=dt.datetime.now(dt.UTC))
    shown = {"tls.crt": other.certificate, "tls.key": other.key, "ca.crt": identity.trusted}
    for name, content in shown.items():
        (folder / name).write_bytes(content)
    asked = []

    async def put(request: web.Request) -> web.Response:
        asked.append(await request.read())
        return web.Response(status=200)

    async with a_fake(folder, put=put) as endpoint:
        fleet.set_endpoints([endpoint])
        fleet.propose(a_push(BASE))
        await eventually(lambda: only(fleet).error or asked)

    assert [] == asked


async def test_answer_without_end_is_given_up(fleet: Gateways, tls_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway's answer is bounded like any other input."""
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)

    async def put(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"x" * 5000)

    async with a_fake(tls_dir, put=put) as endpoint:
        fleet.set_endpoints([endpoint])
        fleet.propose(a_push(BASE))
        await eventually(lambda: only(fleet).error)

    assert "the gateway's answer is too long" == only(fleet).error


async def test_probe_tells_what_a_gateway_found(fleet: Gateways, tls_dir: Path) -> None:
    """A probe is asked of one replica; whatever fails on the way is a failed probe."""
    async with a_gateway(tls_dir) as gateway:
        endpoint = endpoint_of(gateway)
        fleet.set_endpoints([endpoint])
        before = await fleet.probe(endpoint, STABLE.key)
        push = a_push(BASE)
        fleet.propose(push)
        await eventually(runs(fleet, push))
        after = await fleet.probe(endpoint, STABLE.key)
    gone = await fleet.probe(Endpoint(pod="x", address="127.0.0.1", port=1), STABLE.key)

    assert [False, False, False] == [before.ok, after.ok, gone.ok]
    assert "HTTP 404" in before.message
    assert "the gateway is gone" == gone.message
    assert "port 9" not in gone.message


async def test_f60_new_certificates_are_used_without_a_restart(
    fleet: Gateways, identity: Identity, tls_dir: Path
) -> None:
    """A renewed client certificate is shown from the next push on, and no push is lost."""
    renewed = renew(identity.as_ca_secret() | {"tls.crt": b""}, identity.as_tls_secret(), now=dt.datetime.now(dt.UTC))
    async with a_gateway(tls_dir) as gateway:
        fleet.set_endpoints([endpoint_of(gateway)])
        first, second = a_push(BASE), a_push(BASE, sequence=2, splits=(a_split(1),))
        fleet.propose(first)
        await eventually(runs(fleet, first))
        await fleet.set_identity(client_context(renewed))
        fleet.propose(second)
        await eventually(runs(fleet, second))


async def test_endpoint_that_left_is_not_spoken_to(fleet: Gateways, tls_dir: Path) -> None:
    """Its task ends and its words are forgotten."""
    async with a_gateway(tls_dir) as gateway:
        fleet.set_endpoints([endpoint_of(gateway)])
        push = a_push(BASE)
        fleet.propose(push)
        await eventually(runs(fleet, push))
        fleet.set_endpoints([])

        assert () == fleet.reports()
