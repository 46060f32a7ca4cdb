"""What gateways find of a policy's examples, as its status shows it and its author is told."""

from typing import Any

import pytest

from modelway_contract.config import ExamplesFit
from modelway_operator.core.findings import Severity
from modelway_operator.core.plan import Plan

from tests.support.builders import a_model, a_policy, a_rule
from tests.support.turns import World

PHRASES = ["give it back", "my money back", "a refund, please", "return the shoes", "send me a label"]


def a_signal(name: str, phrases: list[str] = PHRASES) -> dict[str, Any]:
    return {"name": name, "examples": {"phrases": phrases}}


SIGNALS = [{"name": "german", "language": {"in": ["de"]}}, a_signal("returns"), a_signal("delivery")]
RULES = [
    a_rule("some", when={"any": [{"signal": "german"}, {"signal": "returns"}, {"signal": "delivery"}]}),
    a_rule(),
]


def a_fit(
    signal: str, accuracy: float, threshold: float = 0.714, policy: str = "chat", phrases: int = 5
) -> ExamplesFit:
    return ExamplesFit(
        namespace="team", policy=policy, signal=signal, phrases=phrases, accuracy=accuracy, threshold=threshold
    )


def a_world(*fits: ExamplesFit) -> World:
    """Two gateways that say the same of its examples."""
    world = World(models=[a_model()], policies=[a_policy(signals=SIGNALS, rules=RULES)])
    world.fits = dict.fromkeys(world.gateways, fits)
    return world


def figures(world: World, policy: str = "chat") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.policy(policy)["status"]["signals"]
    return found


GOOD = (a_fit("delivery", 1.0, 0.4), a_fit("returns", 0.944))
SHOWN = [
    {"name": "returns", "phrases": 5, "accuracy": "0.94", "threshold": "0.71"},
    {"name": "delivery", "phrases": 5, "accuracy": "1.00", "threshold": "0.40"},
]


def test_status_shows_the_figures_in_the_policys_order_and_then_rests() -> None:
    """Written once, whatever the order of the answer; signals of other kinds have none."""
    world = a_world(*GOOD)
    world.settle()

    assert SHOWN == figures(world)
    assert () == world.turn().statuses


def test_policies_get_their_own_figures_of_one_answer() -> None:
    """Told apart by namespace and name."""
    world = a_world(*GOOD, a_fit("returns", 0.8, policy="other"))
    world.policies.append(a_policy("other", models=["other"], signals=[a_signal("returns")]))
    world.settle()

    assert SHOWN == figures(world)
    assert ["0.80"] == [each["accuracy"] for each in figures(world, "other")]


def test_the_first_gateway_by_name_that_says_anything_is_believed() -> None:
    """So that two that differ in the last digit, as releases may, cause no write each turn."""
    world = a_world()
    world.fits = {"gateway-0": (), "gateway-1": GOOD}
    world.settle()
    before = figures(world)
    world.fits = {"gateway-0": (a_fit("returns", 0.5), a_fit("delivery", 0.5)), "gateway-1": GOOD}
    world.gateways = dict(reversed(world.gateways.items()))
    world.settle()

    assert SHOWN == before
    assert ["0.50", "0.50"] == [each["accuracy"] for each in figures(world)]


def test_figures_stand_while_no_gateway_answers() -> None:
    """Nobody's phrases become worse when gateways are away, or are new and say nothing yet."""
    world = a_world(*GOOD)
    world.settle()
    world.gateways = {}
    world.settle()
    without_any = figures(world)
    world.gateways, world.fits = {"gateway-9": None}, {}
    world.settle()

    assert SHOWN == without_any
    assert SHOWN == figures(world)


def test_a_gateway_that_runs_another_generation_says_nothing_of_this_one() -> None:
    """Its figures are of the phrases that were; those of a new signal wait for a gateway that has it."""
    world = a_world(*GOOD)
    world.settle()
    world.deaf = set(world.gateways)
    world.edit_policy(signals=[*SIGNALS[:2], a_signal("delivery", [*PHRASES, "where is it?"])])
    world.fits = dict.fromkeys(world.gateways, (a_fit("delivery", 0.2), a_fit("returns", 0.2)))
    world.settle()
    deaf = figures(world)
    world.deaf = set()
    world.fits = dict.fromkeys(world.gateways, (a_fit("delivery", 0.9, phrases=6), a_fit("returns", 0.9)))
    world.settle()

    assert SHOWN == deaf
    assert [("returns", 5, "0.90"), ("delivery", 6, "0.90")] == [
        (each["name"], each["phrases"], each["accuracy"]) for each in figures(world)
    ]


@pytest.mark.parametrize("instead", [[], [{"name": "delivery", "regex": "parcel"}]])
def test_figures_go_with_their_signal(instead: list[dict[str, Any]]) -> None:
    """With the signal itself, and when it becomes one of another kind."""
    world = a_world(*GOOD)
    world.settle()
    rules = [a_rule("some", when={"any": [{"signal": "returns"}]}), a_rule()]
    world.edit_policy(signals=[*SIGNALS[:2], *instead], rules=rules)
    world.settle()

    assert SHOWN[:1] == figures(world)


def test_a_refused_generation_keeps_the_figures_of_the_one_that_serves() -> None:
    """The last valid phrases are what gateways run."""
    world = a_world(*GOOD)
    world.settle()
    world.edit_policy(signals=[*SIGNALS[:2], a_signal("delivery", PHRASES[:4])])
    world.settle()

    assert SHOWN == figures(world)


def test_a_signal_that_is_hard_to_tell_is_named_once_with_the_remedy() -> None:
    """A warning; the policy is as ready as before."""
    world = a_world(a_fit("returns", 0.694), a_fit("delivery", 0.7))
    world.settle()
    told = [event for event in world.events if event.reason == "IndistinctExamples"]

    assert [("chat", Severity.WARNING)] == [(event.about.name, event.severity) for event in told]
    assert told[0].message.startswith(
        "signal returns: its 5 phrases are told from other prompts with an accuracy of only 0.69"
    )
    assert "give it more phrases" in told[0].message
    assert ["returns"] == standing(world.turn())


def test_the_note_goes_when_the_phrases_are_better_and_comes_again_when_they_are_not() -> None:
    """Each figure is news of its own."""
    world = a_world(a_fit("returns", 0.4), a_fit("delivery", 1.0))
    world.settle()
    world.fits = dict.fromkeys(world.gateways, GOOD)
    world.settle()
    better = standing(world.turn())
    world.fits = dict.fromkeys(world.gateways, (a_fit("returns", 0.4), a_fit("delivery", 0.0)))
    world.settle()
    told = [event.message.split(":")[0] for event in world.events if event.reason == "IndistinctExamples"]

    assert [] == better
    assert ["signal returns", "signal returns", "signal delivery"] == told


def standing(plan: Plan) -> list[str]:
    return [finding.part for finding in plan.findings if finding.reason == "IndistinctExamples"]


@pytest.mark.parametrize(
    ("threshold", "shown"), [(-0.001, "0.00"), (-0.25, "-0.25"), (1e300, "1000.00"), (-1e300, "-1000.00")]
)
def test_thresholds_are_shown_as_short_numbers(threshold: float, shown: str) -> None:
    """A score may be below 0; what a gateway says cannot make a status that no API server takes."""
    world = a_world(a_fit("returns", 1.0, threshold))
    world.settle()

    assert [shown] == [each["threshold"] for each in figures(world)]
