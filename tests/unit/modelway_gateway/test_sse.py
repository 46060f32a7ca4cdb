"""Events are cut the same whatever pieces they come in, and chunks are read for what they carry."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_gateway.core import sse
from modelway_gateway.core.sse import SseEvent, SseEventTooLargeError, SseSplitter

EVENTS = {
    "plain": (b'data: {"a":1}\n\n', b'{"a":1}'),
    "no space": (b"data:x\n\n", b"x"),
    "two spaces": (b"data:  x\n\n", b" x"),
    "CRLF": (b"data: x\r\n\r\n", b"x"),
    "mixed ends": (b"data: x\n\r\n", b"x"),
    "comment": (b": ping\n\n", None),
    "comment before data": (b": ping\ndata: x\n\n", b"x"),
    "named event": (b"event: message_start\ndata: {}\nid: 7\n\n", b"{}"),
    "several lines": (b"data: a\ndata:\ndata: b\n\n", b"a\n\nb"),
    "several lines, CRLF": (b"data: a\r\ndata: b\r\n\r\n", b"a\nb"),
    "data without colon": (b"data\n\n", b""),
    "not a data field": (b"database: x\n\n", None),
    "byte order mark": (b"\xef\xbb\xbfdata: x\n\n", b"x"),
    "done": (b"data: [DONE]\n\n", b"[DONE]"),
    "UTF-8": ("data: \u00e4\U0001f600\n\n".encode(), "\u00e4\U0001f600".encode()),
    "done inside text": (b'data: {"c":"data: [DONE]\\n\\n"}\n\n', b'{"c":"data: [DONE]\\n\\n"}'),
}


def cut(pieces: list[bytes], splitter: SseSplitter | None = None) -> list[SseEvent]:
    splitter = splitter or SseSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)]


@pytest.mark.parametrize("raw_and_data", EVENTS.values(), ids=EVENTS.keys())
def test_an_event_is_handed_on_as_it_came_with_its_data(raw_and_data: tuple[bytes, bytes | None]) -> None:
    """Every spelling that the standard allows is understood and none is rewritten."""
    raw, data = raw_and_data

    assert [(raw, data)] == cut([raw])


def test_lone_carriage_returns_end_lines_too() -> None:
    """The last one is held back until it is known not to be half of a CRLF."""
    splitter = SseSplitter()

    assert splitter.feed(b"data: a\r\r") == []
    assert splitter.feed(b"data: b\r\r") == [(b"data: a\r\r", b"a")]
    assert splitter.finish() == (b"data: b\r\r", b"b")


def test_an_unfinished_event_is_left_for_the_end() -> None:
    """A stream that ends without a blank line has its last event handed out by `finish`."""
    splitter = SseSplitter()

    assert splitter.feed(b"data: a\n\ndata: [DONE]\n") == [(b"data: a\n\n", b"a")]
    assert splitter.pending_bytes == 13
    assert splitter.finish() == (b"data: [DONE]\n", b"[DONE]")
    assert splitter.finish() is None


@given(
    raws=st.lists(st.sampled_from([raw for raw, _ in EVENTS.values()]), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 200), max_size=30),
)
def test_any_split_gives_the_same_events(raws: list[bytes], cuts: list[int]) -> None:
    """Where the network cuts the bytes changes nothing, CRLF and UTF-8 cut in the middle included."""
    stream = b"".join(raws)
    edges = [0, *sorted(min(each, len(stream)) for each in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]

    assert [(raw, sse.event_data(raw)) for raw in raws] == cut(pieces)


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_no_byte_is_lost_or_added(pieces: list[bytes]) -> None:
    """Whatever comes, events and what is left make up exactly what came."""
    splitter = SseSplitter()
    seen = b"".join(raw for raw, _ in cut(pieces, splitter))
    left = splitter.finish()

    assert b"".join(pieces) == seen + (left[0] if left else b"")


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_an_endless_event_is_refused_at_the_limit(piece_bytes: int) -> None:
    """What is held of an unfinished event is bounded."""
    splitter = SseSplitter(max_event_bytes=100)

    with pytest.raises(SseEventTooLargeError):
        cut([b"x" * piece_bytes] * 200, splitter)
    assert splitter.pending_bytes <= 101 + piece_bytes


def test_a_whole_event_above_the_limit_is_refused() -> None:
    """It makes no difference that it came in one piece."""
    with pytest.raises(SseEventTooLargeError):
        SseSplitter(max_event_bytes=10).feed(b"data: 123456789\n\n")


def chunk(delta: object, **fields: object) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, **fields}]}).encode()


DEEP = b"[" * 50_000 + b"]" * 50_000

CONTENT = [
    chunk({"content": "x"}),
    chunk({"content": " "}),
    chunk({"role": "assistant", "content": "x"}),
    chunk({"content": None, "tool_calls": [{"index": 0}]}),
    chunk({"reasoning_content": "hm"}),
    chunk({"reasoning": "hm"}),
    chunk({"refusal": "no"}),
    chunk({"function_call": {"name": "f"}}),
    chunk({"content": [{"type": "text", "text": "x"}]}),
    b'{"choices":[{"delta":{}},{"delta":{"content":"x"}}]}',
    b'{"choices":[{"text":"x"}]}',
]
NO_CONTENT = [
    chunk({"role": "assistant"}),
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": None, "tool_calls": None, "refusal": None}),
    chunk({"tool_calls": []}),
    chunk({}),
    chunk({}, finish_reason="stop"),
    chunk(None),
    b'{"choices":[]}',
    b'{"choices":null,"usage":{"completion_tokens":3}}',
    b'{"choices":"x"}',
    b'{"choices":[1]}',
    b'{"error":{"message":"x"}}',
    b"[DONE]",
    b"null",
    b"[]",
    b"not json",
    b"",
    b"\xff",
    b"[" * 100_000,
    b'{"choices":[{"delta":{"content":%b}}]}' % DEEP,
]


@pytest.mark.parametrize("data", CONTENT)
def test_a_chunk_with_a_delta_has_content(data: bytes) -> None:
    """Text, reasoning, refusals and tool calls are all content."""
    assert sse.has_content(data)


@pytest.mark.parametrize("data", NO_CONTENT, ids=lambda data: repr(data[:40]))
def test_a_role_an_empty_delta_or_nonsense_is_no_content(data: bytes) -> None:
    """Nothing that an upstream may send is an exception."""
    assert not sse.has_content(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"error":{"message":"overloaded"}}', True),
        (b'{"error":"overloaded"}', True),
        (b'{"object":"error","message":"x"}', True),
        (b'{"error":null,"choices":[]}', False),
        (b'{"error":{}}', False),
        (chunk({"content": '{"error": 1}'}), False),
        (b"error", False),
        (b'{"error":%b}' % DEEP, False),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_an_error_inside_a_stream_is_seen(data: bytes, expected: bool) -> None:
    """Only at the top level: a model may talk about errors."""
    assert expected == sse.has_error(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}',
            sse.Usage(prompt_tokens=3, completion_tokens=5),
        ),
        (b'{"usage":{"prompt_tokens":3}}', sse.Usage(prompt_tokens=3, completion_tokens=0)),
        (b'{"usage":null}', None),
        (b'{"usage":{"completion_tokens":-1}}', None),
        (b'{"usage":{"completion_tokens":"5"}}', None),
        (b'{"usage":{"completion_tokens":%b}}' % (b"9" * 400), None),
        (b'{"usage":%b}' % DEEP, None),
        (b'{"usage":7}', None),
        (b"[DONE]", None),
        (b'"usage"', None),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_usage_is_read_or_absent(data: bytes, expected: sse.Usage | None) -> None:
    """A figure that cannot be one is none."""
    assert expected == sse.usage_of(data)


def test_only_the_word_itself_is_done() -> None:
    """A model may write it, too."""
    assert sse.is_done(b"[DONE]")
    assert sse.is_done(b" [DONE] ")
    assert not sse.is_done(b'{"content":"[DONE]"}')


def test_tokens_are_the_upstreams_count_or_the_chunks_seen() -> None:
    """Without a usage chunk the chunks with content are counted."""
    tally = sse.Tally()
    stream = [chunk({"role": "assistant"}), chunk({"content": "a"}), chunk({"content": "b"}, finish_reason=None)]
    seen = [tally.add(data) for data in stream]

    assert seen == [False, True, True]
    assert tally.completion_tokens == 2

    tally.add(chunk({}, finish_reason="stop"))
    tally.add(b'{"choices":[],"usage":{"completion_tokens":9}}')

    assert tally.completion_tokens == 9
