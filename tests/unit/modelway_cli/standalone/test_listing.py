"""`modelway get`: the words for what to show, and the tables."""

import datetime as dt
from typing import Any

import pytest

from modelway_cli.standalone.columns import age, value_at
from modelway_cli.standalone.listing import Tables, chosen, is_kind

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def an_object(kind: str, name: str, *, namespace: str = "default", **status: Any) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "reason": "Serving"}
    created = "2026-03-01T11:58:00Z"
    return {
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created},
        "status": {"conditions": [{"type": "Accepted", "status": "False"}, ready], **status},
    }


MODEL = an_object("LLMModel", "chat-v1", summary={"model": "chat", "backends": "1/1"}, referencedBy={"count": 1})
POLICY = an_object("RoutingPolicy", "chat", weights="default: chat-v1=100", summary={"gateways": "1/1"}, revision="r")
SECRET = an_object("Secret", "memory")
ALL = [MODEL, POLICY, SECRET]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (None, ["chat-v1", "chat"]),
        ("models", ["chat-v1"]),
        ("LLMModels", ["chat-v1"]),
        ("llmm", ["chat-v1"]),
        ("policies", ["chat"]),
        ("rpol", ["chat"]),
        ("chat", ["chat"]),
        ("policy/chat", ["chat"]),
        ("model/chat", []),
        ("memory", []),
        ("secrets", []),
    ],
)
def test_a_word_means_a_kind_or_a_name(what: str | None, expected: list[str]) -> None:
    """The names that kubectl takes, and plain ones; never what the operator keeps for itself."""
    assert expected == [raw["metadata"]["name"] for raw in chosen(ALL, what)]


def test_only_kinds_are_kinds() -> None:
    """So that a name which nothing has can be told from a kind of which there is nothing."""
    assert (True, True, False) == (is_kind("models"), is_kind("RoutingPolicy"), is_kind("chat"))


def test_one_kind_looks_as_kubectl_shows_it() -> None:
    """The columns are those of the CRD."""
    assert (
        "NAME      MODEL   READY   REASON    BACKENDS   AGE\nchat-v1   chat    True    Serving   1/1        2m"
    ) == Tables(wide=False).text([MODEL], now=NOW)


def test_wide_adds_the_columns_of_lower_priority() -> None:
    """At the end, as kubectl does."""
    heading, line = Tables(wide=True).text([MODEL], now=NOW).splitlines()

    assert ["AGE", "REGIONS", "USED-BY"] == heading.split()[-3:]
    assert ["2m", "1"] == line.split()[-2:]


def test_several_kinds_are_told_apart_and_so_are_namespaces() -> None:
    """As `kubectl get -A` of two kinds does."""
    other = an_object("LLMModel", "x", namespace="team-a")
    text = Tables(wide=False).text([MODEL, other, POLICY], now=NOW)
    models, policies = text.split("\n\n")

    assert ["NAMESPACE", "NAME"] == models.splitlines()[0].split()[:2] == policies.splitlines()[0].split()[:2]
    assert ["team-a", "llmmodel.modelway.dev/x"] == models.splitlines()[2].split()[:2]
    assert ["default", "routingpolicy.modelway.dev/chat"] == policies.splitlines()[1].split()[:2]


def test_later_lines_keep_to_the_columns() -> None:
    """A watch prints headings once; a kind that comes later gets its own."""
    tables = Tables(wide=False)
    first = tables.text([MODEL], now=NOW).splitlines()
    later = tables.text([MODEL], now=NOW)
    policy = tables.text([POLICY], now=NOW).splitlines()

    assert first[1] == later
    assert 2 == len(policy)


def test_a_new_object_shows_what_is_known() -> None:
    """An empty cell, and no error, where the operator has said nothing yet."""
    raw = {**MODEL, "status": {}}

    assert ["chat-v1", "2m"] == Tables(wide=False).text([raw], now=NOW).splitlines()[1].split()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (9 * 3600, "9h"),
        (2 * 86400, "2d"),
        (2 * 86400 + 3600, "2d1h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (-5, "0s"),
    ],
)
def test_an_age_is_put_as_kubectl_puts_it(seconds: int, expected: str) -> None:
    """Two units while the second one still says something."""
    since = (NOW - dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert expected == age(since, NOW)


def test_no_age_is_said_so() -> None:
    """As kubectl says it."""
    assert "<unknown>" == age("", NOW)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ('.status.conditions[?(@.type=="Ready")].reason', "Serving"),
        ('.status.conditions[?(@.type=="Stalled")].reason', None),
        (".status.summary.model", "chat"),
        (".status.summary.model.deeper", None),
        (".spec.nothing", None),
    ],
)
def test_a_path_is_read_or_there_is_nothing(path: str, expected: str | None) -> None:
    """The two forms that the CRDs' columns use."""
    assert expected == value_at(MODEL, path)
