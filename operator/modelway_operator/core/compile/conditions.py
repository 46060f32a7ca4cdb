"""`when`, `require` and sticky keys as the gateways get them.

Rule: names of headers are lower case from here on, and what a rule says twice is still said.
"""

from collections.abc import Iterable

from modelway_contract import config
from modelway_operator.api.matching import Clause, ClientMatch, Fact, HeaderMatch, When
from modelway_operator.api.routingpolicy import PolicyRule, RoutingPolicySpec, StickyType
from modelway_operator.api.routingpolicy import Require as RequireSpec


def unused_signals(spec: RoutingPolicySpec) -> tuple[str, ...]:
    """Signals that no rule reads."""
    read = {name for rule in spec.rules if rule.when is not None for _, name in rule.when.signals()}
    return tuple(signal.name for signal in spec.signals if signal.name not in read)


def compile_when(when: When | None) -> config.When | None:
    """The condition of a rule; None takes every request."""
    if when is None:
        return None
    return config.When(all=_clauses(when.all), any=_clauses(when.any), none=_clauses(when.none))


def compile_require(require: RequireSpec) -> config.Require:
    """What a model or backend must fulfil."""
    return config.Require(
        jurisdictions=tuple(require.jurisdictions or ()),
        capabilities=tuple(str(each) for each in require.capabilities or ()),
        retention=config.Retention(require.retention) if require.retention is not None else None,
    )


def compile_sticky(rule: PolicyRule) -> tuple[config.StickyKey, ...]:
    """Sources of the key that keeps a caller on one target."""
    if rule.sticky is None:
        return ()
    return tuple(
        config.StickyKey(header=key.name.lower() if key.type is StickyType.HEADER and key.name else None)
        for key in rule.sticky.by
    )


def _clauses(clauses: Iterable[Clause] | None) -> tuple[config.Condition, ...]:
    return tuple(_clause(clause) for clause in clauses or ())


def _clause(clause: Clause) -> config.Condition:
    joined = config.When(all=_facts(clause.all), any=_facts(clause.any), none=_facts(clause.none))
    return _fact(clause) or joined


def _facts(facts: Iterable[Fact] | None) -> tuple[config.Condition, ...]:
    return tuple(condition for fact in facts or () if (condition := _fact(fact)) is not None)


def _fact(fact: Fact | Clause) -> config.Condition | None:
    """The one fact that is given; None for a clause that joins others."""
    if fact.header is not None:
        return _header(fact.header)
    if fact.client is not None:
        return _client(fact.client)
    if fact.priority is not None:
        return config.PriorityCondition(priority=config.Priority(fact.priority))
    if fact.signal is not None:
        return config.SignalCondition(name=fact.signal)
    return None


def _header(match: HeaderMatch) -> config.HeaderCondition:
    return config.HeaderCondition(
        name=match.name.lower(), exact=match.exact, prefix=match.prefix, present=match.present
    )


def _client(match: ClientMatch) -> config.ClientCondition:
    return config.ClientCondition(
        names=tuple(match.names or ()), groups=tuple(match.groups or ()), tiers=tuple(match.tiers or ())
    )
