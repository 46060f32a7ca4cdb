"""A measurement as one PromQL query, and Prometheus' answer as a measurement.

`increase()` extrapolates to the window's ends: 10 requests become 10.7, and two neighbouring windows overlap in what
they claim to have seen. So the counts are differences of instant values at the window's two ends, which are whole
numbers and of which neighbouring windows share the one between them. Where a series began, ended or was reset inside
the window there is no such difference (or a wrong one); there, and only there, `increase()` stands in::

    m{…} - m{…} offset 30s >= 0 unless resets(m{…}[30s]) > 0 or increase(m{…}[30s])

The rules to know: label values get in only through `=` with escaping and always with the namespace; one query per
measurement, so that all its figures are of the same moment (it is long: send it by POST); and whatever is not clearly
a count is a problem, never a 0.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelway_contract.names import REQUESTS_TOTAL, TPOT_SECONDS, TTFT_SECONDS, Arm, Label, Outcome
from modelway_operator.api.strategy import BadOutcome, SloSignal
from modelway_operator.core.rollout.model import (
    Counts,
    Measurement,
    MeasurementProblem,
    MeasurementRequest,
    RatioQuantity,
    SloQuantity,
    Version,
)

HISTOGRAMS = {SloSignal.TTFT: TTFT_SECONDS, SloSignal.TPOT: TPOT_SECONDS}

STALE_SCRAPES = 2
"""A sample older than so many scrapes says nothing about now."""

SKEW_DEADBAND_SECONDS = 1.0
"""Smaller differences of the clocks are the network's, and shifting by them would tear neighbouring windows apart."""

