"""A plan says how much traffic there will be, and refuses what makes no sense."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_cli.errors import UsageError
from modelway_cli.traffic.plan import TrafficPlan


def a_plan(**fields: Any) -> TrafficPlan:
    return TrafficPlan(**({"url": "http://127.0.0.1:8080/v1", "model": "m"} | fields))


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"rate": 50, "duration_seconds": 3}, 150),
        ({"rate": 10, "duration_seconds": 0.3}, 3),
        ({"rate": 0.1, "duration_seconds": 30}, 3),
        ({"rate": 3, "duration_seconds": 1.1}, 4),
        ({"rate": 0.01, "duration_seconds": 1}, 1),
        ({"rate": 1, "duration_seconds": 1e-9}, 1),
        ({"rate": 20}, 200),
        ({"rate": 50, "duration_seconds": 3, "requests": 7}, 7),
        ({"rate": 50, "duration_seconds": 3, "requests": 1_000}, 150),
        ({"rate": 50, "requests": 7}, 7),
        ({"requests": 7}, 7),
        ({"concurrency": 4, "requests": 7}, 7),
        ({"concurrency": 4, "requests": 7, "duration_seconds": 1}, None),
        ({"concurrency": 4}, None),
        ({}, None),
    ],
)
def test_an_open_loop_is_counted_before_it_runs(fields: dict[str, Any], count: int | None) -> None:
    """One request for every 1 / rate that begins within the duration."""
    assert count == a_plan(**fields).scheduled


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [({}, 10.0), ({"rate": 5}, 10.0), ({"duration_seconds": 4}, 4.0), ({"requests": 3}, float("inf"))],
)
def test_every_plan_is_bounded(fields: dict[str, Any], seconds: float) -> None:
    """By a time, by a number, or by both; by ten seconds when nothing is said."""
    plan = a_plan(**fields)

    assert seconds == plan.begin_within_seconds
    assert seconds < float("inf") or plan.requests is not None


@pytest.mark.parametrize(
    ("url", "chat_url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/chat/completions"),
        ("https://[::1]/openai/v1", "https://[::1]/openai/v1/chat/completions"),
    ],
)
def test_the_url_is_an_sdks_base_url(url: str, chat_url: str) -> None:
    """Without a path, `/v1` is meant."""
    assert chat_url == a_plan(url=url).chat_url


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": "127.0.0.1:8080"}, "URL"),
        ({"url": "ftp://127.0.0.1"}, "URL"),
        ({"url": "http://"}, "URL"),
        ({"url": "http://127.0.0.1:99999"}, "URL"),
        ({"url": "http://127.0.0.1:0"}, "URL"),
        ({"url": "http://[::1"}, "URL"),
        ({"url": "http://user:pw@127.0.0.1"}, "no user"),
        ({"url": "http://127.0.0.1/v1?key=x"}, "query"),
        ({"model": ""}, "--model"),
        ({"rate": 1, "concurrency": 1}, "not both"),
        ({"rate": 0}, "--rate"),
        ({"rate": float("nan")}, "--rate"),
        ({"rate": float("inf")}, "--rate"),
        ({"concurrency": 0}, "--concurrency"),
        ({"duration_seconds": -1}, "--duration"),
        ({"duration_seconds": float("inf")}, "--duration"),
        ({"requests": 0}, "--requests"),
        ({"timeout_seconds": 0}, "--timeout"),
        ({"max_in_flight": 0}, "--max-in-flight"),
        ({"stream_share": 1.1}, "--stream-share"),
        ({"stream_share": float("nan")}, "--stream-share"),
        ({"session_count": -1}, "--session-count"),
        ({"headers": (("a b", "x"),)}, "--header"),
        ({"headers": (("", "x"),)}, "--header"),
        ({"headers": (("a", "x\r\ny: z"),)}, "--header a"),
        ({"headers": (("a", "1"), ("A", "2"))}, "twice"),
        ({"headers": (("Content-Length", "1"),)}, "content-length"),
        ({"headers": (("Authorization", "x"),), "api_key": "k"}, "not both"),
        ({"headers": (("X-Session-Id", "x"),), "session_count": 2}, "not both"),
        ({"api_key": ""}, "API key"),
        ({"api_key": "a\nb"}, "API key"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    """The message names what is wrong."""
    with pytest.raises(UsageError) as caught:
        a_plan(**fields)

    assert says in str(caught.value)


def test_no_secret_is_shown() -> None:
    """Neither a plan's repr nor a refusal repeats a key or a header's value."""
    plan = a_plan(api_key="very-secret", headers=(("x-key", "very-secret"),))

    assert "very-secret" not in repr(plan)
    with pytest.raises(UsageError) as caught:
        a_plan(headers=(("x-key", "very-secret\n"),))
    assert "very-secret" not in str(caught.value)


@given(share=st.floats(0, 1), count=st.integers(1, 500))
def test_streams_are_as_many_as_their_share(share: float, count: int) -> None:
    """At any moment the number of streams is within three of the exact share."""
    plan = a_plan(stream_share=share)

    assert abs(sum(map(plan.is_stream, range(count))) - share * count) < 3


@pytest.mark.parametrize("sessions", [2, 3, 10])
def test_streams_and_sessions_do_not_fall_in_step(sessions: int) -> None:
    """Every session has both kinds of request."""
    plan = a_plan(stream_share=0.5, session_count=sessions)

    kinds = Counter((plan.session_of(number), plan.is_stream(number)) for number in range(100 * sessions))

    assert 2 * sessions == len(kinds)
    assert min(kinds.values()) >= 40


def test_sessions_are_used_in_turn() -> None:
    """As many values as were asked for, each as often."""
    plan = a_plan(session_count=3)

    assert [plan.session_of(number) for number in range(4)] == ["session-0", "session-1", "session-2", "session-0"]
    assert a_plan().session_of(5) is None
