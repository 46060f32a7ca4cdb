"""Seeded SIGKILLs over rollouts: who is killed in which phase, what clients saw of it, and how it ended.

The one rule: the harness looks at gateways, at the API server's audit log and at clients, and never asks the operator
whether it did well. A kill that was planned for a phase waits for that phase; one that missed it is planned anew.
"""

import platform
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from openai import APIStatusError, OpenAI, OpenAIError

from modelway_contract.names import ANSWER_HEADER_PREFIX

from tests.cluster.api import Api, is_ready, pods_of
from tests.cluster.containers import Running, running, wait_for_end, wait_quickly
from tests.cluster.installation import MONITORING, SYSTEM, Installation, Traffic
from tests.cluster.reach import wait_until
from tests.cluster.record import renewals_of
from tests.cluster.sampling import Sampler
from tests.cluster.subject import BAD, GOOD, Subject, Watcher
from tests.support.canary import PROMPT

GATEWAYS = "app.kubernetes.io/component=gateway"
OPERATORS = "app.kubernetes.io/component=operator"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/modelway-operator"
ROLLOUT_SECONDS = 240.0
FELT_SECONDS = 5.0
"""How long after a replacement is ready a client may still meet the killed replica."""
OF_THE_CONNECTION = frozenset({"connect_error", "connection_lost"})
"""What a client may see of a killed replica: nobody listens, or nobody answers any more."""


class Target(StrEnum):
    """Who is killed."""

    LEADER = "leader"
    GATEWAY = "gateway"
    PROMETHEUS = "prometheus"


PHASES = ("Preflight", "Applying", "Warming", "Soaking", "Held", "Promoting", "Baking", "RollingBack")
"""Every active phase that a status ever shows (Evaluating ends within the turn that it begins in)."""
OF_GOOD = PHASES[:-1]
OF_BAD = ("Preflight", "Applying", "Warming", "RollingBack")


@dataclass(frozen=True, slots=True)
class Planned:
    """Kill this one in that phase."""

    phase: str
    target: Target


@dataclass(slots=True)
class Kill:
    """What came of one."""

    planned: Planned
    pod: str
    at: float
    open_requests: int = 0
    found_in: str = ""
    """The phase that the API server had for the rollout."""
    weight: float = 0.0
    takeover_seconds: float | None = None
    """From the kill of a leader until another one held the Lease."""
    push_seconds: float | None = None
    """Until a gateway ran a push of that other one."""
    back_seconds: float = 0.0
    """Until its replacement was ready."""
    refused: int = 0
    lost: int = 0


@dataclass(slots=True)
class Outcome:
    """One rollout."""

    candidate: str
    good: bool
    kills: int
    seconds: float
    end_state: dict[str, Any]


@dataclass(slots=True)
class Calls:
    """The official SDK with its default retries, asking again and again."""

    made: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """The model that failed, empty where none was reached, and what the SDK raised."""

    @contextmanager
    def calling(self, installation: Installation, model: str) -> Iterator["Calls"]:
        """Ask while the block lasts."""
        ended = threading.Event()

        def ask() -> None:
            with OpenAI(base_url=installation.gateway_url, api_key=installation.api_key) as client:
                while not ended.wait(0.05):
                    self.made += 1
                    try:
                        client.chat.completions.create(model=model, messages=[{"role": "user", "content": PROMPT}])
                    except APIStatusError as exc:
                        served_by = exc.response.headers.get(f"{ANSWER_HEADER_PREFIX}model", "")
                        self.failed.append((served_by, str(exc)))
                    except OpenAIError as exc:
                        self.failed.append(("", f"{type(exc).__name__}: {exc}"))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join(60)


def plan_of(count: int, rng: random.Random) -> list[Planned]:
    """So many kills: each phase with each target if there are enough, the rest by chance; in a random order."""
    every = [Planned(phase, target) for phase in PHASES for target in Target]
    rng.shuffle(every)
    more = [rng.choice(every) for _ in range(max(0, count - len(every)))]
    return [*every, *more][:count]


