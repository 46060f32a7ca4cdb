"""Fallbacks: the models that a request goes on to when those of its rule failed.

Rule: a fallback is a model as it is now, never one arm of a rollout. One that would ask again what has just failed, or
that cannot be had, is left out and told of; the rule serves without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from modelway_contract import config
from modelway_operator.api.conditions import ResolvedRefsReason
from modelway_operator.api.routingpolicy import FallbackTarget, PolicyRule, RoutingPolicy
from modelway_operator.core.compile.inventory import Inventory
from modelway_operator.core.compile.policies import ResolvedModel, resolve_model
from modelway_operator.core.compile.versions import model_key
from modelway_operator.core.snapshot import Install, ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackProblem:
    """Why one fallback is left out; `reason` where that is a reference."""

    message: str
    reason: ResolvedRefsReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFallback:
    """What gateways get of a rule's fallback, and what is wrong with the rest."""

    wire: config.Fallback | None = None
    problems: tuple[FallbackProblem, ...] = ()


def compile_fallback(
    policy: RoutingPolicy, rule: PolicyRule, inventory: Inventory, install: Install
) -> CompiledFallback:
    """The rule's fallback with every model that can be had."""
    spec = rule.fallback
    if spec is None:
        return CompiledFallback()
    own = policy.metadata.namespace
    first = {ObjectKey(each.model_ref.namespace or own, each.model_ref.name) for each in rule.targets if each.weight}
    only = next(iter(first)) if len(first) == 1 else None
    models: list[str] = []
    problems: list[FallbackProblem] = []
    seen: set[ObjectKey] = set()
    for index, target in enumerate(spec.targets or ()):
        found = resolve_model(own, target.model_ref, inventory, install)
        place = ObjectKey(found.namespace, found.name)
        problem = _problem(found, place, only=only, seen=seen)
        seen.add(place)
        if problem is not None:
            message = f"fallback {index + 1}: {problem.message}"
            problems.append(FallbackProblem(message=message, reason=problem.reason))
        elif found.entry is not None:
            models.append(model_key(found.model, found.entry.version))
    on_errors = tuple(config.RetryOn(each) for each in spec.on_errors) if spec.on_errors else tuple(config.RetryOn)
    wire = config.Fallback(models=tuple(models), on_errors=on_errors, max_attempts=spec.max_attempts)
    return CompiledFallback(wire=wire, problems=tuple(problems))


def fallbacks_of(policy: RoutingPolicy) -> Iterator[tuple[PolicyRule, FallbackTarget]]:
    """All fallbacks of a policy, each with its rule."""
    for rule in policy.spec.rules:
        for target in (rule.fallback.targets or ()) if rule.fallback is not None else ():
            yield rule, target


def _problem(
    found: ResolvedModel, place: ObjectKey, *, only: ObjectKey | None, seen: set[ObjectKey]
) -> FallbackProblem | None:
    if place == only:
        return FallbackProblem(
            message=f"LLMModel {found.name} is the rule's only model, which has failed by then; name another one"
        )
    if place in seen:
        return FallbackProblem(message=f"LLMModel {found.name} is in the list before; name each model once")
    if found.entry is None:
        return FallbackProblem(message=found.message, reason=found.reason)
    return None
