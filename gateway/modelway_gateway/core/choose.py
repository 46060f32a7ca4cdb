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

from modelway_contract.names import Arm
from modelway_gateway.core.features import Question
from modelway_gateway.core.records import Decision, Exclusion, Reason, Refusal
from modelway_gateway.core.routes import NO_LIMIT, Limits, Offer, Option, Policy, Rule, Target
from modelway_gateway.core.runtime import FULL_SHARE, Address, Runtime

DRAW_BITS: Final = 160
"""A draw is a uniform integer of so many bits: 40 each for target, arm, backend and address."""

_PART_BITS: Final = DRAW_BITS // 4
_PART: Final = 1 << _PART_BITS
_MASK: Final = _PART - 1


def choose(runtime: Runtime, question: Question, draw: int) -> Decision:
    """Decide one request."""
    found = runtime.names.find(question.namespace, question.model)
    if found is None:
        return Decision(refusal=Refusal.MODEL_NOT_FOUND)
    if isinstance(found, Option):
        return _direct(runtime, found, question, draw)
    for rule in found.rules:
        if rule.when is None or rule.when(question):
            return _by_rule(runtime, found, rule, question, draw)
    return Decision(policy=found, refusal=Refusal.NO_MATCHING_RULE)


def arm_bucket(salt: bytes, key: bytes) -> int:
    """Which of the 10,000 buckets a sticky key falls into, in the rollout that this salt belongs to."""
    return _hash(salt, key) % FULL_SHARE


def _direct(runtime: Runtime, option: Option, question: Question, draw: int) -> Decision:
    reason = _excludes(option, question)
    if reason is not None:
        exclusions = (Exclusion("", option.model.key, reason),)
        return Decision(exclusions=exclusions, refusal=Refusal.NO_ELIGIBLE_MODEL)
    offer, address = _pick_offer(runtime, option, draw)
    refusal = Refusal.NO_ENDPOINTS if offer is None else None
    return Decision(option=option, offer=offer, address=address, series=option.series, refusal=refusal)


def _by_rule(runtime: Runtime, policy: Policy, rule: Rule, question: Question, draw: int) -> Decision:
    key = _sticky_key(rule, question) if rule.sticky else None
    exclusions: tuple[Exclusion, ...] = ()
    targets: Sequence[Target] = rule.targets
    if not rule.has_exclusions and _exceeded(rule.limits, question) is None:
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
    offer, address = _pick_offer(runtime, option, draw)
    return Decision(
        policy=policy,
        rule=rule,
        target=target,
        option=option,
        offer=offer,
        address=address,
        arm=arm,
        series=series,
        exclusions=exclusions,
        refusal=Refusal.NO_ENDPOINTS if offer is None else None,
    )


def _eligible(
    runtime: Runtime, rule: Rule, question: Question, key: bytes | None, draw: int
) -> tuple[list[Target], tuple[Exclusion, ...]]:
    """Targets that can serve this request: by their stable model, or by a candidate that it was given to."""
    targets: list[Target] = []
    exclusions: list[Exclusion] = []
    for target in rule.targets:
        stable_reason = _excludes(target.stable, question)
        serves = stable_reason is None
        if stable_reason is not None:
            exclusions.append(Exclusion(target.name, target.stable.model.key, stable_reason))
        if target.candidate is not None:
            reason = _excludes(target.candidate, question)
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


def _pick_offer(runtime: Runtime, option: Option, draw: int) -> tuple[Offer | None, Address | None]:
    """One backend by weight, of those that have an address; and one of its addresses."""
    offers, cumulative = option.offers, option.cumulative
    if len(offers) == 1:
        offer = offers[0]
    else:
        here = [each for each in offers if not each.backend.discovered or each.backend.id in runtime.addresses]
        if not here:
            return None, None
        if len(here) != len(offers):
            cumulative = tuple(accumulate(each.backend.weight for each in here))
        point = (draw >> 2 * _PART_BITS & _MASK) * cumulative[-1] >> _PART_BITS
        offer = here[bisect_right(cumulative, point)]
    if not offer.backend.discovered:
        return offer, None
    addresses = runtime.addresses.get(offer.backend.id)
    if addresses is None:
        return None, None
    return offer, addresses[(draw >> 3 * _PART_BITS) * len(addresses) >> _PART_BITS]


def _excludes(option: Option, question: Question) -> Reason | None:
    """Why this model cannot serve this request here."""
    return option.excluded or _exceeded(option.limits, question)


def _exceeded(limits: Limits, question: Question) -> Reason | None:
    if not limits.images and question.needs_images:
        return Reason.IMAGES
    if not limits.tools and question.needs_tools:
        return Reason.TOOLS
    if not limits.json_schema and question.needs_json_schema:
        return Reason.JSON_SCHEMA
    if limits.output_tokens != NO_LIMIT and question.output_tokens > limits.output_tokens:
        return Reason.MAX_OUTPUT_TOKENS
    if limits.total_tokens != NO_LIMIT and question.input_tokens + question.output_tokens > limits.total_tokens:
        return Reason.CONTEXT_WINDOW
    return None