FIGURE = "figure"
AGE = "age"
RETRYABLE_4XX = (408, 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An instant query and the moment it is evaluated at, by Prometheus' clock."""

    text: str
    time_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the HTTP status and the body, or no status and what went wrong instead."""

    status: int | None
    body: bytes = b""
    message: str = ""


def query_of(request: MeasurementRequest, clock_skew_seconds: float = 0.0) -> Query:
    """The query whose answer `read` turns into the counts of both arms."""
    skew = clock_skew_seconds if abs(clock_skew_seconds) >= SKEW_DEADBAND_SECONDS else 0.0
    window = _duration(request.end_seconds - request.start_seconds)
    parts = []
    for arm, version in arms_of(request):
        for name, selectors in _figures(request, arm, version).items():
            grown = " or ".join(_growth(selector, window) for selector in selectors)
            parts.append(_named(f"sum({grown})", f"{arm}_{name}"))
    youngest = " or ".join(f"timestamp({selector})" for selector in _freshness(request))
    parts.append(_named(f"time() - max({youngest})", AGE))
    return Query(text="\nor ".join(parts), time_seconds=round(request.end_seconds + skew, 3))


def counted_outcomes(bad: Iterable[BadOutcome]) -> tuple[tuple[Outcome, ...], tuple[Outcome, ...]]:
    """The outcomes that are bad and those that are good, in the order of the contract.

    A client's cancel tells nothing of the version and is never counted. Neither are a client's own error and an
    upstream's 429, unless they are named as bad: then they are counted, as bad.
    """
    named = {Outcome(outcome) for outcome in bad}
    neutral = {Outcome.CLIENT_CANCEL, Outcome.CLIENT_ERROR, Outcome.RATE_LIMITED}
    good = tuple(outcome for outcome in Outcome if outcome not in named and outcome not in neutral)
    return tuple(outcome for outcome in Outcome if outcome in named), good


def read(request: MeasurementRequest, answer: Answer) -> Measurement:
    """The counts in an answer, or the one problem that kept us from reading them."""
    if answer.status is None:
        return problem(MeasurementProblem.UNAVAILABLE, f"Prometheus gave no answer: {answer.message}")
    document = _document(answer.body)
    told = _text(document, "error") or answer.message
    if 400 <= answer.status < 500 and answer.status not in RETRYABLE_4XX:
        return problem(
            MeasurementProblem.CONFIG, f"Prometheus refused the query with HTTP {answer.status}: {told[:300]}"
        )
    if answer.status != 200:
        return problem(MeasurementProblem.UNAVAILABLE, f"Prometheus answered with HTTP {answer.status}: {told[:300]}")
    if document is None:
        return problem(MeasurementProblem.UNAVAILABLE, "Prometheus' answer is not JSON")
    if document.get("status") != "success":
        return problem(MeasurementProblem.UNAVAILABLE, f"Prometheus reports an error: {told[:300]}")
    warnings = document.get("warnings")
    if isinstance(warnings, list) and warnings:
        return problem(
            MeasurementProblem.UNAVAILABLE, f"Prometheus has only a part of the data: {str(warnings[0])[:300]}"
        )
    data = document.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    series = data.get("result") if isinstance(data, dict) else None
    if kind != "vector" or not isinstance(series, list):
        return problem(
            MeasurementProblem.CONFIG, f"Prometheus answered with a {kind or 'malformed result'} instead of numbers"
        )
    return _measured(request, series)


def problem(kind: MeasurementProblem, message: str) -> Measurement:
    """A measurement that did not succeed."""
    return Measurement(problem=kind, message=message)


def _measured(request: MeasurementRequest, series: list[object]) -> Measurement:
    figures: dict[str, float] = {}
    for entry in series:
        name, value = _sample(entry)
        if name is None or value is None:
            return problem(MeasurementProblem.CONFIG, "Prometheus answered with something that is not a number")
        if name in figures:
            return problem(MeasurementProblem.CONFIG, f"more than one series for {name}: one was to be expected")
        figures[name] = value
    arms = [arm for arm, _ in arms_of(request)]
    names = [f"{arm}_{part}" for arm in arms for part in _parts(request)]
    surplus = sorted(figures.keys() - {*names, AGE})
    if surplus:
        return problem(MeasurementProblem.CONFIG, f"more than one series: {surplus[0]!r} was not asked for")
    for arm in arms:
        if any(f"{arm}_{part}" not in figures for part in _parts(request)):
            return problem(MeasurementProblem.NO_DATA, missing_message(request, arm))
    age = figures.get(AGE, math.inf)
    counts = {}
    for arm in arms:
        values = [figures[f"{arm}_{part}"] for part in _parts(request)]
        if not all(math.isfinite(value) for value in values):
            requests = sum(value for value in values if math.isfinite(value))
            if requests == 0:
                return problem(MeasurementProblem.NO_DATA, f"not a number for {arm}, which had no requests")
            return problem(MeasurementProblem.CONFIG, f"not a number for {arm}, which had {requests:g} requests")
        counts[arm] = _counts(request, values)
    if not age <= STALE_SCRAPES * request.scrape_interval_seconds:
        return problem(MeasurementProblem.STALE, stale_message(age, request.scrape_interval_seconds))
    return measurement_of(counts)


def measurement_of(counts: Mapping[Arm, Counts]) -> Measurement:
    """The counts of the arms that were asked for; of the others there were no requests."""
    none = Counts(total=0, bad=0)
    return Measurement(candidate=counts.get(Arm.CANDIDATE, none), stable=counts.get(Arm.STABLE, none))


def arms_of(request: MeasurementRequest) -> tuple[tuple[Arm, Version], ...]:
    """The arms to be counted, each with its version."""
    versions = {Arm.CANDIDATE: request.candidate, Arm.STABLE: request.stable}
    return tuple((arm, versions[arm]) for arm in request.arms)


def missing_message(request: MeasurementRequest, arm: Arm) -> str:
    """What is said where an arm has no series at all."""
    version = request.candidate if arm is Arm.CANDIDATE else request.stable
    return (
        f"no series {metric_name(request)} for arm {arm}, version {version.digest}: "
        "are the gateways scraped, and are their labels kept?"
    )


def stale_message(age_seconds: float, scrape_interval_seconds: float) -> str:
    """What is said where the youngest sample is too old."""
    return f"the youngest sample is {age_seconds:.0f} s old, with a scrape every {scrape_interval_seconds:g} s"


def metric_name(request: MeasurementRequest) -> str:
    """The gateways' metric that a request counts."""
    match request.quantity:
        case RatioQuantity():
            return REQUESTS_TOTAL
        case SloQuantity(signal=signal):
            return HISTOGRAMS[signal]


def _parts(request: MeasurementRequest) -> tuple[str, str]:
    match request.quantity:
        case RatioQuantity():
            return ("bad", "good")
        case SloQuantity():
            return ("within", "all")


def _counts(request: MeasurementRequest, values: list[float]) -> Counts:
    first, second = (max(0, round(value)) for value in values)
    match request.quantity:
        case RatioQuantity():
            return Counts(total=first + second, bad=first)
        case SloQuantity():
            return Counts(total=second, bad=max(0, second - first))


def _figures(request: MeasurementRequest, arm: Arm, version: Version) -> dict[str, list[str]]:
    match request.quantity:
        case RatioQuantity(bad=named):
            bad, good = counted_outcomes(named)
            name = REQUESTS_TOTAL
            return {
                "bad": [_selector(request, name, arm, version, **{Label.OUTCOME: outcome}) for outcome in bad],
                "good": [_selector(request, name, arm, version, **{Label.OUTCOME: outcome}) for outcome in good],
            }
        case SloQuantity(signal=signal, over_seconds=over):
            name = HISTOGRAMS[signal]
            return {
                "within": [_selector(request, f"{name}_bucket", arm, version, le=text) for text in bound_texts(over)],
                "all": [_selector(request, f"{name}_count", arm, version)],
            }


def bound_texts(seconds: float) -> tuple[str, ...]:
    """How a histogram's bound may be spelled: `1`, and `1.0` as Prometheus 3 makes it."""
    text = f"{seconds:g}"
    return (text, f"{text}.0") if seconds == int(seconds) else (text,)


def _freshness(request: MeasurementRequest) -> list[str]:
    arm, version = arms_of(request)[0]
    match request.quantity:
        case RatioQuantity():
            return [_selector(request, REQUESTS_TOTAL, arm, version, **{Label.OUTCOME: Outcome.SUCCESS})]
        case SloQuantity():
            return [_selector(request, f"{metric_name(request)}_count", arm, version)]


def _selector(request: MeasurementRequest, name: str, arm: Arm, version: Version, **more: str) -> str:
    labels = {
        Label.NAMESPACE: request.key.namespace,
        Label.POLICY: request.key.policy,
        Label.RULE: request.key.rule,
        Label.TARGET: request.key.target,
        Label.VERSION: version.digest,
        Label.ARM: arm,
        **more,
    }
    return f"{name}{{{','.join(f'{label}={_quoted(value)}' for label, value in labels.items())}}}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _growth(selector: str, window: str) -> str:
    ranged = f"{selector}[{window}]"
    return f"{selector} - {selector} offset {window} >= 0 unless resets({ranged}) > 0 or increase({ranged})"


def _named(expression: str, figure: str) -> str:
    return f'label_replace({expression},"{FIGURE}","{figure}","","")'


def _duration(seconds: float) -> str:
    millis = round(seconds * 1000)
    return f"{millis // 1000}s" if millis % 1000 == 0 else f"{millis}ms"


def _document(body: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _text(document: dict[str, object] | None, field: str) -> str:
    value = document.get(field) if document is not None else None
    return value if isinstance(value, str) else ""


def _sample(entry: object) -> tuple[str | None, float | None]:
    if not isinstance(entry, dict):
        return None, None
    labels, pair = entry.get("metric"), entry.get("value")
    if not isinstance(labels, dict) or not isinstance(pair, list) or len(pair) != 2:
        return None, None
    try:
        value = float(pair[1])
    except (TypeError, ValueError):
        return None, None
    return str(labels.get(FIGURE, "")), value
