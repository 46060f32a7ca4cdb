"""The engine's words: what one decision may look at, and what it says.

The rule to know: everything that decides is in `TargetSnapshot`; two equal snapshots give equal plans.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from modelway_contract.names import Arm
from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RolloutStatus, VersionRef
from modelway_operator.api.strategy import (
    BadOutcome,
    MetricRole,
    MetricType,
    OnHoldTimeout,
    OnInconclusive,
    SloSignal,
)

WHOLE_SHARE_BP = 10_000
"""All of a target's share, in basis points."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a model is at one moment: `namespace/name` and the digest that the config and the series call `version`."""

    model: str
    digest: str

    @classmethod
    def of(cls, ref: VersionRef) -> "Version":
        """The version as the engine speaks of it."""
        return cls(ref.model, ref.version)

    def as_ref(self) -> VersionRef:
        """The version as it stands in a status."""
        return VersionRef(model=self.model, version=self.digest)


@dataclass(frozen=True, slots=True)
class TargetKey:
    """What moves: a target that is renamed is another one."""

    namespace: str
    policy: str
    rule: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeBound:
    """The candidate's rate may be `max_ratio` times stable's; a rejection counts only above `margin`."""

    max_ratio: float
    margin: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsoluteBound:
    """The candidate's rate may be this high."""

    max_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioQuantity:
    """Requests that ended in one of the `bad` outcomes."""

    bad: tuple[BadOutcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SloQuantity:
    """Requests whose signal was over the objective, which is a bound of its histogram."""

    signal: SloSignal
    over_seconds: float


Quantity = RatioQuantity | SloQuantity
Bound = RelativeBound | AbsoluteBound


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSettings:
    """One metric of the analysis."""

    name: str
    type: MetricType
    role: MetricRole
    quantity: Quantity
    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """A user's entry with every default resolved; `source` is the entry itself, as JSON.

    Without `step_weights` all of the traffic moves at once.
    """

    name: str
    source: str
    step_weights: tuple[int, ...]
    interval_seconds: float
    min_intervals: int
    min_samples: int
    step_deadline_seconds: float
    on_inconclusive: OnInconclusive
    hold_deadline_seconds: float
    on_hold_timeout: OnHoldTimeout
    converge_timeout_seconds: float
    bake_intervals: int
    rollback_window: int
    metrics: tuple[MetricSettings, ...]
    alpha: float
    max_replay: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitView:
    """The split that a replica says it runs for this target."""

    rollout_id: str
    share_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """A gateway replica, and the split it says it runs for this target (None where it runs none).

    `ready` ones must have acknowledged before anything rises; `live` ones (answered within 30 s) before a rollback
    is over.
    """

    name: str
    ready: bool
    live: bool
    split: SplitView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What is known of the candidate before it gets traffic. `probe_ok` is None until a gateway has asked its backends.

    Whether the gateways have it is read off the replicas' splits.
    """

    references_resolve: bool
    references_message: str = ""
    probe_ok: bool | None = None
    probe_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRequest:
    """The counts of the arms in (`start`, `end`]. Hashable, so that an answer is found by its request.

    Before a cut-over only stable is counted, and while baking only the candidate: the other one gets no traffic.
    """

    key: TargetKey
    metric: str
    quantity: Quantity
    stable: Version
    candidate: Version
    start_seconds: float
    end_seconds: float
    scrape_interval_seconds: float
    arms: tuple[Arm, ...] = (Arm.CANDIDATE, Arm.STABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Requests of one arm, and the bad ones among them."""

    total: int
    bad: int


class MeasurementProblem(StrEnum):
    """Why there are no counts. All of them hold; `CONFIG` cannot pass by itself."""

    NO_DATA = "NoData"
    STALE = "Stale"
    UNAVAILABLE = "Unavailable"
    CONFIG = "Config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The answer to a request: the counts of both arms, or a problem and its message."""

    candidate: Counts = field(default_factory=lambda: Counts(total=0, bad=0))
    stable: Counts = field(default_factory=lambda: Counts(total=0, bad=0))
    problem: MeasurementProblem | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSource:
    """How the place that measurements come from is doing. `clock_skew_seconds` is its clock minus ours."""

    available: bool = True
    message: str = ""
    clock_skew_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSnapshot:
    """All that one decision about one target may look at.

    `settings` is None where no (valid) rollout entry names the target; the caller need not remember the last valid
    one, since an active rollout carries it in its state. `wanted` is what the spec points to, None where that does
    not exist. `serving` is the version remembered for this target outside of any rollout, None where it never
    served. `quarantined` are the digests that failed at *other* targets of the policy. `held_back_by` names the
    rollouts that this one moves with and that are not as far, `queued_behind` what must end before one may begin here.
    """

    now: float
    key: TargetKey
    settings: RolloutSettings | None
    scrape_interval_seconds: float
    wanted: Version | None
    serving: Version | None
    state: RolloutStatus | None
    quarantined: frozenset[str] = frozenset()
    held_back_by: str = ""
    queued_behind: str = ""
    share_is_zero: bool = False
    paused: bool = False
    replicas: tuple[ReplicaView, ...] = ()
    preflight: Preflight | None = None
    measurements: Mapping[MeasurementRequest, Measurement] = field(default_factory=dict)
    source: MetricsSource = field(default_factory=MetricsSource)


class EventType(StrEnum):
    """Kubernetes' two kinds of Events."""

    NORMAL = "Normal"
    WARNING = "Warning"


class EventReason(StrEnum):
    """What an Event tells of."""

    INITIAL_DEPLOY = "InitialDeploy"
    ROLLOUT_QUEUED = "RolloutQueued"
    ROLLOUT_STARTED = "RolloutStarted"
    STEP_APPLIED = "StepApplied"
    GATE_FAILED = "GateFailed"
    HELD = "Held"
    PAUSED = "Paused"
    RESUMED = "Resumed"
    PROMOTED = "Promoted"
    BAKE_FINISHED = "BakeFinished"
    ROLLBACK_STARTED = "RollbackStarted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    CANDIDATE_QUARANTINED = "CandidateQuarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutEvent:
    """One transition, as an Event tells it."""

    type: EventType
    reason: EventReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """What the target serves from now on, and what is to be written.

    `state` is None where no rollout state has to be kept. `stable` is None only where nothing is known to serve.
    With `candidate`, its split is pushed under `rollout_id`, also at share 0. `remembered` are the versions whose
    specs must be kept, since `state` refers to them or they serve. `ready` says that nothing but the rollouts that this
    one moves with keeps it where it is.
    """

    key: TargetKey
    state: RolloutStatus | None
    stable: Version | None
    candidate: Version | None = None
    share_bp: int = 0
    rollout_id: str | None = None
    events: tuple[RolloutEvent, ...] = ()
    remembered: tuple[Version, ...] = ()
    ready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a rollout cannot go on now."""

    reason: HeldReason
    message: str
