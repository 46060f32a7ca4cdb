"""The stage that playbooks play on: a clock, gateways, traffic and a Prometheus, all simulated, around the real engine.

A playbook reads as a conversation. `>>` does something to the world, `<<` lets time pass until something is seen::

    a_stage() >> points_at(V2) << at(25) >> samples(errors=0.2) << rolled_back(RollbackReason.GATE_FAILED)

Everything is exact: traffic is a rate and not a draw, so a playbook never fails by chance. Metrics go the way they
go in life: gateways count, somebody scrapes the counters now and then, and a measurement is read from what was
scraped.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

from modelway_contract.names import REQUESTS_TOTAL, TTFT_SECONDS, Arm, Label, Outcome
from modelway_operator.api.conditions import HeldReason
from modelway_operator.api.rollout_status import RollbackReason, RolloutPhase, RolloutStatus
from modelway_operator.api.strategy import Rollout
from modelway_operator.core.rollout.advance import advance
from modelway_operator.core.rollout.counters import Scrape, Series, measure
from modelway_operator.core.rollout.model import (
    EventReason,
    Measurement,
    MeasurementRequest,
    MetricsSource,
    Preflight,
    ReplicaView,
    RolloutEvent,
    RolloutSettings,
    SplitView,
    TargetKey,
    TargetPlan,
    TargetSnapshot,
    Version,
)
from modelway_operator.core.rollout.settings import settings_of
from modelway_operator.core.rollout.together import advance_together
from modelway_operator.core.rollout.wanted import measurements_wanted

V1 = Version("shop/law-v1", "v1-digest")
V2 = Version("shop/law-v2", "v2-digest")
V3 = Version("shop/law-v3", "v3-digest")
KEY = TargetKey("shop", "chat", "legal-eu", "main")

START = 1_000_000_004.0
TICK_SECONDS = 2.0
"""The operator's own tick."""
SCRAPE_SECONDS = 5.0
OBJECTIVE_SECONDS = 1.0
PATIENCE_SECONDS = 7200.0


@dataclass(kw_only=True)
class Traffic:
    """What the clients and the models do now. Rates are shares of an arm's requests."""

    per_second: float = 20.0
    errors: float = 0.0
    stable_errors: float = 0.0
    slow: float = 0.0
    stable_slow: float = 0.0


@dataclass(kw_only=True)
class Gateway:
    """A replica: what it was told, whether it listens, and its counters."""

    name: str
    ready: bool = True
    live: bool = True
    listens: bool = True
    split: SplitView | None = None
    counters: dict[Series, float] = field(default_factory=dict)
    scrapes: list[Scrape] = field(default_factory=list)


Interference = Callable[[MeasurementRequest, Measurement], Measurement]


