"""Upstream servers that do exactly what a test says, byte by byte, and remember what happened to them.

A `RawUpstream` is a real TCP (or TLS) server; its script runs once per connection and writes whatever it likes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.canary import WRITTEN

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding; the last one for empty data."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Peer:
    """One connection, seen from the upstream."""

    def __init__(self, upstream: RawUpstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = upstream.connections
        self._upstream = upstream
        self._reader = reader
        self._writer = writer

    async def read_request(self) -> bytes:
        """The next request's body; raises IncompleteReadError when there is none."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = await self._reader.readexactly(length)
        self._upstream.requests.append((head, body))
        WRITTEN.arrived(body)
        return body

    async def send(self, *pieces: bytes) -> None:
        """Write each piece by itself."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def read_some(self) -> bytes:
        """Whatever comes next."""
        return await self._reader.read(65536)

    async def until_gone(self) -> None:
        """Wait until the other side has closed."""
        while await self._reader.read(65536):
            pass

    def close(self) -> None:
        """Close in an orderly way (FIN)."""
        self._writer.close()

    def reset(self) -> None:
        """Close with a reset (RST)."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RawUpstream:
    """A listening script."""

    port: int = 0
    connections: int = 0
    gone: int = 0
    """Connections whose script saw its end, or that were closed after it."""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)


@asynccontextmanager
async def raw_upstream(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawUpstream]:
    """Run `script` for each connection; a connection is closed when its script returns."""
    upstream = RawUpstream()
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        try:
            await script(Peer(upstream, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as exc:  # shown at the end, where a test can see it
            upstream.errors.append(exc)
        finally:
            upstream.gone += 1
            with suppress(OSError):
                writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert upstream.errors == []


def answering(*pieces: bytes) -> Script:
    """Answer each request of each connection with these pieces."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(*pieces)

    return script


def answering_once(*pieces: bytes, reset: bool = False) -> Script:
    """Answer the first request with these pieces, then close (or reset)."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(*pieces)
        if reset:
            peer.reset()

    return script


def answering_then_waiting(*pieces: bytes) -> Script:
    """Answer the first request with these pieces, then do nothing until the other side closes."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(*pieces)
        await peer.until_gone()

    return script


@dataclass(frozen=True)
class Authority:
    """A certificate authority that exists for one test."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """What a user would put into a CA bundle."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server_context(self, *names: str, days_valid: int = 1) -> ssl.SSLContext:
        """A server's TLS context with a certificate for these names (or addresses); expired when days are negative."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(names[0], key, self, names=names, days_valid=days_valid)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "server.pem"
            path.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                + certificate.public_bytes(serialization.Encoding.PEM)
            )
            context.load_cert_chain(path)
        return context


def an_authority() -> Authority:
    """A new authority that nobody trusts yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(_sign("test authority", key, None), key)


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: Authority | None,
    *,
    names: tuple[str, ...] = (),
    days_valid: int = 1,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=days_valid))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), False)
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
