"""What a check looks at, and what it says.

The rule to know: a view is the snapshot together with the state as it is by now: one turn may make several moves,
and each is decided on what the one before it left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from modelway_operator.api.rollout_status import RolloutStatus
from modelway_operator.core.rollout.evaluation import Evaluation, evaluate, failing_guardrail
from modelway_operator.core.rollout.model import RolloutSettings, TargetSnapshot, Version
from modelway_operator.core.rollout.phases import Event
from modelway_operator.core.rollout.verdicts import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What has happened, the reason in one word (where the phase has one) and the message for people."""

    event: Event
    reason: str = ""
    message: str
    judgement: Judgement | None = None


@dataclass(frozen=True)
class View:
    """The snapshot with the state as it is by now in this turn, and what follows from both."""

    snapshot: TargetSnapshot
    state: RolloutStatus
    settings: RolloutSettings | None

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The next interval to be counted, judged."""
        return None if self.settings is None else evaluate(self.snapshot, self.state, self.settings)

    @cached_property
    def failing_guardrail(self) -> Judgement | None:
        """The guardrail that fails by now."""
        return None if self.settings is None else failing_guardrail(self.snapshot, self.state, self.settings)

    @property
    def now(self) -> float:
        return self.snapshot.now

    @property
    def wanted(self) -> Version | None:
        return self.snapshot.wanted

    @property
    def stable(self) -> Version | None:
        return None if self.state.stable is None else Version.of(self.state.stable)

    @property
    def candidate(self) -> Version | None:
        return None if self.state.candidate is None else Version.of(self.state.candidate)

    @property
    def share_bp(self) -> int:
        """The candidate's share, in basis points."""
        return round(self.state.weight * 100)

    @property
    def next_step(self) -> int | None:
        """The index of the first step above the present weight; None where there is none left."""
        if self.settings is None:
            return None
        steps = enumerate(self.settings.step_weights)
        return next((index for index, weight in steps if weight > self.state.weight), None)

    def seconds_since(self, moment: float | None) -> float:
        """How long ago something was; not at all where it never was."""
        return 0.0 if moment is None else self.now - moment


Check = Callable[[View], Finding | None]


def is_acknowledged(view: View) -> bool:
    """Whether every ready gateway runs the present weight, and there is one."""
    ready = [replica for replica in view.snapshot.replicas if replica.ready]
    return bool(ready) and all(
        replica.split is not None
        and replica.split.rollout_id == view.state.rollout_id
        and replica.split.share_bp == view.share_bp
        for replica in ready
    )


def waiting_gateways(view: View) -> str:
    """How many ready gateways have the present weight."""
    ready = [replica for replica in view.snapshot.replicas if replica.ready]
    if not ready:
        return "no gateway is ready"
    having = [
        replica
        for replica in ready
        if replica.split is not None
        and (replica.split.rollout_id, replica.split.share_bp) == (view.state.rollout_id, view.share_bp)
    ]
    missing = ", ".join(sorted(replica.name for replica in ready if replica not in having)[:3])
    return f"{len(having)} of {len(ready)} gateways have acknowledged {view.state.weight:g} %, waiting for {missing}"


def name_of(version: Version | None) -> str:
    """A version as people read it: the model's name and the beginning of its digest."""
    if version is None:
        return "nothing"
    return f"{version.model.rpartition('/')[2]} ({version.digest.rpartition(':')[2][:10]})"
