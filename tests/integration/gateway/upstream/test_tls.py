"""TLS: who is believed, under which name, and that nothing falls back to plain text."""

from __future__ import annotations

import ssl

import pytest

from modelway_gateway.upstream.interface import FailureKind, Origin, Timeouts
from modelway_gateway.upstream.tls import private_context, system_context

from tests.integration.gateway.upstream.calls import BODY, a_caller
from tests.support.upstreams import OK, Peer, an_authority, answering, raw_upstream


def a_tls_origin(port: int, context: ssl.SSLContext, *, server_name: str | None = None) -> Origin:
    return Origin(
        scheme="https",
        host="127.0.0.1",
        port=port,
        server_name=server_name,
        ssl_context=context,
        timeouts=Timeouts(connect_seconds=20, first_token_seconds=20),
        label="backend 'b'",
    )


async def test_a_private_authority_is_believed_for_its_backend() -> None:
    """Calls and warm connections work as without TLS."""
    authority = an_authority()
    async with (
        raw_upstream(answering(OK), tls=authority.server_context("127.0.0.1")) as upstream,
        a_caller() as caller,
    ):
        origin = a_tls_origin(upstream.port, private_context(authority.pem))
        first, second = await caller.call(origin), await caller.call(origin)

        assert (first.status, second.status) == (200, 200)
        assert upstream.connections == 1


async def test_the_server_name_may_differ_from_the_host() -> None:
    """It is what is asked for (SNI) and what is checked."""
    authority = an_authority()
    asked_for: list[str | None] = []
    context = authority.server_context("models.example.com")
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    async with raw_upstream(answering(OK), tls=context) as upstream, a_caller() as caller:
        origin = a_tls_origin(upstream.port, private_context(authority.pem), server_name="models.example.com")
        sink = await caller.call(origin)

        assert sink.status == 200
        assert asked_for == ["models.example.com"]


@pytest.mark.parametrize(
    ("name", "days_valid", "trusted", "reason"),
    [
        ("other.example.com", 1, True, "mismatch"),
        ("127.0.0.1", -1, True, "expired"),
        ("127.0.0.1", 1, False, "unable to get local issuer certificate"),
    ],
    ids=["wrong name", "expired", "unknown authority"],
)
async def test_f47_a_certificate_that_does_not_hold_is_refused(
    name: str, days_valid: int, trusted: bool, reason: str
) -> None:
    """The reason is told; no request has left."""
    authority = an_authority()
    context = private_context(authority.pem) if trusted else system_context()
    async with (
        raw_upstream(answering(OK), tls=authority.server_context(name, days_valid=days_valid)) as upstream,
        a_caller() as caller,
    ):
        sink = await caller.call(a_tls_origin(upstream.port, context))

        assert sink.kind is FailureKind.TLS_ERROR
        assert sink.failure is not None
        assert reason in sink.failure.message
        assert upstream.requests == []


async def test_f47_an_upstream_without_tls_is_not_spoken_to_in_plain_text() -> None:
    """Not even when that is all it understands."""
    heard = b""

    async def plain(peer: Peer) -> None:
        nonlocal heard
        heard = await peer.read_some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await peer.until_gone()

    async with raw_upstream(plain) as upstream, a_caller() as caller:
        sink = await caller.call(a_tls_origin(upstream.port, private_context(an_authority().pem)))

        assert sink.kind is FailureKind.TLS_ERROR
        assert heard.startswith(b"\x16\x03")  # a TLS handshake
        assert BODY not in heard


async def test_a_handshake_that_never_ends_meets_the_connect_time_out() -> None:
    """Connecting includes TLS."""
    async with raw_upstream(Peer.until_gone) as upstream, a_caller() as caller:
        origin = Origin(
            scheme="https",
            host="127.0.0.1",
            port=upstream.port,
            ssl_context=private_context(an_authority().pem),
            timeouts=Timeouts(connect_seconds=0.3),
        )
        sink = await caller.call(origin)

        assert sink.kind is FailureKind.CONNECT_TIMEOUT


def test_a_bundle_without_a_certificate_is_refused() -> None:
    """At config load, where somebody is told."""
    for pem in ("", "rubbish", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match="no readable PEM certificate"):
            private_context(pem)


def test_an_https_origin_needs_a_context_and_an_http_origin_must_not_have_one() -> None:
    """Otherwise a forgotten argument would send a credential in plain text."""
    with pytest.raises(ValueError, match="TLS context"):
        Origin(scheme="https", host="h", port=443)
    with pytest.raises(ValueError, match="TLS context"):
        Origin(scheme="http", host="h", port=80, ssl_context=system_context())
