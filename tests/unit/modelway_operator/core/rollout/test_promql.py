"""The query and its answer: whole counts, escaping, and the same verdict as without Prometheus."""

import json
from collections import deque

import pytest

from modelway_contract.names import Arm, Outcome
from modelway_operator.api.strategy import BadOutcome, SloSignal
from modelway_operator.core.rollout.counters import Recordings, Scrape, measure
from modelway_operator.core.rollout.model import (
    Counts,
    Measurement,
    MeasurementProblem,
    MeasurementRequest,
    Quantity,
    RatioQuantity,
    SloQuantity,
    TargetKey,
    Version,
)
from modelway_operator.core.rollout.promql import Answer, bound_texts, counted_outcomes, query_of, read

from tests.unit.modelway_operator.core.rollout.recordings import (
    BEGIN,
    CANDIDATE,
    KEY,
    SCRAPE_SECONDS,
    STABLE,
    answer,
    record,
)

ERRORS = RatioQuantity(bad=(BadOutcome.UPSTREAM_ERROR, BadOutcome.TIMEOUT))
SLOW = SloQuantity(signal=SloSignal.TTFT, over_seconds=1.0)
BOTH = (Arm.CANDIDATE, Arm.STABLE)


def a_request(
    start: float = 60,
    end: float = 90,
    *,
    quantity: Quantity = ERRORS,
    key: TargetKey = KEY,
    arms: tuple[Arm, ...] = BOTH,
) -> MeasurementRequest:
    return MeasurementRequest(
        key=key,
        metric="errors",
        quantity=quantity,
        stable=STABLE,
        candidate=CANDIDATE,
        start_seconds=BEGIN + start,
        end_seconds=BEGIN + end,
        scrape_interval_seconds=SCRAPE_SECONDS,
        arms=arms,
    )


def by_prometheus(request: MeasurementRequest, recordings: Recordings) -> Measurement:
    return read(request, answer(query_of(request), recordings))


# --------------------------------------------------------------------------------------------------------- the query


def test_every_selector_has_the_namespace_and_uses_equality_only() -> None:
    """A query can never read another tenant's series."""
    text = query_of(a_request()).text

    assert text.count("{") == text.count('{modelway_namespace="shop",policy="chat",rule="legal-eu",target="main"')
    assert "=~" not in text
    assert "!~" not in text


def test_label_values_are_escaped() -> None:
    """Names are held to harmless letters by the types; the query does not rely on it."""
    evil = TargetKey('a"} or vector(1) or x{y="', "b\\", "c\nd", "main")
    text = query_of(a_request(key=evil)).text

    assert 'modelway_namespace="a\\"} or vector(1) or x{y=\\""' in text
    assert 'policy="b\\\\"' in text
    assert 'rule="c\\nd"' in text


def test_a_query_names_its_moment_and_its_whole_window() -> None:
    """No `now`: the same interval gives the same counts whenever it is asked for."""
    query = query_of(a_request(60, 90))

    assert query.time_seconds == BEGIN + 90
    assert "offset 30s" in query.text
    assert "[30s]" in query.text
    assert "[2500ms]" in query_of(a_request(60, 62.5)).text


@pytest.mark.parametrize(("skew", "shift"), [(0.0, 0.0), (0.4, 0.0), (-0.9, 0.0), (12.0, 12.0), (-7.5, -7.5)])
def test_windows_use_the_clock_of_prometheus(skew: float, shift: float) -> None:
    """But not the noise of the network: that would tear neighbouring windows apart."""
    assert query_of(a_request(), skew).time_seconds == BEGIN + 90 + shift


def test_while_baking_only_the_candidate_is_counted() -> None:
    """Stable has no traffic, and may have no series either."""
    assert 'arm="stable"' not in query_of(a_request(arms=(Arm.CANDIDATE,))).text