@dataclass(slots=True)
class Harness:
    """Everything that runs while kills happen."""

    installation: Installation
    subject: Subject
    sampler: Sampler
    watcher: Watcher
    traffic: Traffic
    rng: random.Random
    after_each: Callable[["Harness"], object] = lambda _: None
    """Called after each rollout, so that what was found is kept when a later one fails."""
    kills: list[Kill] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def api(self) -> Api:
        """The API server."""
        return self.subject.api

    def run(self, planned: Sequence[Planned]) -> None:
        """Rollouts, as many as it takes, until every planned kill has happened in its phase."""
        left = list(planned)
        for _ in range(3 * len(left) + 2):
            if not left:
                return
            good = [each for each in left if each.phase in OF_GOOD]
            rolling_back = any(each.phase == "RollingBack" for each in left)
            is_good = bool(good) and (len(self.outcomes) % 3 != 2 or not rolling_back)
            chosen: list[Planned] = []
            for phase in OF_GOOD if is_good else OF_BAD:
                chosen += [each for each in left if each.phase == phase][:1]
            for done in self.roll_out(chosen, good=is_good):
                left.remove(done)
            self.after_each(self)
        raise AssertionError(f"these kills never met their phase: {left}")

    def roll_out(self, planned: Sequence[Planned], *, good: bool) -> list[Planned]:
        """One rollout with these kills in the order of its phases; those that happened."""
        begun, done = time.monotonic(), []
        candidate = self.subject.new_model(GOOD if good else BAD)
        # Found before its phase begins, since some phases last for a tenth of a second.
        first = [self._victim(each.target) for each in planned[:1]]
        self.subject.point_to(candidate)
        for each in planned:
            victim = first.pop() if first else self._victim(each.target)
            if self._reach(each, candidate):
                self._kill(each, victim)
                done.append(each)
            if self._has_ended(self.watcher.rollout, candidate):
                break
        self.watcher.wait_for(lambda rollout: self._has_ended(rollout, candidate), seconds=ROLLOUT_SECONDS)
        state = self._settled(candidate)
        self.outcomes.append(Outcome(candidate, good, len(done), round(time.monotonic() - begun, 1), state))
        if state["phase"] == "Stable":
            self.subject.stable = candidate
        else:
            self.subject.point_to(self.subject.stable)
            self.watcher.wait_for(lambda rollout: rollout.get("phase") == "Stable", seconds=60)
        return done

    def _reach(self, planned: Planned, candidate: str) -> bool:
        """Wait for the phase; False when the rollout ended without it."""

        def is_in(phase: str, rollout: dict[str, Any]) -> bool:
            return rollout.get("phase") == phase and self._is_of(rollout, candidate)

        def reach(phase: str) -> bool:
            rollout = self.watcher.wait_for(
                lambda rollout: is_in(phase, rollout) or self._has_ended(rollout, candidate), seconds=ROLLOUT_SECONDS
            )
            return is_in(phase, rollout)

        if planned.phase != "Held":
            return reach(planned.phase)
        if not reach("Soaking"):
            return False
        prometheus = self._victim(Target.PROMETHEUS)
        prometheus.signal(signal.SIGSTOP)
        try:
            return reach("Held")
        finally:
            threading.Timer(6.0, _go_on, [prometheus]).start()

    def _victim(self, target: Target) -> Running:
        match target:
            case Target.PROMETHEUS:
                pods = pods_of(self.api, MONITORING, "app=prometheus")
            case Target.GATEWAY:
                pods = pods_of(self.api, SYSTEM, GATEWAYS)
            case Target.LEADER:
                holder = self.api.get(LEASE)["spec"]["holderIdentity"].partition("_")[0]
                pods = [pod for pod in pods_of(self.api, SYSTEM, OPERATORS) if pod["metadata"]["name"] == holder]
        return running(self.rng.choice(sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))))

    def _kill(self, planned: Planned, victim: Running) -> None:
        epoch = max(sample.epoch for sample in self.sampler.latest().values())
        at = time.time()
        victim.signal(signal.SIGKILL)
        found = self.watcher.rollout
        kill = Kill(planned=planned, pod=victim.pod, at=at, found_in=found["phase"], weight=found["weight"])
        self.kills.append(kill)
        wait_for_end(victim, seconds=10)
        if planned.target is Target.LEADER:
            kill.push_seconds = round(self._takeover(epoch, seconds=60) - at, 2)
        namespace = MONITORING if planned.target is Target.PROMETHEUS else SYSTEM
        path = f"/api/v1/namespaces/{namespace}/pods/{victim.pod}"

        def is_back() -> bool:
            pod = self.api.get(path)
            status = (pod["status"].get("containerStatuses") or [{}])[0]
            return is_ready(pod) and victim.container_id not in str(status.get("containerID"))

        wait_until(f"{victim.pod} is back", is_back, seconds=90)
        kill.back_seconds = round(time.time() - at, 2)

    def _takeover(self, epoch: int, *, seconds: float) -> float:
        found: list[float] = []

        def look() -> bool:
            found.extend(sample.at for sample in self.sampler.latest().values() if sample.epoch > epoch)
            return bool(found)

        wait_quickly("another leader's push", look, seconds=seconds)
        return min(found)

    def _is_of(self, rollout: dict[str, Any], candidate: str) -> bool:
        found: str = (rollout.get("candidate") or {}).get("model", "")
        return found.endswith(f"/{candidate}")

    def _has_ended(self, rollout: dict[str, Any], candidate: str) -> bool:
        stable: str = (rollout.get("stable") or {}).get("model", "")
        if rollout.get("phase") == "Stable":
            return stable.endswith(f"/{candidate}")
        return rollout.get("phase") == "RolledBack" and self._is_of(rollout, candidate)

    def _settled(self, candidate: str) -> dict[str, Any]:
        """The end state, once nothing in it is still on its way."""
        last: list[Any] = [None, 0]

        def stands() -> bool:
            state = self.subject.end_state(candidate)
            last[:] = [state, last[1] + 1 if state == last[0] else 0]
            return bool(last[1] >= 10 and state["conditions"].get("Programmed", [""])[0] == "True")

        wait_until("the end state stands", stands, seconds=60)
        settled: dict[str, Any] = last[0]
        return settled

    def account(self, audit_log: Path) -> None:
        """Give each kill what clients saw of it, and when the Lease had another holder."""
        renewals = renewals_of(audit_log, namespace=SYSTEM, lease="modelway-operator")
        for kill in self.kills:
            if kill.planned.target is Target.LEADER:
                kill.takeover_seconds = round(
                    next(at for at, pod in renewals if at > kill.at and pod != kill.pod) - kill.at, 2
                )
            kill.open_requests = self.traffic.open_at(kill.at)
            kill.refused = kill.lost = 0
        for one in self.traffic.failed():
            felt = self._killed_gateway_of(one.ended_at) if one.error in OF_THE_CONNECTION else None
            if felt is None:
                continue
            if one.error == "connection_lost" and one.begun_at < felt.at:
                felt.lost += 1
            else:  # a resting connection of the killed replica counts like a new one
                felt.refused += 1

    def _killed_gateway_of(self, moment: float) -> Kill | None:
        """The gateway whose kill may be felt at this moment: the last one, until a while after its replacement came."""
        before = [kill for kill in self.kills if kill.planned.target is Target.GATEWAY and kill.at <= moment]
        if not before or moment > before[-1].at + before[-1].back_seconds + FELT_SECONDS:
            return None
        return before[-1]


def _go_on(process: Running) -> None:
    try:
        process.signal(signal.SIGCONT)
    except ProcessLookupError:
        return  # it was killed meanwhile


def as_json(harness: Harness, calls: Calls, *, seed: int) -> dict[str, Any]:
    """The record of a run, for people and for the next run to be compared with."""
    takeovers = sorted(kill.takeover_seconds for kill in harness.kills if kill.takeover_seconds is not None)
    ended = harness.traffic.ended
    return {
        "seed": seed,
        "machine": machine(),
        "kills": [asdict(kill) for kill in harness.kills],
        "rollouts": [asdict(outcome) for outcome in harness.outcomes],
        "takeover_seconds": takeovers,
        "push_seconds": sorted(kill.push_seconds for kill in harness.kills if kill.push_seconds is not None),
        "requests": len(ended),
        "refused": sum(one.error == "connect_error" for one in ended),
        "lost": sum(one.error == "connection_lost" for one in ended),
        "sdk_calls": calls.made,
        "sdk_failures": calls.failed,
        "samples": len(harness.sampler.samples),
    }


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    memory = Path("/proc/meminfo").read_text().partition("\n")[0].split()[1]
    processor = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return {
        "processor": processor,
        "cores": len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1,
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
