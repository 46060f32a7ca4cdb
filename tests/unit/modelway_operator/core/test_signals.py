"""Signals and priorities: from manifests to what gateways get."""

from typing import Any

import pytest

from modelway_contract import config
from modelway_contract.config import (
    Policy,
    PriorityCondition,
    SignalCondition,
    When,
)
from modelway_contract.prompt_labels import Domain, ExpectedOutput, Pii, Task
from modelway_contract.signals import (
    ClassifierSignal,
    DifficultySignal,
    DomainSignal,
    ExamplesSignal,
    FailureMode,
    InputTokensSignal,
    KeywordsSignal,
    LanguageSignal,
    OutputLengthSignal,
    PiiSignal,
    RegexSignal,
    Signal,
    TaskSignal,
)
from modelway_operator.api.parsing import parse_routingpolicy
from modelway_operator.api.prompt_signals import PersonalDataKind
from modelway_operator.api.signals import pattern_problem

from tests.support.builders import a_model, a_policy, a_rule
from tests.support.turns import World, condition, message

SIGNALS: list[dict[str, Any]] = [
    {"name": "greeting", "keywords": {"any": ["hello", "good morning"], "wholeWords": True}},
    {"name": "ticket", "regex": "INC-[0-9]{6}"},
    {"name": "long", "inputTokens": {"atLeast": 32000}},
]
WHEN: dict[str, Any] = {
    "all": [{"signal": "ticket"}, {"any": [{"signal": "greeting"}, {"priority": "Batch"}]}],
    "none": [{"signal": "long"}, {"priority": "Interactive"}],
}


def a_world(signals: list[dict[str, Any]], when: dict[str, Any]) -> World:
    rules = [a_rule("some", when=when), a_rule()]
    return World(models=[a_model()], policies=[a_policy(signals=signals, rules=rules)])


def policy_of(world: World) -> Policy:
    push = world.decide().push
    assert push is not None
    assert push.base is not None
    (policy,) = push.base.policies
    return policy


def test_signals_and_priorities_as_the_gateways_get_them() -> None:
    """Each kind of signal, and conditions that read them at both levels."""
    policy = policy_of(a_world(SIGNALS, WHEN))

    assert policy.signals == (
        KeywordsSignal(name="greeting", any=("hello", "good morning"), whole_words=True),
        RegexSignal(name="ticket", pattern="INC-[0-9]{6}"),
        InputTokensSignal(name="long", at_least=32000),
    )
    batch, interactive = (
        PriorityCondition(priority=each) for each in (config.Priority.BATCH, config.Priority.INTERACTIVE)
    )
    assert policy.rules[0].when == When(
        all=(SignalCondition(name="ticket"), When(any=(SignalCondition(name="greeting"), batch))),
        none=(SignalCondition(name="long"), interactive),
    )


PHRASES = ("give it back", "my money back", "a refund, please", "return the shoes", "send me a label")
URL = "http://classifier.tools.svc:8000/classify"
MEANINGS: list[tuple[dict[str, Any], Signal]] = [
    (
        {"name": "s", "task": {"in": ["writing", "rag_qa"]}},
        TaskSignal(name="s", any_of=(Task.WRITING, Task.RAG_QA), min_confidence=0.5),
    ),
    (
        {"name": "s", "domain": {"in": ["law"], "minConfidence": "0.65"}},
        DomainSignal(name="s", any_of=(Domain.LAW,), min_confidence=0.65),
    ),
    (
        {"name": "s", "language": {"in": ["de", "lb"], "minConfidence": "1"}},
        LanguageSignal(name="s", any_of=("de", "lb"), min_confidence=1.0),
    ),
    (
        {"name": "s", "outputLength": {"in": ["long"]}},
        OutputLengthSignal(name="s", any_of=(ExpectedOutput.LONG,)),
    ),
    ({"name": "s", "difficulty": {"atLeast": "0.7"}}, DifficultySignal(name="s", at_least=0.7)),
    ({"name": "s", "difficulty": {"hardest": "0.25"}}, DifficultySignal(name="s", hardest=0.25)),
    ({"name": "s", "examples": {"phrases": list(PHRASES)}}, ExamplesSignal(name="s", phrases=PHRASES)),
    (
        {"name": "s", "examples": {"phrases": list(PHRASES), "threshold": "0.75"}},
        ExamplesSignal(name="s", phrases=PHRASES, threshold=0.75),
    ),
    (
        {"name": "s", "pii": {"any": [str(kind) for kind in PersonalDataKind]}},
        PiiSignal(name="s", any_of=(Pii.EMAIL, Pii.PHONE, Pii.IBAN, Pii.CARD, Pii.SSN, Pii.KEY, Pii.IP)),
    ),
    (
        {"name": "s", "classifier": {"url": URL, "in": ["toxic"]}},
        ClassifierSignal(
            name="s",
            url=URL,
            any_of=("toxic",),
            min_confidence=0.5,
            deadline_seconds=0.3,
            cache_seconds=600.0,
            failure_mode=FailureMode.NO_MATCH,
        ),
    ),
    (
        {
            "name": "s",
            "classifier": {
                "url": URL,
                "in": ["toxic", "rude"],
                "minConfidence": "0.9",
                "deadline": "1s50ms",
                "cache": "0s",
                "failureMode": "Refuse",
            },
        },
        ClassifierSignal(
            name="s",
            url=URL,
            any_of=("toxic", "rude"),
            min_confidence=0.9,
            deadline_seconds=1.05,
            cache_seconds=0.0,
            failure_mode=FailureMode.REFUSE,
        ),
    ),
]