@pytest.mark.parametrize("quantity", [ERRORS, SLOW])
def test_before_a_cut_over_only_stable_is_counted(quantity: Quantity) -> None:
    """The candidate has no traffic; both sources agree, and the age is that of stable's samples."""
    request, recordings = a_request(quantity=quantity, arms=(Arm.STABLE,)), record(seconds=300)

    assert 'arm="candidate"' not in query_of(request).text
    measured = measure(request, recordings)
    assert measured == by_prometheus(request, recordings)
    assert measured.candidate.total == 0 < measured.stable.total


def test_a_whole_bound_is_looked_for_in_both_spellings() -> None:
    """Prometheus 3 writes 1 as 1.0."""
    assert bound_texts(1.0) == ("1", "1.0")
    assert bound_texts(2.5) == ("2.5",)


def test_what_counts_as_bad_and_what_counts_at_all() -> None:
    """A cancel never; a client's own error and a 429 only where they are named."""
    bad, good = counted_outcomes((BadOutcome.UPSTREAM_ERROR,))
    assert bad == (Outcome.UPSTREAM_ERROR,)
    assert good == (Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.CONNECT_ERROR, Outcome.STREAM_ERROR)

    bad, good = counted_outcomes((BadOutcome.RATE_LIMITED,))
    assert Outcome.RATE_LIMITED in bad
    assert not {Outcome.CLIENT_CANCEL, Outcome.CLIENT_ERROR} & {*bad, *good}


# ------------------------------------------------------------------------------------------------- both sources agree


@pytest.mark.parametrize("quantity", [ERRORS, SLOW], ids=["errors", "slow"])
@pytest.mark.parametrize("window", [(60, 90), (60, 80), (61, 93), (5, 100)])
def test_both_sources_count_the_same_whole_numbers(quantity: Quantity, window: tuple[float, float]) -> None:
    """From the same recorded samples, to the request."""
    recordings = record(seconds=120)
    request = a_request(*window, quantity=quantity)
    counted = measure(request, recordings)

    assert counted.problem is None
    assert counted.candidate.total > 0
    assert counted == by_prometheus(request, recordings)


def test_neighbouring_windows_neither_overlap_nor_leave_anything_out() -> None:
    """The counts of two of them are those of the one that covers both."""
    recordings = record(seconds=120)
    for count in (measure, by_prometheus):
        first = count(a_request(40, 70), recordings)
        second = count(a_request(70, 100), recordings)
        whole = count(a_request(40, 100), recordings)

        assert whole.candidate.total == first.candidate.total + second.candidate.total
        assert whole.stable.bad == first.stable.bad + second.stable.bad


@pytest.mark.parametrize("window", [(60, 90), (5, 100)], ids=["short", "beyond its old value"])
@pytest.mark.parametrize("quantity", [ERRORS, SLOW], ids=["errors", "slow"])
def test_f35_a_counter_reset_gives_neither_negative_nor_huge_nor_lost_counts(
    quantity: Quantity, window: tuple[float, float]
) -> None:
    """Prometheus extrapolates there, by a few percent; nothing else differs."""
    recordings = record(seconds=120, restart_at=75)
    request = a_request(*window, quantity=quantity)
    exact, extrapolated = measure(request, recordings), by_prometheus(request, recordings)
    undisturbed = measure(request, record(seconds=120))

    assert 0 < exact.candidate.total <= undisturbed.candidate.total
    assert exact.candidate.total == pytest.approx(extrapolated.candidate.total, rel=0.2)
    assert exact.stable.total == pytest.approx(extrapolated.stable.total, rel=0.2)


def test_a_replica_that_joins_or_leaves_adds_only_what_it_served() -> None:
    """Its lifetime's counts are not the window's."""
    for recordings in (record(seconds=120, second_from=75), record(seconds=120, until=75)):
        exact, extrapolated = measure(a_request(), recordings), by_prometheus(a_request(), recordings)
        both = measure(a_request(), record(seconds=120))

        assert 0 < exact.candidate.total <= both.candidate.total * 1.2
        assert exact.candidate.total == pytest.approx(extrapolated.candidate.total, rel=0.25)


def test_both_sources_call_the_same_samples_stale() -> None:
    """Older than two scrapes at the window's end."""
    recordings = record(seconds=90)
    for end, expected in ((100.0, None), (102.0, MeasurementProblem.STALE)):
        for count in (measure, by_prometheus):
            assert expected == count(a_request(60, end), recordings).problem


