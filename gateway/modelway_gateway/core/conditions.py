"""Compiles the conditions of a rule into functions of a question.

The rule: groups, tiers and client names are those of the policy's own namespace. Otherwise a tenant could give its own
Secret the name of somebody else's client and be taken for it by a shared policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelway_contract.config import (
    ClientCondition,
    Condition,
    HeaderCondition,
    PriorityCondition,
    SignalCondition,
    When,
)
from modelway_gateway.core.features import Question

Predicate = Callable[[Question], bool]


def compile_when(when: When, *, namespace: str, signals: Mapping[str, Predicate]) -> Predicate:
    """All of `all`, at least one of `any` (where given), none of `none`; what costs little is asked first."""

    def compiled(conditions: tuple[Condition, ...]) -> tuple[Predicate, ...]:
        return tuple(_compile(each, namespace, signals) for each in sorted(conditions, key=reads_signals))

    every, some, never = compiled(when.all), compiled(when.any), compiled(when.none)
    if len(every) == 1 and not some and not never:
        return every[0]

    def holds(question: Question) -> bool:
        for predicate in every:
            if not predicate(question):
                return False
        for predicate in never:
            if predicate(question):
                return False
        return not some or any(predicate(question) for predicate in some)

    return holds


def reads_signals(condition: Condition) -> bool:
    """Whether the prompt has to be looked at for this."""
    if isinstance(condition, When):
        return any(map(reads_signals, (*condition.all, *condition.any, *condition.none)))
    return isinstance(condition, SignalCondition)


def _compile(condition: Condition, namespace: str, signals: Mapping[str, Predicate]) -> Predicate:
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
