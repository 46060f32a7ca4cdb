"""What became of each rollout, kept while it goes on, for the summary at the end."""

from dataclasses import dataclass, field

from modelway_cli.demo.progress import Figure, Progress
from modelway_cli.demo.scenario import Trial, Verdict


@dataclass(slots=True, kw_only=True)
class Course:
    """One trial from the edit of the policy to the verdict; moments are seconds since that edit."""

    trial: Trial
    stable: str
    """What served before."""
    weights: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])
    """When the candidate's share changed, and to how many percent."""
    verdict: Verdict | None = None
    verdict_at: float = 0.0
    reason: str = ""
    message: str = ""
    decision: Figure | None = None
    """The figures behind the last decision."""

    @property
    def is_as_expected(self) -> bool:
        return self.verdict is self.trial.expected

    @property
    def candidate(self) -> str:
        return self.trial.candidate

    def take(self, progress: Progress, *, seconds: float) -> None:
        """Note what has changed."""
        past = progress.verdict_on(self.candidate)
        weight = progress.weight if progress.candidate == self.candidate else None
        if past is not None and self.verdict is None:
            self.verdict, self.verdict_at, self.reason = past.verdict, seconds, past.reason
            self.message = progress.message or past.message
            weight = 100.0 if past.verdict is Verdict.PROMOTED else 0.0
        is_its_own = self.verdict is not None or progress.candidate == self.candidate
        if is_its_own and progress.decision is not None:
            self.decision = progress.decision
        if weight is not None and weight != self.weights[-1][1]:
            self.weights.append((seconds, weight))

    @property
    def weights_text(self) -> str:
        """The shares in their order, such as 0 → 5 → 25 → 0 %."""
        return " → ".join(f"{weight:g}" for _, weight in self.weights) + " %"

    @property
    def moments_text(self) -> str:
        """When they changed."""
        return ", ".join(f"{seconds:.0f}" for seconds, _ in self.weights[1:]) + " s"
