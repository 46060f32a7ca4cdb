"""The demo's books: what clients saw, what became of the rollouts, and what is not as it should be."""

import pytest

from modelway_cli.demo.figures import Figures, Recent
from modelway_cli.demo.recount import faults, recount
from modelway_cli.demo.scenario import BAD, GOOD, Trial, Verdict, trials
from modelway_cli.demo.timeline import Course
from modelway_cli.simulator.stats import StatsView
from modelway_cli.traffic.report import Sample


def a_sample(model: str | None = "chat-v1", *, ok: bool = True, ttft: float | None = None, attempts: int = 1) -> Sample:
    error = None if ok else "e"
    return Sample(number=0, stream=ttft is not None, model=model, error=error, ttft_seconds=ttft, attempts=attempts)


def stats(ok: int, failed: int = 0) -> StatsView:
    by_outcome = {"ok": ok, "status": failed}
    return StatsView(received=ok + failed, by_model={}, by_outcome=by_outcome, open_streams=0, cancelled=0)


def a_course(*, bad: bool = False, verdict: Verdict | None = None) -> Course:
    trial = Trial(candidate="chat-v3" if bad else "chat-v2", behaviour=BAD if bad else GOOD)
    return Course(trial=trial, stable="chat-v1", verdict=verdict)


def shares_and_times(recent: Recent) -> tuple[float | None, float | None]:
    assert (recent.failed_share, recent.ttft_p50) == (recent.retried_share, recent.ttft_p95)
    return recent.failed_share, recent.ttft_p50


def figures_of(*samples: Sample) -> Figures:
    figures = Figures(lambda: 0.0)
    for sample in samples:
        figures.take(sample)
    return figures


GOOD_COURSE = a_course(verdict=Verdict.PROMOTED)
BAD_COURSE = a_course(bad=True, verdict=Verdict.ROLLED_BACK)


def test_swapping_behaviours_swaps_what_is_expected() -> None:
    """The verdict follows from the behaviour and not from the name."""
    straight, swapped = trials(swap=False), trials(swap=True)

    assert [Verdict.PROMOTED, Verdict.ROLLED_BACK] == [trial.expected for trial in straight]
    assert [Verdict.ROLLED_BACK, Verdict.PROMOTED] == [trial.expected for trial in swapped]
    assert [trial.candidate for trial in straight] == [trial.candidate for trial in swapped]


def test_figures_of_now_are_those_of_the_last_whole_seconds() -> None:
    """By who answered; what is older, and the second that is not over yet, are left out."""
    now = 0.0
    figures = Figures(lambda: now)
    figures.take(a_sample(ok=False))
    now = 10.5
    for ttft in (0.5, 1.5):
        figures.take(a_sample(ttft=ttft))
    figures.take(a_sample(ok=False))
    figures.take(a_sample("chat-v2"))
    now = 11.0
    figures.take(a_sample(ok=False))

    first = Recent(per_second=0.6, failed_share=1 / 3, retried_share=0, ttft_p50=0.5, ttft_p95=1.5)
    assert first == figures.recent("chat-v1")
    assert (0.2, 0, None) == (figures.recent("chat-v2").per_second, *shares_and_times(figures.recent("chat-v2")))
    assert (0, None, None) == (figures.recent("chat-v3").per_second, *shares_and_times(figures.recent("chat-v3")))
    assert (0, 3) == figures.course("chat-v1", seconds=2)
    assert (5, 3) == (figures.requests["chat-v1"], figures.failed["chat-v1"])


def test_books_that_agree_are_no_fault() -> None:
    """The bad version's failures are what it is there for, those included that another attempt hid from the client."""
    lines = recount(
        figures_of(a_sample(), a_sample("chat-v3", ok=False, attempts=3), a_sample("chat-v3", attempts=2)),
        {"chat-v1": stats(1), "chat-v2": stats(0), "chat-v3": stats(1, 4)},
    )

    assert [] == faults([GOOD_COURSE, BAD_COURSE], lines)


@pytest.mark.parametrize(
    ("courses", "samples", "backend", "says"),
    [
        ([a_course(verdict=Verdict.ROLLED_BACK)], [], stats(0), "expected to be promoted, and was rolled back"),
        ([a_course(bad=True, verdict=Verdict.PROMOTED)], [], stats(0), "expected to be rolled back, and was promoted"),
        ([a_course()], [], stats(0), "and was not decided on"),
        ([GOOD_COURSE], [a_sample(ok=False)], stats(0, 1), "1 requests failed on chat-v1, which never fails"),
        ([GOOD_COURSE], [a_sample()], stats(2), "clients count 1 attempts at chat-v1 (0 failed), the backend 2"),
        ([GOOD_COURSE], [a_sample(None, ok=False)], stats(0), "1 requests were answered by no version at all"),
    ],
)
def test_whatever_does_not_add_up_is_a_fault(
    courses: list[Course], samples: list[Sample], backend: StatsView, says: str
) -> None:
    """And so the demo ends with status 1 and says what it was."""
    (fault,) = faults(courses, recount(figures_of(*samples), {"chat-v1": backend}))

    assert says in fault
