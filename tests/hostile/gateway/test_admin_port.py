"""B74: who may push, and what a push may be."""

from __future__ import annotations

import asyncio
import gzip
import resource
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from modelway_contract import codec
from modelway_contract.config import Ack, Base, Push
from modelway_contract.names import ADMIN_SERVER_NAME, OPERATOR_CLIENT_NAME
from modelway_gateway.admin import MAX_PUSH_BYTES
from modelway_gateway.admin_listener import CERTIFICATE_NAME

from tests.hostile.gateway.authorities import Authority, Pair, client_context
from tests.support.gateway import TOKEN, Harness, a_base, a_model, a_push, gateway_harness


@pytest.fixture(scope="module")
def ours() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def theirs() -> Authority:
    return Authority()


@pytest.fixture
async def guarded(ours: Authority, tmp_path: Path) -> AsyncIterator[Harness]:
    """A gateway with mutual TLS, running one config."""
    folder = tmp_path / "tls"
    folder.mkdir()
    ours.write_server(folder)
    async with gateway_harness(a_base(a_model()), changes={"admin_tls_dir": folder, "admin_token": None}) as harness:
        yield harness


async def push(harness: Harness, context: ssl.SSLContext, body: Push | bytes, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else codec.pack(body)
    async with harness.session.put(
        f"{harness.gateway.admin_url}/config",
        data=data,
        ssl=context,
        server_hostname=ADMIN_SERVER_NAME,
        headers=headers,
    ) as got:
        text = await got.read()
        return got.status, msgspec.json.decode(text) if got.content_type == "application/json" else text


NEXT = a_push(Base(), epoch=9, sequence=9)


async def test_b74_the_operators_certificate_is_admitted(guarded: Harness, ours: Authority, tmp_path: Path) -> None:
    """The good neighbour of the cases below."""
    context = client_context(ours, ours.operator(), tmp_path)

    status, ack = await push(guarded, context, NEXT)

    assert (status, msgspec.convert(ack, Ack).sequence) == (200, 9)


STRANGERS: dict[str, Callable[[Authority, Authority], Pair | None]] = {
    "no certificate": lambda ours, theirs: None,  # noqa: ARG005 - one signature for all
    "expired": lambda ours, theirs: ours.issue(OPERATOR_CLIENT_NAME, days=-1),  # noqa: ARG005
    "another authority": lambda ours, theirs: theirs.operator(),  # noqa: ARG005
    "for servers": lambda ours, theirs: ours.issue(OPERATOR_CLIENT_NAME, for_clients=False),  # noqa: ARG005
}


@pytest.mark.parametrize("name", STRANGERS)
async def test_b74_a_stranger_does_not_get_through_the_handshake(
    guarded: Harness, ours: Authority, theirs: Authority, tmp_path: Path, name: str
) -> None:
    """Not one byte of a request is read, and the config stays."""
    context = client_context(ours, STRANGERS[name](ours, theirs), tmp_path)
    running = guarded.gateway.live.current

    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await push(guarded, context, NEXT)

    assert guarded.gateway.live.current is running


@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        (ADMIN_SERVER_NAME, ""),
        ("x" + OPERATOR_CLIENT_NAME, ""),
        ("*.modelway.internal", ""),
        (OPERATOR_CLIENT_NAME.upper(), ""),
        ("elsewhere", OPERATOR_CLIENT_NAME),
    ],
    ids=["the gateway's own", "longer", "wildcard", "another case", "only as common name"],
)
async def test_b74_another_name_of_our_own_authority_is_refused(
    guarded: Harness, ours: Authority, tmp_path: Path, name: str, common_name: str
) -> None:
    """403 on every path; a stolen gateway cannot push."""
    context = client_context(ours, ours.issue(name, common_name=common_name), tmp_path)
    running = guarded.gateway.live.current

    status, _ = await push(guarded, context, NEXT)
    async with guarded.session.get(
        f"{guarded.gateway.admin_url}/config", ssl=context, server_hostname=ADMIN_SERVER_NAME
    ) as got:
        assert got.status == 403

    assert status == 403
    assert guarded.gateway.live.current is running


async def test_b74_plain_http_gets_nothing(guarded: Harness) -> None:
    """The port speaks TLS or not at all."""
    url = str(guarded.gateway.admin_url).replace("https", "http")
    with pytest.raises(aiohttp.ClientError):
        async with guarded.session.get(f"{url}/config"):
            pass


async def test_b74_a_replayed_push_is_refused(guarded: Harness, ours: Authority, tmp_path: Path) -> None:
    """Every byte of it was right, once."""
    context = client_context(ours, ours.operator(), tmp_path)
    old = codec.pack(a_push(a_base(a_model("old")), epoch=2, sequence=1))
    assert (await push(guarded, context, old))[0] == 200
    assert (await push(guarded, context, NEXT))[0] == 200

    status, body = await push(guarded, context, old)

    assert (status, body) == (409, {"epoch": 9, "sequence": 9})