class Stage:
    """The world of one target."""

    def __init__(self, entry: Rollout, *, serving: Version | None, gateways: int = 2) -> None:
        self.now = START
        self.key = replace(KEY, target=entry.target)
        self.companions: tuple[Stage, ...] = (self,)
        self.entry: Rollout | None = entry
        self.wanted: Version | None = serving
        self.serving = serving
        self.state: RolloutStatus | None = None
        self.plan: TargetPlan | None = None
        self.traffic = Traffic()
        self.gateways = [Gateway(name=f"gateway-{index}") for index in range(gateways)]
        self.preflight: Preflight | None = Preflight(references_resolve=True, probe_ok=True)
        self.source = MetricsSource()
        self.scraping = True
        self.scrape_seconds = SCRAPE_SECONDS
        self.interference: Interference | None = None
        self.share_is_zero = False
        self.paused = False
        self.quarantined: frozenset[str] = frozenset()
        self.forgetful = False
        self.events: list[RolloutEvent] = []
        self.plans: list[TargetPlan] = []
        self.asked: list[tuple[float, MeasurementRequest]] = []

    # ------------------------------------------------------------------------------------------------------ time

    def tick(self) -> TargetPlan:
        """One tick: traffic, a scrape where one is due, one turn of the operator over the policy, and the push."""
        for stage in self.companions:
            stage.let_time_pass()
        plans = advance_together([stage.look() for stage in self.companions], advance)
        for stage, plan in zip(self.companions, plans, strict=True):
            stage.carry_out(plan)
        assert self.plan is not None
        return self.plan

    def let_time_pass(self) -> None:
        """Traffic until the next turn, and scrapes."""
        before, self.now = self.now, self.now + TICK_SECONDS
        self._serve()
        if self.scraping and before // self.scrape_seconds != self.now // self.scrape_seconds:
            for gateway in self.gateways:
                if gateway.live:
                    gateway.scrapes.append(Scrape(time_seconds=self.now, values=dict(gateway.counters)))

    def look(self) -> TargetSnapshot:
        """What the operator decides on, with the measurements that it asked for."""
        snapshot = self.snapshot()
        requests = measurements_wanted(snapshot)
        self.asked += [(self.now, request) for request in requests]
        return replace(snapshot, measurements={request: self._answer(request) for request in requests})

    def carry_out(self, plan: TargetPlan) -> None:
        """Write what is to be written, and push."""
        if plan.state is not self.state:
            self.state = _written_and_read(plan.state) if self.forgetful else plan.state
        self.serving = plan.stable or self.serving
        self.events += plan.events
        self.plan = plan
        self.plans.append(plan)
        for gateway in self.gateways:
            if gateway.listens and gateway.live:
                gateway.split = (
                    None if plan.rollout_id is None else SplitView(rollout_id=plan.rollout_id, share_bp=plan.share_bp)
                )

    def snapshot(self) -> TargetSnapshot:
        """What the operator would see now, without measurements."""
        return TargetSnapshot(
            now=self.now,
            key=self.key,
            settings=None if self.entry is None else _settings(self.entry),
            scrape_interval_seconds=SCRAPE_SECONDS,
            wanted=self.wanted,
            serving=self.serving,
            state=self.state,
            quarantined=self.quarantined.union(*(stage.failed() for stage in self.companions if stage is not self)),
            share_is_zero=self.share_is_zero,
            paused=self.paused or (self.entry is not None and self.entry.paused),
            replicas=tuple(
                ReplicaView(
                    name=gateway.name, ready=gateway.ready and gateway.live, live=gateway.live, split=gateway.split
                )
                for gateway in self.gateways
            ),
            preflight=self.preflight,
            source=self.source,
        )

    def failed(self) -> frozenset[str]:
        """The versions that failed at this target."""
        return frozenset(failed.version for failed in (self.state.quarantine if self.state is not None else ()))

    def _answer(self, request: MeasurementRequest) -> Measurement:
        answer = measure(request, {gateway.name: gateway.scrapes for gateway in self.gateways})
        return answer if self.interference is None else self.interference(request, answer)

    def _serve(self) -> None:
        plan = self.plan
        if plan is None or plan.stable is None:
            return
        serving = [gateway for gateway in self.gateways if gateway.live]
        for gateway in serving:
            share = 0.0 if gateway.split is None else gateway.split.share_bp / 10_000
            if plan.candidate is None:
                continue
            rate = 0.0 if self.share_is_zero else self.traffic.per_second / len(serving) * TICK_SECONDS
            traffic = self.traffic
            self._count(gateway, Arm.CANDIDATE, plan.candidate, rate * share, traffic.errors, traffic.slow)
            self._count(
                gateway, Arm.STABLE, plan.stable, rate * (1 - share), traffic.stable_errors, traffic.stable_slow
            )

    def _count(self, gateway: Gateway, arm: Arm, version: Version, requests: float, errors: float, slow: float) -> None:
        labels = {
            Label.NAMESPACE.value: self.key.namespace,
            Label.POLICY.value: self.key.policy,
            Label.RULE.value: self.key.rule,
            Label.TARGET.value: self.key.target,
            Label.VERSION.value: version.digest,
            Label.ARM.value: arm.value,
        }

        def add(name: str, amount: float, **more: str) -> None:
            series = Series(name, frozenset((labels | more).items()))
            gateway.counters[series] = gateway.counters.get(series, 0.0) + amount

        for outcome, share in ((Outcome.SUCCESS, 1 - errors), (Outcome.UPSTREAM_ERROR, errors), (Outcome.TIMEOUT, 0.0)):
            add(REQUESTS_TOTAL, requests * share, outcome=outcome.value)
        add(f"{TTFT_SECONDS}_count", requests)
        add(f"{TTFT_SECONDS}_bucket", requests * (1 - slow), le=f"{OBJECTIVE_SECONDS:g}")

    # ------------------------------------------------------------------------------------------------------ words

    def __rshift__(self, deed: "Deed") -> "Stage":
        deed(self)
        return self

    def __lshift__(self, sight: "Sight") -> "Stage":
        sight.look(self)
        return self


Deed = Callable[[Stage], None]


@cache
def _settings(entry: Rollout) -> RolloutSettings:
    return settings_of(entry, SCRAPE_SECONDS)


def _written_and_read(state: RolloutStatus | None) -> RolloutStatus | None:
    """The state after a trip to the API server, which writes 5.0 as 5."""
    if state is None:
        return None
    written = json.dumps(_as_api_server_keeps_it(state.as_manifest()))
    return RolloutStatus.model_validate(json.loads(written))


