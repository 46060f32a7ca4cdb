"""The two sides of the demo's books: what the clients saw, and what the backends counted themselves.

Rule: they must agree to the last request. What does not add up is said, and is a failure of the demo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelway_cli.demo.figures import NOBODY, Figures
from modelway_cli.demo.timeline import Course
from modelway_cli.simulator.stats import Outcome, StatsView


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One version's requests, told by both sides. Of several attempts of a request only the last may have gone well."""

    model: str
    requests: int
    failed: int
    attempts: int
    backend_requests: int
    backend_failed: int

    @property
    def agrees(self) -> bool:
        return (self.attempts, self.attempts_failed) == (self.backend_requests, self.backend_failed)

    @property
    def attempts_failed(self) -> int:
        return self.attempts - (self.requests - self.failed)


def recount(figures: Figures, backends: Mapping[str, StatsView]) -> tuple[Line, ...]:
    """One line for each version, and one for requests that no version answered, where there are such."""
    lines = [
        Line(
            model=model,
            requests=figures.requests[model],
            failed=figures.failed[model],
            attempts=figures.attempts[model],
            backend_requests=stats.received,
            backend_failed=stats.received - stats.by_outcome.get(Outcome.OK, 0),
        )
        for model, stats in backends.items()
    ]
    lines += [
        Line(
            model=model,
            requests=count,
            failed=figures.failed[model],
            attempts=figures.attempts[model],
            backend_requests=0,
            backend_failed=0,
        )
        for model, count in figures.requests.items()
        if model not in backends
    ]
    return tuple(lines)


def faults(courses: Sequence[Course], lines: Sequence[Line]) -> list[str]:
    """Everything that is not as it has to be; nothing, if the demo shows what it says."""
    found = [
        f"{course.candidate} was expected to be {course.trial.expected.words}, and was"
        f" {'not decided on' if course.verdict is None else course.verdict.words}"
        for course in courses
        if not course.is_as_expected
    ]
    bad = {course.candidate for course in courses if course.trial.is_bad}
    for line in lines:
        if line.model == NOBODY:
            found.append(f"{line.requests} requests were answered by no version at all")
            continue
        if not line.agrees:
            found.append(
                f"clients count {line.attempts} attempts at {line.model} ({line.attempts_failed} failed), the backend"
                f" {line.backend_requests} ({line.backend_failed} failed)"
            )
        if line.failed and line.model not in bad:
            found.append(f"{line.failed} requests failed on {line.model}, which never fails")
    return found