async def test_b74_a_gibibyte_is_refused_before_it_is_sent(guarded: Harness, ours: Authority, tmp_path: Path) -> None:
    """By its announced length; or, unannounced, as soon as it is too much."""
    context = client_context(ours, ours.operator(), tmp_path)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(16 * MAX_PUSH_BYTES // 65536):
            yield b"\0" * 65536

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for headers in ({"Content-Length": str(2**30)}, {}):
        try:
            async with guarded.session.put(
                f"{guarded.gateway.admin_url}/config",
                data=endless(),
                ssl=context,
                server_hostname=ADMIN_SERVER_NAME,
                headers=headers,
            ) as got:
                assert got.status == 413
        except aiohttp.ClientError:  # it stopped reading before all was sent, which is as good
            pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert grown < 64 * 1024
    assert (await push(guarded, context, NEXT))[0] == 200


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * 2**20
    return b"".join([packer.compress(block) for _ in range(size // len(block))]) + packer.flush()


POLICY = b'{"base":{"policies":[{"rules":[{"when":'
"""Where a push may nest."""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (bomb(1024 * 1024 * 1024), "too_large"),
        (gzip.compress(b"[" * 2_000_000), "schema"),
        (gzip.compress(POLICY + b'{"kind":"when","all":[' * 100_000), "json"),
        (gzip.compress(codec.encode(NEXT)) + b"more", "gzip"),
        (codec.encode(NEXT), "gzip"),
        (b"", "gzip"),
        (gzip.compress(b"{}"), "schema"),
        (gzip.compress(codec.encode(NEXT)[:-1] + b',"unknown":1}'), "schema"),
    ],
    ids=["gzip bomb", "brackets", "nested", "trailing data", "not packed", "nothing", "empty object", "unknown field"],
)
async def test_b74_what_is_not_a_push_is_refused(
    guarded: Harness, ours: Authority, tmp_path: Path, body: bytes, code: str
) -> None:
    """422 with a reason, bounded in memory, and the config stays."""
    context = client_context(ours, ours.operator(), tmp_path)
    running = guarded.gateway.live.current

    status, answered = await push(guarded, context, body)

    assert (status, [each["code"] for each in answered["errors"]]) == (422, [code])
    assert guarded.gateway.live.current is running


async def test_b74_a_content_encoding_is_not_unpacked_by_the_server(
    guarded: Harness, ours: Authority, tmp_path: Path
) -> None:
    """Only the codec unpacks, and it has a bound."""
    context = client_context(ours, ours.operator(), tmp_path)

    status, _ = await push(guarded, context, bomb(64 * 1024 * 1024), **{"Content-Encoding": "gzip"})

    assert status == 422


async def test_f60_new_certificates_are_used_without_a_restart(
    guarded: Harness, ours: Authority, theirs: Authority, tmp_path: Path
) -> None:
    """The new authority is believed, the old one no more; the port never changes."""
    url = guarded.gateway.admin_url
    theirs.write_server(tmp_path / "tls")
    assert await guarded.gateway.admin_listener.refresh()

    status, _ = await push(guarded, client_context(theirs, theirs.operator(), tmp_path), NEXT)
    context = client_context(theirs, ours.operator(), tmp_path)
    async with aiohttp.ClientSession() as fresh:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await fresh.get(f"{url}/config/status", ssl=context, server_hostname=ADMIN_SERVER_NAME)

    assert status == 200
    assert guarded.gateway.admin_url == url


async def test_f60_certificates_that_cannot_be_used_leave_the_old_ones(
    guarded: Harness, ours: Authority, tmp_path: Path
) -> None:
    """Half a rotation must not close the port."""
    (tmp_path / "tls" / CERTIFICATE_NAME).write_bytes(b"junk")
    assert not await guarded.gateway.admin_listener.refresh()

    assert (await push(guarded, client_context(ours, ours.operator(), tmp_path), NEXT))[0] == 200


async def test_the_port_opens_once_the_certificates_are_there(ours: Authority, tmp_path: Path) -> None:
    """The Secret may be mounted later than the process starts."""
    async with gateway_harness(changes={"admin_tls_dir": tmp_path, "admin_token": None}) as harness:
        assert harness.gateway.admin_url is None
        ours.write_server(tmp_path)
        assert await harness.gateway.admin_listener.refresh()

        assert (await push(harness, client_context(ours, ours.operator(), tmp_path), NEXT))[0] == 200


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udcff"])
async def test_b74_a_wrong_token_is_refused(value: str) -> None:
    """Standalone the token is all there is."""
    async with gateway_harness() as harness:
        status, _ = await harness.put(NEXT, Authorization=value)

    assert status == 403


async def test_a_handshake_that_never_ends_holds_up_nobody(guarded: Harness, ours: Authority, tmp_path: Path) -> None:
    """Ten connections that say nothing beside one that pushes."""
    port = int(str(guarded.gateway.admin_url).rpartition(":")[2])
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
    async with asyncio.timeout(5):
        status, _ = await push(guarded, client_context(ours, ours.operator(), tmp_path), NEXT)
    for _, writer in silent:
        writer.close()

    assert status == 200
