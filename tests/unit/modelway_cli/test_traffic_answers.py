"""Which answers are good ones."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_cli.traffic.answers import StreamJudge, Verdict, code_of, judge_plain, judge_refusal

GOOD = b'{"model":"m","system_fingerprint":"v2","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (GOOD, None),
        (b"", "empty_answer"),
        (b" \n", "empty_answer"),
        (GOOD[:40], "malformed_answer"),
        (b"[]", "malformed_answer"),
        (b"{}", "malformed_answer"),
        (b'{"choices":[]}', "malformed_answer"),
        (b'{"choices":[{"delta":{"content":"x"}}]}', "malformed_answer"),
        (b'{"choices":[{"message":{"content":"\xff"}}]}', "malformed_answer"),
        (b'{"error":{"code":"overloaded","type":"server_error"}}', "overloaded"),
        (b'{"error":"no"}', "error_in_200"),
        (b"[" * 100_000, "malformed_answer"),
    ],
)
def test_plain_answers(body: bytes, error: str | None) -> None:
    """A plain answer is good when it has a choice with a message and no error."""
    assert error == judge_plain(body).error


def test_a_good_answer_says_who_gave_it() -> None:
    """The model and the fingerprint are the body's."""
    assert Verdict(model="m", fingerprint="v2") == judge_plain(GOOD)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, b'{"error":{"code":"rate_limit_exceeded","type":"x"}}', "rate_limit_exceeded"),
        (400, b'{"error":{"code":null,"type":"invalid_request_error"}}', "invalid_request_error"),
        (400, b'{"error":{"code":1214}}', "1214"),
        (502, b"<html>Bad gateway</html>", "http_502"),
        (502, b"", "http_502"),
        (301, b'{"error":{}}', "http_301"),
    ],
)
def test_refusals(status: int, body: bytes, error: str) -> None:
    """A refusal is known by its own code, by its type, or by its status."""
    assert error == judge_refusal(status, body).error


ROLE = b'data: {"model":"m","system_fingerprint":"v2","choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"m","code":"overloaded"}}\n\n'


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (ROLE + WORD + END + DONE, None),
        (ROLE + WORD + END + USAGE + DONE, None),
        ((ROLE + WORD + END + DONE).replace(b"\n", b"\r\n"), None),
        ((ROLE + WORD + END + DONE).replace(b"\n", b"\r"), None),
        ((ROLE + WORD + END + DONE).replace(b"data: ", b"data:"), None),
        (b": ping\n\n" + ROLE + b"event: x\nid: 1\n" + WORD + END + DONE, None),
        (b'data: {"choices":\ndata: [{"delta":{},"finish_reason":"stop"}]}\n\n' + DONE, None),
        ((ROLE + WORD + END + DONE).rstrip(), None),
        (b"", "empty_answer"),
        (b": ping\n\n", "empty_answer"),
        (ROLE + WORD, "stream_truncated"),
        (ROLE + WORD + END, "stream_truncated"),
        (ROLE + WORD + DONE, "stream_truncated"),
        (ROLE + WORD + END + b"data: [DO", "malformed_answer"),
        (ROLE + ERROR, "overloaded"),
        (ROLE + ERROR + DONE, "overloaded"),
        (ROLE + b'data: {"error":{"message":"m"}}\n\n', "stream_error"),
        (ROLE + b"data: {nonsense\n\n" + END + DONE, "malformed_answer"),
    ],
)
def test_streams(stream: bytes, error: str | None) -> None:
    """A stream is good when it has a finish reason and an end mark and no error on the way."""
    judge = StreamJudge()
    judge.feed(stream, now=1.0)

    assert error == judge.finish().error


@given(cuts=st.lists(st.integers(0, 400), max_size=12), crlf=st.booleans())
def test_where_the_bytes_are_cut_does_not_matter(cuts: list[int], crlf: bool) -> None:
    """The network may cut a stream anywhere."""
    stream = ROLE + WORD + END + DONE
    stream = stream.replace(b"\n", b"\r\n") if crlf else stream
    bounds = [0, *sorted(cuts), len(stream)]
    judge = StreamJudge()
    for begin, end in itertools.pairwise(bounds):
        judge.feed(stream[begin:end], now=1.0)

    assert Verdict(model="m", fingerprint="v2", first_content_at=1.0) == judge.finish()


@pytest.mark.parametrize(
    ("delta", "is_content"),
    [
        ({"content": "x"}, True),
        ({"refusal": "no"}, True),
        ({"tool_calls": [{}]}, True),
        ({"reasoning_content": "hm"}, True),
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None}, False),
        ({}, False),
    ],
)
def test_the_first_content_is_not_the_first_byte(delta: dict[str, object], is_content: bool) -> None:
    """A chunk that only says who speaks is no token; the time is that of the first piece that has one."""
    judge = StreamJudge()
    judge.feed(ROLE, now=1.0)
    judge.feed(b"data: " + msgspec.json.encode({"choices": [{"delta": delta}]}) + b"\n\n", now=2.0)
    judge.feed(WORD, now=3.0)

    assert (2.0 if is_content else 3.0) == judge.finish().first_content_at


@pytest.mark.parametrize(
    ("text", "code"), [("rate_limit", "rate_limit"), ("a\x1b[31m\nb", "a?[31m?b"), ("x" * 99, "x" * 64), ("", "?")]
)
def test_codes_are_made_fit_to_print(text: str, code: str) -> None:
    """They come from the target and end on somebody's terminal."""
    assert code == code_of(text)
