"""Recorded counters of a few replicas, and a small model of how Prometheus evaluates our one kind of query.

The model knows instant selectors with their five minutes of lookback, `offset`, and `increase()` with its
extrapolation, written after Prometheus' own rules; it takes the query's text, so that what it tells is about the
text we send.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from modelway_contract.names import REQUESTS_TOTAL, TTFT_SECONDS, Arm, Label, Outcome
from modelway_operator.core.rollout.counters import Recordings, Scrape, Series
from modelway_operator.core.rollout.model import TargetKey, Version
from modelway_operator.core.rollout.promql import Answer, Query

KEY = TargetKey("shop", "chat", "legal-eu", "main")
STABLE, CANDIDATE = Version("shop/law-v1", "v1"), Version("shop/law-v2", "v2")
SCRAPE_SECONDS = 5.0
BEGIN = 1_000_000.0
LOOKBACK_SECONDS = 300.0


def labels_of(arm: Arm, version: Version) -> dict[str, str]:
    """The labels every series of an arm has."""
    return {
        Label.NAMESPACE.value: KEY.namespace,
        Label.POLICY.value: KEY.policy,
        Label.RULE.value: KEY.rule,
        Label.TARGET.value: KEY.target,
        Label.MODEL.value: version.model,
        Label.VERSION.value: version.digest,
        Label.ARM.value: arm.value,
    }


def record(
    *, seconds: float, seed: int = 1, restart_at: float | None = None, second_from: float = 0.0, until: float = 1e9
) -> dict[str, Sequence[Scrape]]:
    """Two replicas under traffic; the first may restart, the second may come late or go early."""
    rng = random.Random(seed)
    counters: dict[str, dict[Series, float]] = {"gateway-0": {}, "gateway-1": {}}
    scrapes: dict[str, list[Scrape]] = {"gateway-0": [], "gateway-1": []}
    for step in range(int(seconds / SCRAPE_SECONDS) + 1):
        time = BEGIN + step * SCRAPE_SECONDS
        for index, (name, values) in enumerate(counters.items()):
            alive = index == 0 or second_from <= step * SCRAPE_SECONDS <= until
            if not alive:
                continue
            if index == 0 and restart_at is not None and 0 <= step * SCRAPE_SECONDS - restart_at < SCRAPE_SECONDS:
                values.clear()
            _serve(rng, values)
            # Each replica is scraped at a moment of its own.
            scrapes[name].append(Scrape(time_seconds=time + 0.7 * index, values=dict(values)))
    return dict(scrapes)


def _serve(rng: random.Random, values: dict[Series, float]) -> None:
    for arm, version, requests in ((Arm.CANDIDATE, CANDIDATE, 9), (Arm.STABLE, STABLE, 40)):
        fresh = not values or not any(dict(series.labels)[Label.ARM.value] == arm.value for series in values)
        labels = labels_of(arm, version)
        for outcome in Outcome:
            _add(values, REQUESTS_TOTAL, 0 if fresh else rng.randrange(requests), labels | {"outcome": outcome.value})
        within, slow = (0, 0) if fresh else (rng.randrange(requests), rng.randrange(3))
        _add(values, f"{TTFT_SECONDS}_bucket", within, labels | {"le": "1"})
        _add(values, f"{TTFT_SECONDS}_bucket", within, labels | {"le": "2.5"})
        _add(values, f"{TTFT_SECONDS}_count", within + slow, labels)


def _add(values: dict[Series, float], name: str, amount: float, labels: Mapping[str, str]) -> None:
    series = Series(name, frozenset(labels.items()))
    values[series] = values.get(series, 0.0) + amount


# ------------------------------------------------------------------------------------------- a model of Prometheus

SELECTOR = r"([a-z_]+)\{([^}]*)\}"
RANGE = rf"{SELECTOR}\[(\S+?)\]"
GROWTH = re.compile(rf"{SELECTOR} - {SELECTOR} offset (\S+) >= 0 unless resets\({RANGE}\) > 0 or increase\({RANGE}\)")
FIGURE = re.compile(r'label_replace\((sum|time\(\) - max)\((.*)\),"figure","(\w+)","",""\)')
YOUNGEST = re.compile(rf"timestamp\({SELECTOR}\)")

Samples = list[tuple[float, float]]


def answer(query: Query, recordings: Recordings) -> Answer:
    """What Prometheus says, had it scraped these."""
    result = []
    for part in query.text.split("\nor "):
        found = FIGURE.fullmatch(part)
        assert found is not None, part
        kind, inner, figure = found.groups()
        value = _sum(inner, query.time_seconds, recordings) if kind == "sum" else _age(inner, query, recordings)
        if value is not None:
            result.append({"metric": {"figure": figure}, "value": [query.time_seconds, repr(value)]})
    document = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return Answer(status=200, body=json.dumps(document).encode())


def _sum(text: str, time: float, recordings: Recordings) -> float | None:
    total: float | None = None
    for found in GROWTH.findall(text):
        name, labels = found[:2]
        window = found[4]
        # One series and one window throughout, or this would be another question.
        assert found == (name, labels, name, labels, window, name, labels, window, name, labels, window)
        length = float(window[:-2]) / 1000 if window.endswith("ms") else float(window[:-1])
        for samples in _series(name, labels, recordings):
            now, before = _instant(samples, time), _instant(samples, time - length)
            grown = None if now is None or before is None else now - before
            if grown is None or grown < 0 or _resets(samples, time, length):
                grown = _increase(samples, time, length)
            if grown is not None:
                total = (total or 0.0) + grown
    return total


def _age(text: str, query: Query, recordings: Recordings) -> float | None:
    times = [
        sample[0]
        for name, labels in YOUNGEST.findall(text)
        for samples in _series(name, labels, recordings)
        for sample in samples
        if query.time_seconds - LOOKBACK_SECONDS < sample[0] <= query.time_seconds
    ]
    return query.time_seconds - max(times) if times else None


def _series(name: str, labels: str, recordings: Recordings) -> list[Samples]:
    wanted = set(re.findall(r'(\w+)="([^"]*)"', labels))
    return [
        [(scrape.time_seconds, scrape.values[series]) for scrape in scrapes if series in scrape.values]
        for scrapes in recordings.values()
        for series in {series for scrape in scrapes for series in scrape.values}
        if series.name == name and wanted <= series.labels
    ]


def _instant(samples: Samples, time: float) -> float | None:
    near = [value for at, value in samples if time - LOOKBACK_SECONDS < at <= time]
    return near[-1] if near else None


def _resets(samples: Samples, time: float, length: float) -> bool:
    inside = [value for at, value in samples if time - length < at <= time]
    return any(later < earlier for earlier, later in pairwise(inside))


def _increase(samples: Samples, time: float, length: float) -> float | None:
    inside = [(at, value) for at, value in samples if time - length < at <= time]
    if len(inside) < 2:
        return None
    (first_at, first), (last_at, last) = inside[0], inside[-1]
    grown = last - first + sum(a for (_, a), (_, b) in pairwise(inside) if b < a)
    sampled = last_at - first_at
    average = sampled / (len(inside) - 1)
    to_start, to_end = first_at - (time - length), time - last_at
    threshold = average * 1.1
    to_start = average / 2 if to_start >= threshold else to_start
    to_end = average / 2 if to_end >= threshold else to_end
    if grown > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / grown))
    return grown * (sampled + to_start + to_end) / sampled
