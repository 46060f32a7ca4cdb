"""Compiles the conditions of a rule into functions of a question.

The rule: groups, tiers and client names are those of the policy's own namespace. Otherwise a tenant could give its own
Secret the name of somebody else's client and be taken for it by a shared policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter

from modelway_contract.config import (
    ClientCondition,
    Condition,
    HeaderCondition,
    PriorityCondition,
    SignalCondition,
    When,
)
from modelway_gateway.core.features import Question
from modelway_gateway.core.signals import CompiledSignal

Predicate = Callable[[Question], bool]


def compile_when(when: When, *, namespace: str, signals: Mapping[str, CompiledSignal]) -> Predicate:
    """All of `all`, at least one of `any` (where given), none of `none`; what costs little is first, wherever it is."""

    def compiled(condition: Condition) -> Predicate:
        return _compile(condition, namespace, signals)

    def cost(condition: Condition) -> int:
        return _cost(condition, signals)

    checks = [(cost(each), compiled(each), True) for each in when.all]
    checks += [(cost(each), compiled(each), False) for each in when.none]
    if when.any:
        some = tuple(compiled(each) for each in sorted(when.any, key=cost))
        checks.append((max(map(cost, when.any)), lambda question: any(each(question) for each in some), True))
    ordered = tuple((predicate, wanted) for _, predicate, wanted in sorted(checks, key=itemgetter(0)))
    if len(ordered) == 1 and ordered[0][1]:
        return ordered[0][0]

    def holds(question: Question) -> bool:
        for predicate, wanted in ordered:  # noqa: SIM110 - all() over a generator costs twice as much
            if predicate(question) is not wanted:
                return False
        return True

    return holds


def _cost(condition: Condition, signals: Mapping[str, CompiledSignal]) -> int:
    """That of the dearest signal in it; 0 where the prompt need not be looked at."""
    if isinstance(condition, When):
        return max((_cost(each, signals) for each in (*condition.all, *condition.any, *condition.none)), default=0)
    return signals[condition.name].cost if isinstance(condition, SignalCondition) else 0


def _compile(condition: Condition, namespace: str, signals: Mapping[str, CompiledSignal]) -> Predicate:
    if isinstance(condition, HeaderCondition):
        return _header(condition)
    if isinstance(condition, ClientCondition):
        return _client(condition, namespace)
    if isinstance(condition, PriorityCondition):
        wanted = condition.priority
        return lambda question: question.priority is wanted
    if isinstance(condition, SignalCondition):
        return signals[condition.name]
    return compile_when(condition, namespace=namespace, signals=signals)


def _header(condition: HeaderCondition) -> Predicate:
    name, exact, prefix, present = condition.name, condition.exact, condition.prefix, condition.present
    if exact is not None:
        return lambda question: question.header(name) == exact
    if prefix is not None:
        return lambda question: (question.header(name) or "").startswith(prefix) and question.header(name) is not None
    return lambda question: (question.header(name) is not None) == present


def _client(condition: ClientCondition, namespace: str) -> Predicate:
    names, groups, tiers = frozenset(condition.names), frozenset(condition.groups), frozenset(condition.tiers)

    def holds(question: Question) -> bool:
        caller = question.caller
        if caller is None or caller.namespace != namespace:
            return False
        return caller.name in names or caller.tier in tiers or not groups.isdisjoint(caller.groups)

    return holds
