"""A rollout's course, as the policy's status tells it and the demo shows it."""

import io
from typing import Any

import pytest
from rich.console import Console

from modelway_cli.demo.figures import Figures
from modelway_cli.demo.files import Edit
from modelway_cli.demo.panel import WIDTH, panel
from modelway_cli.demo.progress import Progress, read_progress
from modelway_cli.demo.scenario import BAD, GOOD, Trial, Verdict
from modelway_cli.demo.timeline import Course
from modelway_cli.demo.view import View
from modelway_cli.traffic.report import Sample

SPEC = {
    "models": ["chat"],
    "rules": [{"name": "all", "targets": [{"name": "main", "modelRef": {"name": "chat-v2"}}]}],
    "rollouts": [
        {
            "name": "main",
            "rule": "all",
            "target": "main",
            "strategy": {"steps": [{"weight": 5}, {"weight": 50}], "bake": {"intervals": 7}},
            "analysis": {
                "alpha": "0.01",
                "metrics": [
                    {"name": "errors", "type": "Ratio", "ratio": {"bad": ["timeout"]}, "absolute": {"max": "0.1"}},
                    {"name": "ttft", "type": "SLO", "slo": {"signal": "TTFT", "over": "1s"}, "absolute": {"max": "1"}},
                ],
            },
        }
    ],
}
NOTHING_SEEN = Figures(lambda: 0.0)
V1, V2 = ({"model": f"default/chat-v{number}", "version": "0" * 12} for number in (1, 2))


def a_policy(**rollout: Any) -> dict[str, Any]:
    state = {"name": "main", "rule": "all", "target": "main", "steps": 2, "stable": V1, **rollout}
    ready = {"type": "Ready", "status": "True", "reason": "Serving"}
    return {
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": "chat"},
        "spec": SPEC,
        "status": {"conditions": [ready], "rollouts": [state]},
    }


def read(**rollout: Any) -> Progress:
    progress = read_progress(a_policy(**rollout))
    assert progress is not None
    return progress


def past(result: str, candidate: dict[str, str] = V2) -> dict[str, Any]:
    moment = "2026-03-01T12:00:00Z"
    return {"rolloutId": "r", "result": result, "candidate": candidate, "started": moment, "ended": moment}


def a_course(behaviour: Any = GOOD) -> Course:
    return Course(trial=Trial(candidate="chat-v2", behaviour=behaviour), stable="chat-v1")


def test_a_step_is_read_with_its_evidence() -> None:
    """The e-values are what the test has, the mark is what it takes."""
    progress = read(
        phase="Soaking",
        step=1,
        weight=5.0,
        intervals=3,
        candidate=V2,
        metrics=[{"name": "ttft", "worse": [3.0]}],
    )

    assert (True, "chat-v1", "chat-v2", 5.0) == (
        progress.is_ready,
        progress.stable,
        progress.candidate,
        progress.weight,
    )
    assert "step 1 of 2: Soaking, interval 3" == progress.headline
    assert [("errors", 1.0, 200.0), ("ttft", pytest.approx(20.0855, abs=1e-3), 200.0)] == [
        (one.metric, one.e_value, one.threshold) for one in progress.evidence
    ]
    assert [0.0, pytest.approx(0.566, abs=1e-3)] == [one.share for one in progress.evidence]


@pytest.mark.parametrize(
    ("rollout", "headline"),
    [
        ({"phase": "Baking", "intervals": 2}, "Baking: all traffic, interval 2 of 7"),
        ({"phase": "Held", "reason": "NoTraffic"}, "Held: NoTraffic"),
        ({"phase": "RollingBack"}, "RollingBack"),
        ({"phase": "Stable"}, "Stable"),
    ],
)
def test_a_headline_says_what_matters_there(rollout: dict[str, Any], headline: str) -> None:
    """In a few words."""
    assert headline == read(**rollout).headline


def test_a_new_policy_has_no_progress_yet() -> None:
    """Its status is what the API server would have put there."""
    raw = a_policy()
    raw["status"] = {"conditions": []}

    assert None is read_progress(raw)


def test_a_course_keeps_weights_verdict_and_figures() -> None:
    """With the moments since the edit."""
    course = a_course()
    decision = {
        "metric": "errors",
        "verdict": "Pass",
        "value": 0.0,
        "bound": 0.1,
        "samples": 1234,
        "eValue": 0.5,
        "threshold": 200.0,
        "windowFrom": "2026-03-01T12:00:00Z",
        "windowTo": "2026-03-01T12:00:01Z",
    }
    for seconds, progress in (
        (1.0, read(phase="Applying", weight=5.0, candidate=V2)),
        (2.0, read(phase="Soaking", weight=5.0, candidate=V2)),
        (8.4, read(phase="Soaking", weight=50.0, candidate=V2)),
        (20.0, read(phase="Stable", stable=V2, history=[past("Promoted")], decision=decision, message="it is stable")),
    ):
        course.take(progress, seconds=seconds)

    assert ("0 → 5 → 50 → 100 %", "1, 8, 20 s") == (course.weights_text, course.moments_text)
    assert (Verdict.PROMOTED, 20.0, True) == (course.verdict, course.verdict_at, course.is_as_expected)
    assert "errors: candidate 0 % of 1,234 bad; evidence against it 0.5 of 200" == str(course.decision)


