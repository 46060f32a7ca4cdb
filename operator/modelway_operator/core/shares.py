"""The shares that versions have now, for people: in each rule's status, and all of them in one line."""

from collections.abc import Sequence
from itertools import groupby

from modelway_operator.api.routingpolicy import RuleStatus, TargetWeight
from modelway_operator.core.compile.models import CompiledModel
from modelway_operator.core.outcomes import RuleOutcome, TargetOutcome
from modelway_operator.core.rollout.model import WHOLE_SHARE_BP
from modelway_operator.core.situations import CANDIDATE_SHARE
from modelway_operator.core.status import bounded

MAX_SHARES = 32
MAX_LINE = 2048


def rule_shares(
    outcome: RuleOutcome, before: RuleStatus | None, *, namespace: str, now: str
) -> tuple[TargetWeight, ...]:
    """One entry for each version that a target serves."""
    known = {(each.target, each.model, each.version): each for each in (before.weights if before is not None else ())}
    shares = []
    for target, arm, share in _arms(outcome):
        old = known.get((target.name, (name := _model_name(arm, namespace)), arm.wire.version))
        weight = _percent(share)
        shares.append(
            TargetWeight(
                target=target.name,
                model=name,
                version=arm.wire.version,
                weight=weight,
                since=old.since if old is not None and old.weight == weight else now,
                reason=CANDIDATE_SHARE if arm is target.candidate else "",
            )
        )
    return tuple(shares[:MAX_SHARES])


def shares_line(rules: Sequence[RuleOutcome]) -> str:
    """All shares: `legal-eu: law-v1=85.5 law-v2=4.5 llama-70b=10; default: …`."""
    return bounded("; ".join(f"{rule.rule.name}: {_rule_line(rule)}" for rule in rules), MAX_LINE)


def _rule_line(rule: RuleOutcome) -> str:
    arms = _arms(rule)
    versions = {name: {v for n, v in pairs} for name, pairs in _by_name(arms)}
    sums: dict[str, float] = {}
    for _, arm, share in arms:
        name = arm.wire.name
        label = name if len(versions[name]) == 1 else f"{name}@{arm.wire.version[:6]}"
        sums[label] = sums.get(label, 0.0) + share
    return " ".join(f"{label}={_percent(share)}" for label, share in sums.items()) or "503"


def _by_name(arms: Sequence[tuple[TargetOutcome, CompiledModel, float]]) -> list[tuple[str, list[tuple[str, str]]]]:
    pairs = sorted((arm.wire.name, f"{arm.wire.namespace}@{arm.wire.version}") for _, arm, _ in arms)
    return [(name, list(group)) for name, group in groupby(pairs, key=lambda pair: pair[0])]


def _arms(outcome: RuleOutcome) -> list[tuple[TargetOutcome, CompiledModel, float]]:
    """Each version with its percentage of the rule's requests."""
    usable = [target for target in outcome.targets if target.stable is not None]
    whole = sum(target.weight for target in usable)
    arms = []
    for target in usable if whole else []:
        share = 100 * target.weight / whole
        given = target.plan.share_bp / WHOLE_SHARE_BP if target.candidate is not None else 0.0
        assert target.stable is not None
        arms.append((target, target.stable, share * (1 - given)))
        if target.candidate is not None:
            arms.append((target, target.candidate, share * given))
    return arms


def _model_name(arm: CompiledModel, namespace: str) -> str:
    return arm.wire.name if arm.wire.namespace == namespace else f"{arm.wire.namespace}/{arm.wire.name}"


def _percent(share: float) -> str:
    return f"{share:.2f}".rstrip("0").rstrip(".")
