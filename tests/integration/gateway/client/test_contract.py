"""What connection.py relies on inside aiohttp.

A failure here means: read what aiohttp changed before you raise its version.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDictProxy

from modelway_gateway.client import connection
from modelway_gateway.client.connection import Connection, Connections
from modelway_gateway.client.limits import ClientLimits

INSIDE_AIOHTTP = {
    "_buffer_paused",  # reading stopped because too many requests wait
    "_loop",
    "_messages",  # requests that were parsed and not yet handled, and complaints
    "_msg_queue_resume_size",  # below how many of them reading goes on
    "_parser",
    "_paused",  # the transport wants no more to be written
    "_reading_paused",  # reading stopped because a body is not taken
    "_request_count",  # how many requests (and complaints) were ever parsed
    "_resume_reading_if_drained",
}
PACKAGE = Path(connection.__file__).parent


def a_connection() -> Connection:
    return Connections(lambda _call: None, ClientLimits(), asyncio.get_running_loop())()


def test_only_one_file_touches_aiohttp() -> None:
    """And nothing else of the gateway's request path imports it."""
    users = [
        path.relative_to(PACKAGE.parent)
        for folder in ("client", "upstream", "core")
        for path in (PACKAGE.parent / folder).rglob("*.py")
        if "import aiohttp" in path.read_text() or "from aiohttp" in path.read_text()
    ]

    assert users == [Path("client/connection.py")]


def test_the_list_of_what_is_touched_is_complete() -> None:
    """Every private name used on `self` is either our own or in the list above."""
    tree = ast.parse(Path(connection.__file__).read_text())
    class_ = next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == "Connection")
    used = {
        node.attr
        for node in ast.walk(class_)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    own = set(Connection.__slots__) | {name for name in vars(Connection) if callable(getattr(Connection, name))}

    assert {name for name in used - own if name.startswith("_")} == INSIDE_AIOHTTP


async def test_what_is_touched_is_there() -> None:
    """With the types that connection.py takes it for."""
    made = a_connection()

    for name in INSIDE_AIOHTTP:
        assert hasattr(made, name)
    assert (made._request_count, made._buffer_paused, made._reading_paused, made._paused) == (0, False, False, False)
    assert made._msg_queue_resume_size > 0
    assert made.transport is None
    assert callable(HttpRequestParser.message_consumed)


def test_the_compiled_parser_is_in_use() -> None:
    """The other one is slower and accepts more."""
    assert connection.parser_is_compiled()


def test_the_methods_that_are_replaced_are_called_by_aiohttp() -> None:
    """Under the names and with the arguments that we take."""
    methods: dict[Callable[..., object], list[str]] = {
        web.RequestHandler.start: ["self"],
        web.RequestHandler.connection_made: ["self", "transport"],
        web.RequestHandler.connection_lost: ["self", "exc"],
        web.RequestHandler.data_received: ["self", "data"],
        web.RequestHandler.resume_reading: ["self", "resume_parser"],
        web.RequestHandler.pause_writing: ["self"],
        web.RequestHandler.resume_writing: ["self"],
        web.Server.__call__: ["self"],
        web.Server.connection_made: ["self", "handler", "transport"],
        web.Server.connection_lost: ["self", "handler", "exc"],
    }
    for method, parameters in methods.items():
        assert list(inspect.signature(method).parameters) == parameters
    assert inspect.iscoroutinefunction(web.RequestHandler.start)


class Protocol:
    """What a parser needs of its connection."""

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


def a_parser() -> HttpRequestParser:
    loop = asyncio.get_running_loop()
    return HttpRequestParser(Protocol(), loop, 65536, max_field_size=100)  # type: ignore[arg-type]


async def test_a_message_has_the_fields_that_are_read() -> None:
    """And its body is a reader that can be asked without waiting."""
    request = b"POST /p?q HTTP/1.1\r\nHost: h\r\nA-b: c\r\nContent-Length: 2\r\n\r\n{}"
    [(message, payload)], upgraded, tail = a_parser().feed_data(request)

    assert isinstance(message, RawRequestMessage)
    assert (message.method, message.path, message.version, message.chunked) == ("POST", "/p?q", (1, 1), False)
    assert (message.should_close, message.upgrade, message.compression) == (False, False, None)
    assert isinstance(message.headers, CIMultiDictProxy)
    assert message.raw_headers == ((b"Host", b"h"), (b"A-b", b"c"), (b"Content-Length", b"2"))
    assert message.url.raw_path_qs == "/p?q"
    assert isinstance(payload, StreamReader)
    assert (payload.exception(), payload.is_eof(), payload.read_nowait(), payload.at_eof()) == (None, True, b"{}", True)
    assert (upgraded, tail) == (False, b"")


async def test_a_body_that_came_whole_is_one_piece_in_the_readers_buffer() -> None:
    """At its end, and with nothing else that taking it would have to do."""
    [(_, payload)], *_ = a_parser().feed_data(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")

    assert (list(payload._buffer), payload._eof, payload._buffer_offset) == ([b"{}"], True, 0)


async def test_a_request_without_body_has_the_empty_reader() -> None:
    """Which is at its end from the beginning."""
    [(_, payload)], *_ = a_parser().feed_data(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

    assert payload is EMPTY_PAYLOAD
    assert (payload.exception(), payload.is_eof(), payload.at_eof(), payload.read_nowait()) == (None, True, True, b"")


async def test_a_reader_between_two_pieces_is_empty_but_not_at_its_end() -> None:
    """Asked without data there, it answers with none."""
    [(_, payload)], *_ = a_parser().feed_data(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n")

    assert (payload.read_nowait(), payload.is_eof(), payload.at_eof()) == (b"", False, False)


async def test_a_header_that_is_too_long_is_told_from_a_malformed_one() -> None:
    """By the exception's class; both are processing errors."""
    with pytest.raises(LineTooLong):
        a_parser().feed_data(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 101 + b"\r\n\r\n")
    with pytest.raises(HttpProcessingError):
        a_parser().feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert issubclass(LineTooLong, HttpProcessingError)


async def test_a_complaint_is_queued_behind_what_was_parsed() -> None:
    """As something that is no request and carries the exception."""
    made = a_connection()
    web.RequestHandler.data_received(made, b"rubbish\r\n\r\n")
    [(complaint, _)] = made._messages

    assert not isinstance(complaint, RawRequestMessage)
    assert isinstance(complaint.exc, HttpProcessingError)
    assert made._request_count == 1


def test_the_version_was_read() -> None:
    """The internals above were read in 3.14; a new minor version must be read again."""
    assert aiohttp.__version__.startswith("3.14.")
