"""The law of the parser: where the network cuts an answer changes nothing that a sink is told."""

from __future__ import annotations

import asyncio
import itertools
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_gateway.upstream.connection import Connection
from modelway_gateway.upstream.exchange import LiveExchange
from modelway_gateway.upstream.interface import FailureKind, Headers, Origin, UpstreamFailure

from tests.support.upstreams import OK, SSE_HEAD, chunked

ANSWERS = {
    "length": OK,
    "no body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "chunks": SSE_HEAD + chunked(b"data: a\n\n") + chunked(b"data: b\n\n") + chunked(b""),
    "chunk extension and trailer": SSE_HEAD + b"3;x=y\r\nabc\r\n0\r\nx-trailer: z\r\n\r\n",
    "hints first": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    "until closed": b"HTTP/1.1 200 OK\r\nX-A:  b \r\n\r\nuntil the end",
    "closing": b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 3\r\n\r\nerr",
    "truncated": OK[:-1],
    "truncated chunk": SSE_HEAD + b"5\r\nab",
    "surplus": OK + OK,
    "surplus rubbish": OK + b"rubbish",
    "bad chunk": SSE_HEAD + chunked(b"good") + b"zz\r\nbad\r\n",
    "two framings": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
}


class Wire:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None: ...


class Told:
    """What a sink was told, without where its data was cut."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_head(self, status: int, headers: Headers) -> None:
        self.told += [status, headers, b""]

    def on_data(self, data: bytes) -> None:
        assert isinstance(self.told[-1], bytes)
        self.told[-1] += data

    def on_end(self) -> None:
        self.told.append("end")

    def on_failure(self, failure: UpstreamFailure) -> None:
        self.told.append(failure)


class Home:
    """Pool and client of one connection."""

    released = False

    def opened(self) -> None: ...

    def release(self, connection: Connection) -> None:  # noqa: ARG002
        self.released = True

    def lost(self, connection: Connection) -> None: ...

    def resend(self, exchange: LiveExchange) -> None:  # noqa: ARG002
        raise AssertionError

    def forget(self, exchange: LiveExchange) -> None: ...


def tell(pieces: list[bytes]) -> tuple[list[object], bool]:
    """Feed the pieces, then the end of the connection."""
    loop = asyncio.new_event_loop()
    home, sink, wire = Home(), Told(), Wire()
    connection = Connection(home, loop)
    connection.connection_made(cast("asyncio.Transport", wire))
    exchange = LiveExchange(
        forget=home.forget,
        loop=loop,
        origin=Origin(scheme="http", host="h", port=1),
        address=None,
        head=b"POST / HTTP/1.1\r\n\r\n",
        body=b"",
        sink=sink,
        streamed=True,
        total_seconds=None,
    )
    connection.start(exchange, reused=False)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
    connection.connection_lost(None)
    loop.close()
    return sink.told, home.released and not wire.closed


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_byte_by_byte_is_the_answer_at_once(answer: bytes) -> None:
    """Each byte alone is the hardest split."""
    assert tell([bytes([byte]) for byte in answer]) == tell([answer])


@given(st.sampled_from(list(ANSWERS.values())), st.lists(st.integers(1, 200), max_size=8))
def test_any_split_gives_the_same_calls(answer: bytes, cuts: list[int]) -> None:
    """A sink cannot tell how an answer travelled."""
    edges = [0, *sorted({min(cut, len(answer)) for cut in cuts} | {len(answer)})]
    pieces = [answer[start:end] for start, end in itertools.pairwise(edges)]

    assert tell(pieces) == tell([answer])


@pytest.mark.parametrize(
    ("name", "ending", "kept"),
    [
        ("length", "end", True),
        ("no body", "end", True),
        ("chunks", "end", True),
        ("chunk extension and trailer", "end", True),
        ("hints first", "end", True),
        ("until closed", "end", False),
        ("closing", "end", False),
        ("surplus", "end", False),
        ("surplus rubbish", "end", False),
        ("truncated", FailureKind.CLOSED_EARLY, True),
        ("truncated chunk", FailureKind.CLOSED_EARLY, True),
        ("bad chunk", FailureKind.PROTOCOL_ERROR, False),
        ("two framings", FailureKind.PROTOCOL_ERROR, False),
        ("not HTTP", FailureKind.PROTOCOL_ERROR, False),
    ],
)
def test_what_each_answer_comes_to(name: str, ending: str | FailureKind, kept: bool) -> None:
    """Only an answer without any oddity leaves a connection that is used again."""
    told, released = tell([ANSWERS[name]])
    last = told[-1]

    assert (last.kind if isinstance(last, UpstreamFailure) else last) == ending
    assert released == (kept and ending == "end")


def test_trailers_do_not_reach_the_sink() -> None:
    """They could claim anything after the fact."""
    told, _ = tell([ANSWERS["chunk extension and trailer"]])

    assert told[1] == [(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")]
    assert told[2] == b"abc"