def _as_api_server_keeps_it(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_api_server_keeps_it(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_api_server_keeps_it(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


# -------------------------------------------------------------------------------------------------------- opening


def an_entry(
    *,
    steps: tuple[int, ...] = (5, 25, 50),
    metrics: tuple[dict[str, object], ...] | None = None,
    bake: int = 3,
    alpha: str = "0.01",
    max_replay: int = 20,
    name: str = "legal",
    target: str = KEY.target,
    **strategy: object,
) -> Rollout:
    """A valid rollout entry, each of its settings open to change; without steps it is a BlueGreen."""
    way: dict[str, object] = (
        {"type": "Canary", "steps": [{"weight": weight} for weight in steps]} if steps else {"type": "BlueGreen"}
    )
    chosen = {
        "interval": "20s",
        "minIntervals": 2,
        "minSamples": 20,
        "stepDeadline": "30m",
        "holdDeadline": "10m",
        "convergeTimeout": "60s",
        **strategy,
    }
    return Rollout.model_validate(
        {
            "name": name,
            "rule": KEY.rule,
            "target": target,
            "strategy": {
                **way,
                "bake": {"intervals": bake},
                **chosen,
            },
            "analysis": {
                "metrics": list(metrics if metrics is not None else (GUARDED_ERRORS, GATED_ERRORS)),
                "alpha": alpha,
                "maxReplay": max_replay,
            },
        }
    )


GUARDED_ERRORS: dict[str, object] = {
    "name": "errors",
    "type": "Ratio",
    "role": "Guardrail",
    "ratio": {"bad": ["upstream_error", "timeout"]},
    "relative": {"maxRatio": "3"},
}
GATED_ERRORS: dict[str, object] = GUARDED_ERRORS | {
    "name": "errors-gate",
    "role": "Gate",
    "relative": {"maxRatio": "1.5"},
}
GATED_TTFT: dict[str, object] = {
    "name": "ttft",
    "type": "SLO",
    "role": "Gate",
    "slo": {"signal": "TTFT", "over": "1s"},
    "relative": {"maxRatio": "1.25", "margin": "0.02"},
}
ABSOLUTE_ERRORS: dict[str, object] = {
    "name": "errors",
    "type": "Ratio",
    "role": "Guardrail",
    "ratio": {"bad": ["upstream_error"]},
    "absolute": {"max": "0.05"},
}


def a_stage(entry: Rollout | None = None, *, gateways: int = 2, forgetful: bool = False) -> Stage:
    """A target where v1 is stable, and at rest."""
    stage = Stage(entry or an_entry(), serving=V1, gateways=gateways)
    stage.forgetful = forgetful
    stage.tick()
    assert stage.state is not None
    assert stage.state.phase is RolloutPhase.STABLE
    return stage


def one_policy(*stages: Stage) -> tuple[Stage, ...]:
    """These are targets of one policy from now on: time passes for all of them at once."""
    for stage in stages:
        stage.companions = stages
    return stages


# ---------------------------------------------------------------------------------------------------------- deeds


def points_at(version: Version | None) -> Deed:
    """The spec's target points at another version; or, with None, at one that does not exist."""

    def deed(stage: Stage) -> None:
        stage.wanted = version

    return deed


def samples(**figures: float) -> Deed:
    """From now on traffic is like this."""

    def deed(stage: Stage) -> None:
        stage.traffic = replace(stage.traffic, **figures)

    return deed


def entry(changed: Rollout | None) -> Deed:
    """The rollout entry is edited, or removed."""

    def deed(stage: Stage) -> None:
        stage.entry = changed

    return deed


def wait(seconds: float) -> Deed:
    """Time passes."""

    def deed(stage: Stage) -> None:
        end = stage.now + seconds
        while stage.now < end:
            stage.tick()

    return deed


def metrics_down(message: str = "connection refused") -> Deed:
    """The operator cannot ask Prometheus; it goes on scraping."""

    def deed(stage: Stage) -> None:
        stage.source = MetricsSource(available=False, message=message)

    return deed


def metrics_up(stage: Stage) -> None:
    """Prometheus answers and scrapes as it should."""
    stage.source = MetricsSource()
    stage.scraping = True
    stage.interference = None


def prometheus_killed(stage: Stage) -> None:
    """Prometheus is gone: nobody can ask it, and it scrapes nothing."""
    stage.source = MetricsSource(available=False, message="connection refused")
    stage.scraping = False


def scrapes_stop(stage: Stage) -> None:
    """Prometheus answers, with ever older samples."""
    stage.scraping = False


def scrapes_every(seconds: float) -> Deed:
    """Prometheus is so busy that it scrapes more rarely than it is set to."""

    def deed(stage: Stage) -> None:
        stage.scrape_seconds = seconds

    return deed


def clock_skew(seconds: float) -> Deed:
    """Prometheus' clock is ahead by so much."""

    def deed(stage: Stage) -> None:
        stage.source = MetricsSource(clock_skew_seconds=seconds)

    return deed


def answers(interference: Interference | None) -> Deed:
    """Whatever is asked of Prometheus, this is what comes back."""

    def deed(stage: Stage) -> None:
        stage.interference = interference

    return deed


def gateway(index: int, **changes: bool) -> Deed:
    """A replica stops listening, stops answering, or comes back."""

    def deed(stage: Stage) -> None:
        for name, value in changes.items():
            setattr(stage.gateways[index], name, value)

    return deed


def preflight(report: Preflight | None) -> Deed:
    """What is known of the candidate before it gets traffic."""

    def deed(stage: Stage) -> None:
        stage.preflight = report

    return deed


def pause(stage: Stage) -> None:
    """A person pauses the rollout."""
    stage.paused = True


def resume(stage: Stage) -> None:
    """A person lets it go on."""
    stage.paused = False


def target_weight(*, zero: bool) -> Deed:
    """The target's own weight becomes 0, or something again."""

    def deed(stage: Stage) -> None:
        stage.share_is_zero = zero

    return deed


def failed_elsewhere(*versions: Version) -> Deed:
    """Another target of the policy rolled these versions back."""

    def deed(stage: Stage) -> None:
        stage.quarantined = frozenset(version.digest for version in versions)

    return deed


def restart(stage: Stage) -> None:
    """The operator starts anew with nothing but what it wrote."""
    stage.state = _written_and_read(stage.state)


# ---------------------------------------------------------------------------------------------------------- sights


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Something to be seen within some time, or (`for_seconds`) all of the time."""

    what: str
    seen: Callable[[Stage], bool]
    within_seconds: float = PATIENCE_SECONDS
    for_seconds: float = 0.0

    def look(self, stage: Stage) -> None:
        """Let time pass until it is seen; fail if it is not."""
        if self.for_seconds:
            end = stage.now + self.for_seconds
            while stage.now < end:
                stage.tick()
                assert self.seen(stage), f"no longer {self.what} after {end - stage.now:g}s\n{_story(stage)}"
            return
        end = stage.now + self.within_seconds
        while not self.seen(stage):
            assert stage.now < end, f"not {self.what} within {self.within_seconds:g}s\n{_story(stage)}"
            stage.tick()

    def within(self, seconds: float) -> "Sight":
        """The same, but sooner."""
        return replace(self, within_seconds=seconds)

    def lasting(self, seconds: float) -> "Sight":
        """The same, at every moment for so long."""
        return replace(self, for_seconds=seconds)


def _story(stage: Stage) -> str:
    lines = [f"  {event.reason}: {event.message}" for event in stage.events]
    state = stage.state
    if state is not None:
        lines.append(f"  now {state.phase} {state.weight:g} % {state.reason}: {state.message}")
    return "\n".join(lines)


def in_phase(phase: RolloutPhase, *, reason: str | None = None, weight: float | None = None) -> Sight:
    """The rollout stands in this phase."""

    def seen(stage: Stage) -> bool:
        state = stage.state
        return (
            state is not None
            and state.phase is phase
            and (reason is None or state.reason == reason)
            and (weight is None or state.weight == weight)
        )

    return Sight(what=f"{phase} {reason or ''} {'' if weight is None else weight}".strip(), seen=seen)


def at(weight: float) -> Sight:
    """The candidate has this share, and it is being measured."""
    return in_phase(RolloutPhase.SOAKING, weight=weight)


def held(reason: HeldReason) -> Sight:
    """The rollout is held for this reason."""
    return in_phase(RolloutPhase.HELD, reason=reason)


def rolled_back(reason: RollbackReason) -> Sight:
    """The candidate has no traffic any more, for this reason."""
    return in_phase(RolloutPhase.ROLLED_BACK, reason=reason)


def share(percent: float) -> Sight:
    """The plan gives the candidate this share."""
    return Sight(
        what=f"a share of {percent:g} %",
        seen=lambda stage: stage.plan is not None and stage.plan.share_bp == round(percent * 100),
    )


def stable_is(version: Version) -> Sight:
    """At rest, with this version stable."""
    return Sight(
        what=f"stable at {version.model}",
        seen=lambda stage: (
            stage.plan is not None
            and stage.plan.stable == version
            and stage.plan.candidate is None
            and (stage.state is None or stage.state.phase is RolloutPhase.STABLE)
        ),
    )


def announced(reason: EventReason, text: str = "") -> Sight:
    """An Event was sent."""
    return Sight(
        what=f"announced {reason} {text}",
        seen=lambda stage: any(event.reason is reason and text in event.message for event in stage.events),
    )


def says(text: str) -> Sight:
    """The status says this."""
    return Sight(what=f"saying {text!r}", seen=lambda stage: stage.state is not None and text in stage.state.message)
