"""Compiles a policy's rules, and says what makes one impossible.

The rule: what only its author did wrong in one signal concerns the requests that need it, and no other policy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from modelway_contract import config
from modelway_contract.names import Arm
from modelway_contract.signals import ExamplesSignal, Signal
from modelway_gateway.core.conditions import compile_when
from modelway_gateway.core.heads import header_line
from modelway_gateway.core.meanings import phrases_of, threshold_of
from modelway_gateway.core.options import CAPABILITIES, fallback_option, option_for, strictest
from modelway_gateway.core.routes import CountedOption, Fallback, Model, Policy, Rule, SplitKey, Target
from modelway_gateway.core.series import SeriesKey, SignalKey
from modelway_gateway.core.signals import (
    BadSignalError,
    CompiledSignal,
    Senses,
    broken_signal,
    compile_signal,
    kind_of,
)

if TYPE_CHECKING:
    from modelway_gateway.core.prompt.examples import Fit

_MAX_CONDITION_DEPTH: Final = 8
_MAX_ATTEMPTS: Final = 10


def complaints_about_policy(wire: config.Policy) -> Iterator[tuple[str, str, str]]:
    """What makes this policy impossible, as (field, code, message); its references to models are not looked at."""
    if not wire.rules:
        yield ("rules", "no_rule", "a policy needs at least one rule")
    signals = {each.name for each in wire.signals}
    if len(signals) != len(wire.signals):
        yield ("signals", "duplicate", "two signals have the same name")
    if len({rule.name for rule in wire.rules}) != len(wire.rules):
        yield ("rules", "duplicate", "two rules have the same name")
    for number, rule in enumerate(wire.rules):
        yield from _complaints_about_rule(rule, signals, f"rules[{number}]")


def compile_policy(wire: config.Policy, models: Mapping[str, Model], senses: Senses) -> Policy:
    """The policy as the request path walks over it; it must have no complaints and know all its models."""
    compiler = _Compiler(wire, models, senses)
    return compiler.policy()


class _Compiler:
    def __init__(self, wire: config.Policy, models: Mapping[str, Model], senses: Senses) -> None:
        self._wire = wire
        self._models = models
        self._senses = senses
        self._series_of = senses.book.requests
        self._bad_signals: list[tuple[int, str]] = []

    def policy(self) -> Policy:
        wire = self._wire
        lines = header_line("x-modelway-policy", wire.name)
        fit = self._fit()
        signals = {each.name: self._signal(index, each, fit) for index, each in enumerate(wire.signals)}
        rules = tuple(self._rule(rule, lines, signals) for rule in wire.rules)
        options = [
            option
            for rule in rules
            for target in rule.targets
            for option in (target.stable, target.candidate)
            if option is not None
        ]
        series = {id(each): each for option in options for each in (option.series, option.series_apart)}
        return Policy(
            namespace=wire.namespace,
            name=wire.name,
            rules=rules,
            header_lines=lines,
            series=tuple(series.values()),
            signal_series=tuple(each.series for each in signals.values()),
            examples=self._figures(fit),
            bad_signals=tuple(self._bad_signals),
        )

    def _fit(self) -> Fit | None:
        phrases, reader = phrases_of(self._wire.signals), self._senses.reader
        if not phrases or reader is None:
            return None
        try:
            return reader.fit(phrases)
        except ValueError:  # the signals that need it say so
            return None

    def _figures(self, fit: Fit | None) -> tuple[config.ExamplesFit, ...]:
        wire = self._wire
        if fit is None:
            return ()
        return tuple(
            config.ExamplesFit(
                namespace=wire.namespace,
                policy=wire.name,
                signal=each.name,
                phrases=len(each.phrases),
                accuracy=fit.accuracies[fit.names.index(each.name)],
                threshold=threshold_of(each, fit),
            )
            for each in wire.signals
            if isinstance(each, ExamplesSignal)
        )

    def _signal(self, index: int, wire: Signal, fit: Fit | None) -> CompiledSignal:
        key = SignalKey(self._wire.namespace, self._wire.name, wire.name, kind_of(wire))
        try:
            return compile_signal(wire, key, self._senses, fit)
        except BadSignalError as exc:  # the operator refuses such a one too, but need not be of this version
            self._bad_signals.append((index, f"signal {wire.name}: {exc}"))
            return broken_signal(wire, key, self._senses)

    def _rule(self, wire: config.Rule, lines: bytes, signals: Mapping[str, CompiledSignal]) -> Rule:
        policy = self._wire
        lines += header_line("x-modelway-rule", wire.name)
        targets = tuple(self._target(wire, each, lines) for each in wire.targets if each.weight)
        options = [option for each in targets for option in (each.stable, each.candidate) if option is not None]
        when, fallback = wire.when, wire.fallback or config.Fallback()
        return Rule(
            name=wire.name,
            when=compile_when(when, namespace=policy.namespace, signals=signals) if when is not None else None,
            targets=targets,
            cumulative=tuple(accumulate(each.weight for each in targets)),
            limits=strictest([each.limits for each in options]),
            has_exclusions=any(each.excluded is not None for each in options),
            sticky=tuple(each.header.lower() if each.header is not None else None for each in wire.sticky),
            salt=f"{policy.namespace}\0{policy.name}\0{wire.name}\0".encode("utf-8", "replace"),
            fallback=Fallback(
                options=tuple(fallback_option(self._models[key], wire.require, (lines,)) for key in fallback.models),
                on_errors=frozenset(fallback.on_errors),
                max_attempts=fallback.max_attempts,
            ),
            header_lines=lines,
        )

    def _target(self, rule: config.Rule, wire: config.Target, lines: bytes) -> Target:
        policy = self._wire
        own = header_line("x-modelway-target", wire.name)
        lines += own

        def option_of(key: str, arm: Arm) -> CountedOption:
            model = self._models[key]
            labels = SeriesKey(policy.namespace, policy.name, rule.name, wire.name, model.name, model.version, Arm.NONE)
            apart = self._series_of.get(labels)
            series = self._series_of.get(labels._replace(arm=arm)) if arm is not Arm.NONE else apart
            return option_for(model, rule.require, series, apart, (lines,))

        rollout = wire.rollout_id or ""
        has_candidate = wire.candidate is not None
        return Target(
            name=wire.name,
            weight=wire.weight,
            stable=option_of(wire.stable, Arm.STABLE if has_candidate else Arm.NONE),
            candidate=option_of(wire.candidate, Arm.CANDIDATE) if wire.candidate is not None else None,
            split=SplitKey(policy.namespace, policy.name, rule.name, wire.name, rollout) if has_candidate else None,
            salt=f"{rollout}\0".encode("utf-8", "replace"),
            header_line=own,
        )


def _complaints_about_rule(rule: config.Rule, signals: Collection[str], path: str) -> Iterator[tuple[str, str, str]]:
    if len({target.name for target in rule.targets}) != len(rule.targets):
        yield (f"{path}.targets", "duplicate", "two targets have the same name")
    if any(target.weight < 0 for target in rule.targets) or not any(target.weight for target in rule.targets):
        yield (f"{path}.targets", "bad_weights", "weights must not be negative, and not all of them 0")
    for index, target in enumerate(rule.targets):
        if (target.candidate is None) != (target.rollout_id is None):
            yield (f"{path}.targets[{index}]", "half_a_rollout", "candidate and rollout_id go together")
        elif target.candidate == target.stable:
            yield (f"{path}.targets[{index}]", "same_model", "candidate and stable are the same")
    for name in rule.require.capabilities:
        if name not in CAPABILITIES:
            yield (f"{path}.require.capabilities", "unknown_capability", "this gateway does not know it")
    if rule.fallback is not None and not 1 <= rule.fallback.max_attempts <= _MAX_ATTEMPTS:
        yield (f"{path}.fallback.max_attempts", "out_of_range", f"must be 1..{_MAX_ATTEMPTS}")
    if rule.when is not None:
        for message in _condition_complaints(rule.when, signals, 1):
            yield (f"{path}.when", "bad_condition", message)


def _condition_complaints(when: config.When, signals: Collection[str], depth: int) -> Iterator[str]:
    if depth > _MAX_CONDITION_DEPTH:
        yield "conditions are nested too deeply"
        return
    for condition in (*when.all, *when.any, *when.none):
        if isinstance(condition, config.When):
            yield from _condition_complaints(condition, signals, depth + 1)
        elif isinstance(condition, config.SignalCondition):
            if condition.name not in signals:
                yield f"the policy has no signal {condition.name}"
        elif isinstance(condition, config.HeaderCondition):
            given = (condition.exact, condition.prefix, condition.present)
            if sum(each is not None for each in given) != 1:
                yield "a header condition has exactly one of exact, prefix and present"
