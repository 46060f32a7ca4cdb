"""The decision: from a question to a route. A pure function of runtime, question and draw.

Rules to know: the arm is drawn before anything is filtered, and a request counts in an arm only when both arms could
have served it, so that the two see the same kind of requests. What a hard filter takes out never serves, not even if
nothing else is left.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Final

from modelway_contract.config import RetryOn
from modelway_contract.names import Arm
from modelway_gateway.core.features import Question
from modelway_gateway.core.places import PLACE_BITS, exceeded, excludes, first_fallback, pick_place
from modelway_gateway.core.records import Decision, Exclusion, Refusal
from modelway_gateway.core.routes import CountedOption, Policy, Rule, Target
from modelway_gateway.core.runtime import FULL_SHARE, Runtime

_PART_BITS: Final = 40
DRAW_BITS: Final = 2 * _PART_BITS + PLACE_BITS
"""A draw is a uniform integer of so many bits: 40 each for target and arm, and then those of a place."""

_PART: Final = 1 << _PART_BITS
_MASK: Final = _PART - 1


def choose(runtime: Runtime, question: Question, draw: int) -> Decision:
    """Decide one request."""
    found = runtime.names.find(question.namespace, question.model)
    if found is None:
        return Decision(refusal=Refusal.MODEL_NOT_FOUND)
    if isinstance(found, CountedOption):
        return _direct(runtime, found, question, draw)
    for rule in found.rules:
        if rule.when is None or rule.when(question):
            return _by_rule(runtime, found, rule, question, draw)
    return Decision(policy=found, refusal=Refusal.NO_MATCHING_RULE)


def arm_bucket(salt: bytes, key: bytes) -> int:
    """Which of the 10,000 buckets a sticky key falls into, in the rollout that this salt belongs to."""
    return _hash(salt, key) % FULL_SHARE


def _direct(runtime: Runtime, option: CountedOption, question: Question, draw: int) -> Decision:
    reason = excludes(option, question)
    if reason is not None:
        exclusions = (Exclusion("", option.model.key, reason),)
        return Decision(exclusions=exclusions, refusal=Refusal.NO_ELIGIBLE_MODEL)
    place = pick_place(runtime, option, draw >> 2 * _PART_BITS)
    if place is None:
        return Decision(option=option, series=option.series, refusal=Refusal.NO_ENDPOINTS)
    return Decision(option=option, offer=place[0], address=place[1], series=option.series)


def _by_rule(runtime: Runtime, policy: Policy, rule: Rule, question: Question, draw: int) -> Decision:
    key = _sticky_key(rule, question) if rule.sticky else None
    exclusions: tuple[Exclusion, ...] = ()
    targets: Sequence[Target] = rule.targets
    if not rule.has_exclusions and exceeded(rule.limits, question) is None:
        cumulative: Sequence[int] = rule.cumulative
    else:
        targets, exclusions = _eligible(runtime, rule, question, key, draw)
        if not targets:
            return Decision(policy=policy, rule=rule, exclusions=exclusions, refusal=Refusal.NO_ELIGIBLE_MODEL)
        cumulative = tuple(accumulate(each.weight for each in targets))
    if len(targets) == 1:
        target = targets[0]
    else:
        point = draw & _MASK if key is None else _hash(rule.salt, key) & _MASK
        target = targets[bisect_right(cumulative, point * cumulative[-1] >> _PART_BITS)]
    option, arm = target.stable, Arm.NONE
    series = option.series_apart
    if target.candidate is not None:
        excluded = {each.model for each in exclusions if each.target == target.name}
        wanted = _is_given_to_candidate(runtime, target, key, draw)
        if not excluded:
            option, arm = (target.candidate, Arm.CANDIDATE) if wanted else (target.stable, Arm.STABLE)
            series = option.series
        elif target.stable.model.key in excluded:
            option = target.candidate
            series = option.series_apart
    place_draw = draw >> 2 * _PART_BITS
    place = pick_place(runtime, option, place_draw)
    offer, address = place if place is not None else (None, None)
    # By place, in the order of its fields: with names it would cost twice as much.
    decision = Decision(policy, rule, target, option, offer, address, arm, series, exclusions)
    if place is None:
        _skip(runtime, rule, decision, question, place_draw)
    return decision


def _skip(runtime: Runtime, rule: Rule, decision: Decision, question: Question, draw: int) -> None:
    """The model that was chosen has nobody to ask: the rule's fallback, as after a failed connection, or nothing."""
    fallback = rule.fallback
    others = [each for each in fallback.options if decision.option is None or each.model is not decision.option.model]
    found = None
    if RetryOn.CONNECT_ERROR in fallback.on_errors:
        found = first_fallback(runtime, question, others, draw)
    if found is None:
        decision.refusal = Refusal.NO_ENDPOINTS
    else:
        decision.skipped = decision.option
        decision.option, (decision.offer, decision.address) = found


def _eligible(
    runtime: Runtime, rule: Rule, question: Question, key: bytes | None, draw: int
) -> tuple[list[Target], tuple[Exclusion, ...]]:
    """Targets that can serve this request: by their stable model, or by a candidate that it was given to."""
    targets: list[Target] = []
    exclusions: list[Exclusion] = []
    for target in rule.targets:
        stable_reason = excludes(target.stable, question)
        serves = stable_reason is None
        if stable_reason is not None:
            exclusions.append(Exclusion(target.name, target.stable.model.key, stable_reason))
        if target.candidate is not None:
            reason = excludes(target.candidate, question)
            if reason is not None:
                exclusions.append(Exclusion(target.name, target.candidate.model.key, reason))
            elif not serves:
                serves = _is_given_to_candidate(runtime, target, key, draw)
        if serves:
            targets.append(target)
    return targets, tuple(exclusions)


def _is_given_to_candidate(runtime: Runtime, target: Target, key: bytes | None, draw: int) -> bool:
    share = runtime.shares.get(target.split, 0) if target.split is not None else 0
    if key is None:
        return (draw >> _PART_BITS & _MASK) * FULL_SHARE >> _PART_BITS < share
    return arm_bucket(target.salt, key) < share


def _hash(salt: bytes, key: bytes) -> int:
    return int.from_bytes(blake2b(salt + key, digest_size=8).digest(), "big")


def _sticky_key(rule: Rule, question: Question) -> bytes | None:
    """The first of the rule's sources that this request has; without any it is random per request."""
    for header in rule.sticky:
        if header is not None:
            value = question.header(header)
            if value:
                return value.encode("utf-8", "surrogateescape")
        elif question.caller is not None:
            return f"{question.caller.namespace}/{question.caller.name}".encode()
    return None
