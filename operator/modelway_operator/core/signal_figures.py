"""What the gateways found of a policy's examples: how well they can be told, for its status and its author.

Rule: all gateways compute the same from the same phrases, so one answer is enough; while none answers, the last one
stands, since phrases do not get worse by that.
"""

from collections.abc import Iterable

from modelway_contract.config import ExamplesFit
from modelway_operator.api.routingpolicy import RoutingPolicy
from modelway_operator.api.signals import SignalFigures
from modelway_operator.core.findings import Area, Finding, ObjectRef

LEAST_ACCURACY = 0.7
"""Half is guessing. Below this, most of what is meant is missed, or much of what is not is taken for it."""
_FARTHEST = 1000.0


def figures_of(
    policy: RoutingPolicy, before: Iterable[SignalFigures], fits: Iterable[ExamplesFit]
) -> tuple[SignalFigures, ...]:
    """The figures of each signal that is known by examples, in the policy's order."""
    known = {figures.name: figures for figures in before} | {fit.signal: _figures(fit) for fit in fits}
    asked = (signal.name for signal in policy.spec.signals if signal.examples is not None)
    return tuple(known[name] for name in asked if name in known)


def indistinct(about: ObjectRef, policy: RoutingPolicy, figures: Iterable[SignalFigures]) -> list[Finding]:
    """Notes on signals whose phrases are hard to tell from everything else."""
    return [
        Finding(
            about=about,
            area=Area.NOTE,
            reason="IndistinctExamples",
            message=f"signal {each.name}: its {each.phrases} phrases are told from other prompts with an accuracy of"
            f" only {each.accuracy} (0.50 is guessing); give it more phrases (up to 20), or others that have more in"
            " common with each other and less with those of the policy's other signals",
            part=each.name,
        )
        for each in figures_of(policy, figures, ())
        if float(each.accuracy) < LEAST_ACCURACY
    ]


def _figures(fit: ExamplesFit) -> SignalFigures:
    return SignalFigures(
        name=fit.signal, phrases=fit.phrases, accuracy=_text(fit.accuracy), threshold=_text(fit.threshold)
    )


def _text(value: float) -> str:
    """Two decimals; bounded, as is all that comes from outside."""
    return f"{min(max(value, -_FARTHEST), _FARTHEST):z.2f}"