def test_a_rollback_is_a_verdict_with_its_reason() -> None:
    """And not the one expected of a good version."""
    course = a_course()
    course.take(read(phase="Soaking", weight=5.0, candidate=V2), seconds=1)
    ended = [{**past("RolledBack"), "reason": "GateFailed"}]
    course.take(read(phase="RolledBack", candidate=V2, history=ended, message="too slow"), seconds=4)

    assert ("0 → 5 → 0 %", "GateFailed", "too slow") == (course.weights_text, course.reason, course.message)
    assert not course.is_as_expected
    assert a_course(BAD).trial.expected is course.verdict


def test_the_end_of_another_rollout_is_no_verdict_on_this_one() -> None:
    """The history holds the rollouts before it, too."""
    course = a_course()
    course.take(read(phase="Stable", history=[past("Promoted", V1), past("InitialDeploy")]), seconds=1)

    assert (None, "0 %") == (course.verdict, course.weights_text)


def shown(progress: Progress, figures: Figures, *, width: int = WIDTH) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(panel(a_course(), progress, figures, title="1 of 2", width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, WIDTH])
@pytest.mark.parametrize("message", ["", "short", "long " * 100])
def test_the_panel_keeps_its_size(width: int, message: str) -> None:
    """Nothing jumps while it is redrawn, and it fits a narrow terminal."""
    progress = read(phase="Soaking", step=1, weight=5.0, candidate=V2, message=message)
    lines = shown(progress, NOTHING_SEEN, width=width).splitlines()

    assert (21, {width}) == (len(lines), {len(line) for line in lines})


@pytest.mark.parametrize(
    ("rollout", "way"),
    [
        ({"phase": "Preflight", "candidate": V2}, "◉ preflight ── ○ 5 % ── ○ 50 % ── ○ 100 % ── ○ stable"),
        (
            {"phase": "Soaking", "step": 1, "weight": 5.0, "candidate": V2},
            "● preflight ── ◉ 5 % ── ○ 50 % ── ○ 100 % ── ○ stable",
        ),
        (
            {"phase": "Baking", "step": 2, "weight": 100.0, "candidate": V2},
            "● preflight ── ● 5 % ── ● 50 % ── ◉ 100 % ── ○ stable",
        ),
        ({"phase": "RolledBack", "candidate": V2}, "◉ preflight ── ○ 5 % ── ○ 50 % ── ○ 100 % ── ○ stable"),
        ({"phase": "Stable", "stable": V2}, "● preflight ── ● 5 % ── ● 50 % ── ● 100 % ── ● stable"),
    ],
)
def test_the_panel_shows_the_way_and_where_on_it_the_candidate_is(rollout: dict[str, Any], way: str) -> None:
    """Every station, those that are behind it filled."""
    assert way in shown(read(**rollout), NOTHING_SEEN)


def test_the_panel_shows_both_arms_as_clients_see_them_now() -> None:
    """A share that is not none is seen in the bar, however small."""
    now = 3.0
    figures = Figures(lambda: now)
    for _ in range(99):
        figures.take(Sample(number=0, stream=True, model="chat-v1", ttft_seconds=0.06))
    figures.take(Sample(number=0, stream=False, model="chat-v2", error="server_error"))
    now = 4.0
    progress = read(phase="Soaking", step=1, weight=0.1, candidate=V2)
    text = shown(progress, figures)

    stable, candidate = (
        next(line for line in text.splitlines() if f"  {name}  " in line) for name in ("chat-v1", "chat-v2")
    )
    assert ["│", "chat-v1", "█", "99", "20", "0.0%", "0.0%", "60", "ms", "60", "ms", "│"] == stable.split()
    assert ["│", "chat-v2", "▁", "1", "0", "100.0%", "0.0%", "-", "-", "│"] == candidate.split()


def test_without_a_terminal_a_line_is_said_when_something_changed() -> None:
    """So that a log can be read, and does not grow while nothing happens."""
    out = io.StringIO()
    with View(Console(file=out, width=80), clock=lambda: 61.0) as view:
        view.show_edit("policy.yaml", Edit(before="  name: a", after="  name: b"))
        for weight in (5.0, 5.0, 50.0):
            progress = read(phase="Soaking", step=1, weight=weight, candidate=V2)
            view.show(a_course(), progress, NOTHING_SEEN, title="1 of 2")

    assert [
        "0:00  policy.yaml",
        "      -   name: a",
        "      +   name: b",
        "0:00  chat-v2 5 %: step 1 of 2: Soaking, interval 0",
        "0:00  chat-v2 50 %: step 1 of 2: Soaking, interval 0",
    ] == out.getvalue().splitlines()
