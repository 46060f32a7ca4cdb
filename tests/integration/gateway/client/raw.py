"""A client that sends exactly the bytes a test gives it, and reads answers as a strict client would."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from modelway_gateway.client.call import Call, Handler
from modelway_gateway.client.limits import ClientLimits
from modelway_gateway.client.server import ClientServer, serve

PATIENCE_SECONDS = 30.0
JSON = b"Content-Type: application/json\r\n"


@dataclass(frozen=True)
class Answer:
    """One answer, de-chunked."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an OpenAI-shaped error; fails when the body is not one."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "code", "param"}
        assert self.headers["content-type"] == "application/json"
        assert isinstance(error["code"], str)
        return error["code"]


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Each piece by itself, as far as the network allows."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status, *_ = lines[0].split(" ")
        assert version == "HTTP/1.1"
        headers = [line.split(": ", 1) for line in lines[1:] if line]
        assert len({name.lower() for name, _ in headers}) == len(headers)
        return int(status), {name.lower(): value for name, value in headers}

    async def answer(self, *, method: str = "POST") -> Answer:
        """The next answer, whole."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE_SECONDS):
            if method == "HEAD":
                body = b""
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                body = b"".join([chunk async for chunk in self.chunks()])
            else:
                body = await self.reader.read()
        return Answer(status, headers, body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks of a streamed answer, up to its proper end; IncompleteReadError when there is none."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            assert await self.reader.readexactly(2) == b"\r\n"

    async def closed(self) -> bytes:
        """What still comes before the server closes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read()

    def close(self) -> None:
        """Go away in an orderly way (FIN)."""
        self.writer.close()

    def reset(self) -> None:
        """Go away with a reset (RST)."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Served:
    """A server and its clients."""

    def __init__(self, server: ClientServer) -> None:
        self.server = server
        self._clients: list[RawClient] = []

    async def client(self, *, receive_buffer_bytes: int = 0) -> RawClient:
        """A new connection."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.server.port))
        except OSError:
            sock.close()
            raise
        client = RawClient(*await asyncio.open_connection(sock=sock))
        self._clients.append(client)
        return client

    async def ask(self, *pieces: bytes, method: str = "POST") -> Answer:
        """One request on a connection of its own."""
        client = await self.client()
        await client.send(*pieces)
        answer = await client.answer(method=method)
        client.close()
        return answer

    def later(self, seconds: float) -> None:
        """Sweep as if it were later."""
        self.server.sweep(asyncio.get_running_loop().time() + seconds)

    async def close(self) -> None:
        for client in self._clients:
            client.writer.transport.abort()
        await self.server.shutdown(grace_seconds=5)


@asynccontextmanager
async def serving(handler: Handler, limits: ClientLimits | None = None) -> AsyncIterator[Served]:
    """Serve on loopback; nothing sweeps but `later`."""
    served = Served(await serve(handler, host="127.0.0.1", port=0, limits=limits or ClientLimits()))
    try:
        yield served
    finally:
        await served.close()


def echo(call: Call) -> None:
    """Answer with what was understood of the request."""
    seen = {"method": call.method, "path": call.path, "body": call.body.decode("latin-1")}
    call.answer(200, JSON, json.dumps(seen).encode())


def a_post(
    body: bytes = b"{}", *, path: str = "/v1/chat/completions", headers: str = "", version: str = "1.1"
) -> bytes:
    """A request of known length."""
    head = f"POST {path} HTTP/{version}\r\nHost: gateway\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


async def until(condition: Callable[[], bool], *, within_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110 - anything may be the condition
            await asyncio.sleep(0.005)
