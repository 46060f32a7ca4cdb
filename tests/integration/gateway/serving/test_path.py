"""What a request must never pay for: the gateway's thread is watched call by call while requests go through it.

Client and upstream are threads of their own, so that everything seen is the gateway's.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pydantic
import pytest

from modelway_gateway.chat import Chat
from modelway_gateway.client.call import Call

from tests.support.canary import PROMPT
from tests.support.gateway import KEY, a_base, a_model, a_policy, a_rule, a_target, gateway_harness

FORBIDDEN: dict[str, tuple[str, str]] = {
    "timeout": ("asyncio/timeouts.py", ""),
    "wait_for": ("asyncio/tasks.py", "wait_for"),
    "json": ("/json/", ""),
    "logging": ("/logging/", ""),
    "uuid4": ("/uuid.py", ""),
    "getaddrinfo": ("", "getaddrinfo"),
    "pydantic": ("/pydantic/", ""),
}
"""By name: what its file's path holds, and the function's name where not every one of the file is meant."""
TASK = "create_task"
"""Seen by the loop's task factory: uvloop makes tasks without a call that could be watched."""

EVENT = b'data: {"model":"simulated","choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
    b"%x\r\n%b\r\n" % (len(each), each) for each in (EVENT, EVENT, EVENT, b"data: [DONE]\n\n", b"")
)
WHOLE_BODY = b'{"model":"simulated","choices":[{"index":0,"message":{"role":"assistant","content":"word"}}]}'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(WHOLE_BODY),
    WHOLE_BODY,
)


class Watch:
    """Notes which forbidden things this thread calls."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.calls = 0
        self._loop = asyncio.get_running_loop()

    def between(self, work: Callable[[], None]) -> None:
        """From another thread: watch the event loop's thread while `work` is done."""
        self._switch(self._note)
        try:
            work()
        finally:
            self._switch(None)

    def _switch(self, hook: Callable[[FrameType, str, Any], None] | None) -> None:
        done = threading.Event()

        def switch() -> None:
            self._loop.set_task_factory(self._make_task if hook is not None else None)
            sys.setprofile(hook)
            done.set()

        self._loop.call_soon_threadsafe(switch)
        assert done.wait(10)

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        self.seen.add(TASK)
        return asyncio.Task(work, loop=loop, **options)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.calls += 1
            file, name = frame.f_code.co_filename, frame.f_code.co_name
        elif event == "c_call":
            file, name = "", argument.__name__
        else:
            return
        self.seen |= {word for word, (part, function) in FORBIDDEN.items() if part in file and function in ("", name)}


@contextmanager
def upstream() -> Iterator[int]:
    """An upstream in threads of its own; answers whole or as a stream, as it is asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            while requests.readline():
                size = 0
                while line := requests.readline().strip():
                    name, _, value = line.partition(b":")
                    size = int(value) if name.lower() == b"content-length" else size
                connection.sendall(STREAM if b'"stream":true' in requests.read(size) else WHOLE)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


async def calls_of(requests: int, *, stream: bool) -> Watch:
    """Send requests on warm connections, and watch."""
    watch = Watch()
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": PROMPT}], "stream": stream})
    body = body.replace(": true", ":true")

    with upstream() as port:
        model = a_model(port=port)
        base = a_base(model, policies=(a_policy(a_rule(a_target(model))),))
        async with gateway_harness(base) as harness:
            host, _, own_port = harness.gateway.client_url.removeprefix("http://").partition(":")

            def client() -> None:
                connection = http.client.HTTPConnection(host, int(own_port), timeout=10)
                headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

                def ask(times: int) -> None:
                    for _ in range(times):
                        connection.request("POST", "/v1/chat/completions", body, headers)
                        answer = connection.getresponse()
                        assert (200, True) == (answer.status, b"word" in answer.read())

                ask(3)
                watch.between(lambda: ask(requests))
                connection.close()

            await asyncio.get_running_loop().run_in_executor(None, client)
    return watch


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_calls_nothing_that_is_too_slow_for_its_path(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """No task, no time-out of asyncio, no json, no log (but at DEBUG), no uuid, no name resolution, no pydantic."""
    caplog.set_level(logging.INFO, "modelway_gateway")
    watch = await calls_of(20, stream=stream)

    assert watch.calls > 20 * 50
    assert watch.seen == set()


class _Model(pydantic.BaseModel):
    value: int = 1

    @pydantic.field_validator("value")
    @classmethod
    def same(cls, value: int) -> int:
        return value


async def _nothing() -> None: ...


PLANTED: dict[str, Callable[[], object]] = {
    TASK: lambda: asyncio.get_running_loop().create_task(_nothing()),
    "timeout": lambda: asyncio.timeout(1),
    "wait_for": lambda: asyncio.wait_for(_nothing(), 1).send(None),
    "json": lambda: json.loads("{}"),
    "logging": lambda: logging.getLogger("modelway_gateway.path").info("a request"),
    "uuid4": uuid.uuid4,
    "getaddrinfo": lambda: socket.getaddrinfo("127.0.0.1", 80),
    "pydantic": lambda: _Model.model_validate({"value": 2}).model_copy(),
}


@pytest.mark.parametrize("what", sorted((*FORBIDDEN, TASK)))
async def test_a_planted_call_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above could not fail."""
    handle = Chat.handle

    def slower(self: Chat, call: Call) -> None:
        with suppress(StopIteration):  # wait_for comes to its end without waiting
            PLANTED[what]()
        handle(self, call)

    monkeypatch.setattr(Chat, "handle", slower)
    watch = await calls_of(2, stream=False)

    assert what in watch.seen
