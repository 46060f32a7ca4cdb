"""A policy of its own for one test, with candidates that are new each time, and a thread that sees its every status.

The one rule: each candidate differs in what its model is, so that no rollout takes the short way of a known version.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.cluster.api import MODELWAY, Api
from tests.cluster.installation import INTERVAL_SECONDS, TENANT, Installation, policy_manifest

GOOD, BAD = "llm-v1", "llm-v3"
OBJECTS = f"{MODELWAY}/{TENANT}"


@dataclass(slots=True)
class Subject:
    """A policy and its models, by one public name."""

    installation: Installation
    api: Api
    name: str
    steps: Sequence[int] = (10, 50)
    min_intervals: int = 1
    bake_intervals: int = 1
    stable: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _models: list[str] = field(default_factory=list)

    def create(self) -> None:
        """The first version, and the policy that serves it; returns once both are ready."""
        self.stable = self.new_model(GOOD)
        self.point_to(self.stable)
        self.installation.cluster.kubectl(
            "wait", "-n", TENANT, "--for=condition=Ready", f"rpol/{self.name}", f"llmm/{self.stable}", "--timeout=60s"
        )

    def delete(self) -> None:
        """Everything that was made here."""
        self.installation.cluster.kubectl("delete", "-n", TENANT, "rpol", self.name, "--timeout=30s")
        self.installation.cluster.kubectl("delete", "-n", TENANT, "llmm", *self._models, "--timeout=30s")

    def new_model(self, service: str) -> str:
        """A model that nobody has seen before, served by one of the simulated backends."""
        number = next(self._numbers)
        name = f"{self.name}-{number}"
        backend = {
            "name": "main",
            "serviceRef": {"name": service, "port": 8000},
            "upstreamModel": service.replace("llm-", "chat-"),
        }
        spec = {"access": "PolicyOnly", "parameters": {"seed": str(number)}, "backends": [backend]}
        manifest = {
            "apiVersion": "modelway.dev/v1alpha1",
            "kind": "LLMModel",
            "metadata": {"name": name, "namespace": TENANT},
            "spec": spec,
        }
        self.api.apply(manifest, path=f"{OBJECTS}/llmmodels/{name}")
        self._models.append(name)
        return name

    def point_to(self, model: str) -> None:
        """The one line that a user changes."""
        manifest = policy_manifest(model)
        manifest["metadata"] = {"name": self.name, "namespace": TENANT}
        manifest["spec"]["models"] = [self.name]
        # Errors alone: how slow the first token is says more about a busy machine than about a candidate.
        analysis = manifest["spec"]["rollouts"][0]["analysis"]
        analysis["metrics"] = [metric for metric in analysis["metrics"] if metric["type"] == "Ratio"]
        strategy = manifest["spec"]["rollouts"][0]["strategy"]
        strategy.update(
            steps=[{"weight": weight} for weight in self.steps],
            interval=f"{INTERVAL_SECONDS}s",
            minIntervals=self.min_intervals,
            minSamples=15,
            bake={"intervals": self.bake_intervals},
        )
        self.api.apply(manifest, path=f"{OBJECTS}/routingpolicies/{self.name}")

    def object(self) -> dict[str, Any]:
        """The policy as the API server has it."""
        found: dict[str, Any] = self.api.get(f"{OBJECTS}/routingpolicies/{self.name}")
        return found

    def end_state(self, candidate: str) -> dict[str, Any]:
        """How a rollout ended, in words that do not depend on the names of its models."""
        policy = self.object()
        status = policy["status"]
        rollout = status["rollouts"][0]

        def role(model: str) -> str:
            name = model.rpartition("/")[2]
            return {candidate: "the candidate", self.stable: "the old stable"}.get(name, name)

        rows = status["rules"][0]["weights"]
        past = rollout["history"][0]
        return {
            "phase": rollout["phase"],
            "reason": rollout["reason"],
            "weight": rollout["weight"],
            "stable": role(rollout["stable"]["model"]),
            "weights": {role(row["model"]): row["weight"] for row in rows if row["weight"] != "0"},
            "quarantine": sorted(role(one["model"]) for one in rollout.get("quarantine", ())),
            "last": [past["result"], past["reason"], role(past["candidate"]["model"])],
            "conditions": {
                each["type"]: [each["status"], each["reason"]]
                for each in status["conditions"]
                if each["type"] in {"Ready", "Stalled", "RollingOut", "Held", "Programmed"}
            },
        }


class Watcher:
    """Sees every status of a policy as it is written, and wakes whoever waits for one."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._news = threading.Condition()
        self._ended = False
        self.rollout: dict[str, Any] = {}

    @contextmanager
    def watching(self) -> Iterator["Watcher"]:
        """Watch while the block lasts."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended = True

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], *, seconds: float) -> dict[str, Any]:
        """The first rollout's status for which it is so."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not condition(self.rollout):
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds} s: {self.rollout.get('phase')}: {self.rollout.get('message')}"
                self._news.wait(min(left, 1.0))
            return self.rollout

    def _watch(self) -> None:
        while not self._ended:
            try:
                for policy in self._subject.api.watch(f"{OBJECTS}/routingpolicies", self._subject.name, seconds=300):
                    rollouts = policy.get("status", {}).get("rollouts") or [{}]
                    with self._news:
                        self.rollout = rollouts[0]
                        self._news.notify_all()
                    if self._ended:
                        return
            except (OSError, HTTPException, AssertionError, ValueError):
                time.sleep(0.2)  # the API server may be gone for a while, and with it the watch