def test_both_sources_say_no_data_where_an_arm_has_no_series() -> None:
    """Which is not the same as no requests."""
    recordings = record(seconds=120)
    unknown = MeasurementRequest(
        key=KEY,
        metric="errors",
        quantity=ERRORS,
        stable=STABLE,
        candidate=Version("shop/law-v3", "v3"),
        start_seconds=BEGIN + 60,
        end_seconds=BEGIN + 90,
        scrape_interval_seconds=SCRAPE_SECONDS,
    )
    for found in (measure(unknown, recordings), by_prometheus(unknown, recordings), measure(unknown, {})):
        assert found.problem is MeasurementProblem.NO_DATA
        assert "modelway_requests_total for arm candidate, version v3" in found.message


def test_a_failed_scrape_in_between_loses_nothing() -> None:
    """Counters forget nothing: what the missing scrape would have shown is in the next one."""
    recordings = record(seconds=120)
    holey: dict[str, list[Scrape]] = {
        name: [scrape for scrape in scrapes if not 70 <= scrape.time_seconds - BEGIN <= 80]
        for name, scrapes in recordings.items()
    }
    for count in (measure, by_prometheus):
        assert count(a_request(60, 90), recordings) == count(a_request(60, 90), holey)


def test_recordings_may_be_rings() -> None:
    """Whoever scrapes keeps only the youngest ones."""
    recordings = record(seconds=120)
    rings = {name: deque(scrapes, maxlen=50) for name, scrapes in recordings.items()}

    assert measure(a_request(), recordings) == measure(a_request(), rings)


# ---------------------------------------------------------------------------------------------------------- the answer


def a_body(figures: dict[str, str], **more: object) -> bytes:
    result = [{"metric": {"figure": name}, "value": [1, value]} for name, value in figures.items()]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more}).encode()


GOOD = {"candidate_bad": "2", "candidate_good": "98", "stable_bad": "1", "stable_good": "299", "age": "4"}


def test_a_good_answer_is_read_as_counts() -> None:
    """And remarks that are no warnings change nothing."""
    measured = read(a_request(), Answer(status=200, body=a_body(GOOD, infos=["metric might not be a counter"])))

    assert measured == Measurement(candidate=Counts(total=100, bad=2), stable=Counts(total=300, bad=1))


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (400, MeasurementProblem.CONFIG),
        (401, MeasurementProblem.CONFIG),
        (404, MeasurementProblem.CONFIG),
        (422, MeasurementProblem.CONFIG),
        (408, MeasurementProblem.UNAVAILABLE),
        (429, MeasurementProblem.UNAVAILABLE),
        (500, MeasurementProblem.UNAVAILABLE),
        (503, MeasurementProblem.UNAVAILABLE),
        (302, MeasurementProblem.UNAVAILABLE),
        (None, MeasurementProblem.UNAVAILABLE),
    ],
)
def test_a_status_says_whether_it_can_pass_by_itself(status: int | None, problem: MeasurementProblem) -> None:
    """4xx is our own fault and stays; the rest is tried again."""
    assert read(a_request(), Answer(status=status, body=b"oops", message="gone")).problem is problem


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"status":"success"}', b'{"status":"success","data":[]}', b"\xff"]
)
def test_a_malformed_answer_is_a_problem_and_never_an_exception(body: bytes) -> None:
    """Whatever a proxy in between may answer."""
    assert read(a_request(), Answer(status=200, body=body)).problem is not None


@pytest.mark.parametrize(
    "entry", [None, [], {}, {"metric": {}}, {"metric": {}, "value": [1]}, {"metric": 1, "value": 2}]
)
def test_a_malformed_entry_is_a_problem_and_never_an_exception(entry: object) -> None:
    """The same within the answer."""
    document = {"status": "success", "data": {"resultType": "vector", "result": [entry]}}

    assert read(a_request(), Answer(status=200, body=json.dumps(document).encode())).problem is not None
