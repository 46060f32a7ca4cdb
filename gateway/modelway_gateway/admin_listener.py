"""Who may speak to the admin port: the operator, by its certificate; or, standalone, who has the token, on loopback.

Rules to know: no certificate and no token, no port. New files are used for new connections without a gap, because each
listener accepts from its own copy of one listening socket.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import socket
import ssl
from pathlib import Path
from typing import Final

from aiohttp import web

from modelway_contract.names import OPERATOR_CLIENT_NAME
from modelway_gateway import logs
from modelway_gateway.admin import Admin, Admit
from modelway_gateway.errors import SettingsError
from modelway_gateway.plain_port import protocols

CERTIFICATE_NAME: Final = "tls.crt"
KEY_NAME: Final = "tls.key"
AUTHORITY_NAME: Final = "ca.crt"
CHECK_SECONDS: Final = 2.0
_log = logging.getLogger("modelway_gateway.admin")

Stamp = tuple[tuple[int, int, int], ...]


def by_certificate(request: web.BaseRequest) -> bool:
    """The one name that is admitted must stand in the certificate, which the handshake has checked against our CA."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    names = certificate.get("subjectAltName", ()) if certificate else ()
    return ("DNS", OPERATOR_CLIENT_NAME) in names


def by_token(token: str) -> Admit:
    """Whoever has the token."""
    expected = f"Bearer {token}".encode()

    def admit(request: web.BaseRequest) -> bool:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(expected, given)

    return admit


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AdminListener:
    """Opens the admin port when it may be open, and follows the files."""

    def __init__(self, admin: Admin, *, host: str, port: int, tls_dir: Path | None, token: str | None) -> None:
        if tls_dir is None and token is not None and not is_loopback(host):
            raise SettingsError("an admin token is for loopback only; set the admin host to 127.0.0.1, or use TLS")
        self._host = host
        self._port = port
        self._tls_dir = tls_dir
        self._token = token if tls_dir is None else None
        self._runner = web.AppRunner(
            admin.application(by_certificate if self._token is None else by_token(self._token)),
            shutdown_timeout=1.0,
        )
        self._socket: socket.socket | None = None
        self._servers: list[asyncio.Server] = []
        self._stamp: Stamp = ()
        self._watch: asyncio.Task[None] | None = None

    @property
    def port(self) -> int | None:
        """The open port; None while there is none."""
        return self._socket.getsockname()[1] if self._socket is not None else None

    @property
    def uses_tls(self) -> bool:
        return self._tls_dir is not None

    async def start(self) -> None:
        """Open the port if it may be open, else as soon as it may."""
        if self._tls_dir is None and self._token is None:
            logs.event(_log, logging.WARNING, "admin_port_closed", hint="neither a TLS folder nor a token was given")
            return
        await self._runner.setup()
        if self._token is not None:
            await self._listen(None)
            return
        await self.refresh()
        self._watch = asyncio.get_running_loop().create_task(self._follow_files())

    async def stop(self) -> None:
        """Close the port."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def refresh(self) -> bool:
        """Use the files as they are now, if they changed. False when they cannot be used: what was, stays."""
        assert self._tls_dir is not None
        stamp = _stamp(self._tls_dir)
        if not stamp:
            if not self._stamp:
                logs.event(_log, logging.WARNING, "admin_port_closed", hint="the certificate files are not there")
            return False
        if stamp == self._stamp:
            return True
        try:
            context = server_context(self._tls_dir)
        except (OSError, ssl.SSLError) as exc:
            logs.event(_log, logging.ERROR, "admin_certificate_unusable", error=type(exc).__name__)
            return False
        await self._listen(context)
        self._stamp = stamp
        logs.event(_log, logging.INFO, "admin_certificate_loaded")
        return True

    async def _listen(self, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        if self._socket is None:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._socket = socket.create_server((self._host, self._port), family=family, backlog=128)
        server = await loop.create_server(
            protocols(self._runner, auto_decompress=False),
            sock=self._socket.dup(),
            ssl=context,
            ssl_handshake_timeout=10 if context else None,
        )
        for old in self._servers:
            old.close()
        self._servers = [server]

    async def _follow_files(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.refresh()


def server_context(folder: Path) -> ssl.SSLContext:
    """Asks every caller for a certificate of our CA; TLS 1.3 only, since both sides are ours."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / AUTHORITY_NAME))
    context.load_cert_chain(folder / CERTIFICATE_NAME, folder / KEY_NAME)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _stamp(folder: Path) -> Stamp:
    """Tells one set of files from another; empty when one is missing."""
    try:
        stats = [(folder / name).stat() for name in (CERTIFICATE_NAME, KEY_NAME, AUTHORITY_NAME)]
    except OSError:
        return ()
    return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in stats)