@pytest.mark.parametrize(("given", "expected"), MEANINGS)
def test_signals_that_read_a_meaning_as_the_gateways_get_them(given: dict[str, Any], expected: Signal) -> None:
    """Each kind, with what was written and with the documented defaults where nothing was."""
    assert (expected,) == policy_of(a_world([given], {"all": [{"signal": "s"}]})).signals


def test_every_kind_of_personal_data_that_can_be_found_can_be_asked_for() -> None:
    """Each under a name of its own."""
    ((signal,),) = (policy_of(a_world([given], {"all": [{"signal": "s"}]})).signals for given, _ in MEANINGS[8:9])

    assert isinstance(signal, PiiSignal)
    assert set(Pii) == set(signal.any_of)
    assert len(Pii) == len(PersonalDataKind)


def test_a_spec_that_is_written_down_is_read_as_the_same() -> None:
    """What the operator remembers of a policy keeps every kind of signal, `in` included."""
    written = [{**given, "name": f"s{number}"} for number, (given, _) in enumerate(MEANINGS)]
    manifest = a_policy(signals=written, rules=[a_rule()])
    read = parse_routingpolicy(manifest).spec

    assert read == parse_routingpolicy({**manifest, "spec": read.as_manifest()}).spec


def test_signals_that_no_rule_reads_are_named_once() -> None:
    """A warning on the policy; the policy is accepted and complete."""
    world = a_world(SIGNALS, {"all": [{"signal": "ticket"}]})
    world.settle()
    told = [event for event in world.events if event.reason == "UnusedSignal"]

    assert ["RoutingPolicy"] == [event.about.kind for event in told]
    assert "greeting, long" in told[0].message
    assert ("True", "Accepted") == condition(world.policy(), "Accepted")
    assert None is condition(world.policy(), "PartiallyInvalid")


def test_a_signal_that_is_not_there_refuses_the_generation_and_names_its_reader() -> None:
    """The last valid generation goes on serving, so that no request goes where its author did not want it."""
    world = a_world(SIGNALS, WHEN)
    world.settle()
    before = policy_of(world)
    world.edit_policy(signals=SIGNALS[:2])
    world.settle()

    assert ("False", "Invalid") == condition(world.policy(), "Accepted")
    assert "rules[0].when.none[0]" in message(world.policy(), "Accepted")
    assert before == policy_of(world)


PATTERNS = [
    ("b26", "^(a+)+$", None),
    ("b26", "(?i)inc-[0-9]{6}|ticket", None),
    ("b27", "INC-(?=[0-9])", "invalid perl operator at character 5"),
    ("b27", r"(a)\1", "invalid escape sequence at character 4"),
    ("b28", "((a{100}){100}){100}", "invalid repetition size at character 4"),
    ("b28", r"(\pL{30}){30}", "pattern too large - compile failed"),
    ("b28", r"\pL{200}", "pattern too large - compile failed"),
    ("half", "(a", "missing )"),
    ("surrogate", "a\ud800", "the character at 2 is none that text may hold"),
]


@pytest.mark.parametrize(("name", "pattern", "problem"), PATTERNS)
def test_b26_b27_b28_re2_judges_patterns(name: str, pattern: str, problem: str | None) -> None:
    """What backtracking is slow at is taken; lookaround, backreferences and what needs too much memory is not."""
    assert problem == pattern_problem(pattern)


def test_b27_b28_a_bad_pattern_drops_its_policys_new_generation_alone() -> None:
    """The message names signal, place and remedy; the policy's last generation and all others serve."""
    world = a_world(SIGNALS, WHEN)
    world.policies.append(a_policy("other", models=["other"]))
    world.settle()
    before = policy_names(world)
    world.edit_policy(signals=[SIGNALS[0], {"name": "ticket", "regex": "(?<=INC-)[0-9]"}, SIGNALS[2]])
    world.settle()
    said = message(world.policy(), "Accepted")

    assert said.startswith("spec.signals[1].regex: must be a pattern that RE2 takes")
    assert said.endswith("at character 1")
    assert ("True", "Serving") == condition(world.policy("other"), "Ready")
    assert {"chat", "other"} == before == policy_names(world)


def policy_names(world: World) -> set[str]:
    push = world.decide().push
    assert push is not None
    assert push.base is not None
    return {policy.name for policy in push.base.policies}
