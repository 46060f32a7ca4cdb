"""Signals that read what a prompt means, compiled into a policy and asked by the real decision, with the real model."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelway_contract.config import HeaderCondition, SignalCondition, When
from modelway_contract.prompt_labels import Domain, ExpectedOutput, Pii, Task
from modelway_contract.signals import (
    DifficultySignal,
    DomainSignal,
    ExamplesSignal,
    LanguageSignal,
    OutputLengthSignal,
    PiiSignal,
    Signal,
    TaskSignal,
)
from modelway_gateway.core.choose import choose
from modelway_gateway.core.features import Question
from modelway_gateway.core.hardest import LEAST, WINDOW, RecentScores
from modelway_gateway.core.prompt.analyser import Reading
from modelway_gateway.core.prompt.reader import TEXTS_KEPT, Reader
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.core.series import SeriesBook
from modelway_gateway.core.verdicts import Result, Verdict, signals_line
from modelway_gateway.errors import RoutingError
from modelway_gateway.prompt_model import load_analyser

from tests.support.gateway import a_base, a_model, a_policy, a_rule, a_runtime, a_target
from tests.unit.modelway_gateway.core.asking import ask

CHEAP, STRONG = a_model("cheap"), a_model("strong")
STORY = "Write a short story about a lighthouse keeper who befriends a storm."
CONTRACT = "Is a verbal lease agreement enforceable under contract law when the tenant has already paid rent?"
GERMAN = "Kannst du mir bitte erklären, wie ich meinen Reisepass verlängern lassen kann?"
PROOF = (
    "Let G be a finite group of order p^2 q with p and q distinct primes, p < q and q not congruent to 1 modulo p."
    " Prove that every Sylow subgroup is normal and compute the number of irreducible complex characters."
)
RETURNS = (
    "I want my money back",
    "how do I return this jacket?",
    "can I send the shoes back for a refund?",
    "the parcel arrived broken, I want to return it",
    "please refund my order",
)


@pytest.fixture(scope="module")
def reader() -> Reader:
    """The model as a gateway loads it."""
    return Reader(load_analyser())


def saying(text: str, **changes: Any) -> Question:
    return ask(messages=[{"role": "user", "content": text}], **changes)


def routing(reader: Reader | None, *asked: Signal, book: SeriesBook | None = None) -> Runtime:
    """To `strong` when every signal is true, else to `cheap`."""
    when = When(all=tuple(SignalCondition(name=each.name) for each in asked))
    rules = (a_rule(a_target(STRONG), name="when", when=when), a_rule(a_target(CHEAP), name="else"))
    return a_runtime(a_base(CHEAP, STRONG, policies=(a_policy(*rules, signals=asked),)), reader=reader, book=book)


def model_for(runtime: Runtime, question: Question) -> str:
    option = choose(runtime, question, 0).option
    assert option is not None
    return option.model.name


@pytest.mark.parametrize(
    ("signal", "yes", "no"),
    [
        (TaskSignal(name="s", any_of=(Task.WRITING,)), STORY, CONTRACT),
        (DomainSignal(name="s", any_of=(Domain.LAW,)), CONTRACT, PROOF),
        (LanguageSignal(name="s", any_of=("de",)), GERMAN, STORY),
        (DifficultySignal(name="s", at_least=0.5), PROOF, "What is the capital of France?"),
        (OutputLengthSignal(name="s", any_of=(ExpectedOutput.LONG,)), STORY, "Is this spam? Answer yes or no."),
        (ExamplesSignal(name="s", phrases=RETURNS), "how can I return my new jacket?", PROOF),
        (PiiSignal(name="s", any_of=(Pii.EMAIL,)), "Write to ann.smith@example.org", STORY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Signal) else "",
)
def test_each_signal_leads_what_it_is_true_of(reader: Reader, signal: Signal, yes: str, no: str) -> None:
    """And nothing else."""
    runtime = routing(reader, signal)

    assert ["strong", "cheap"] == [model_for(runtime, saying(text)) for text in (yes, no)]


@pytest.mark.parametrize(
    "signal",
    [
        TaskSignal(name="s", any_of=tuple(Task), min_confidence=0.0),
        DomainSignal(name="s", any_of=tuple(Domain), min_confidence=0.0),
        DifficultySignal(name="s", at_least=0.0001),
        OutputLengthSignal(name="s", any_of=tuple(ExpectedOutput)),
        ExamplesSignal(name="s", phrases=RETURNS, threshold=-9.0),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("text", ["", "  \n\t "], ids=["empty", "blank"])
def test_nothing_is_said_of_a_text_that_says_nothing(reader: Reader, signal: Signal, text: str) -> None:
    """However low the bound is."""
    question = saying(text)

    assert model_for(routing(reader, signal), question) == "cheap"
    assert question.verdicts["s"].result is Result.ABSTAINED


def test_text_in_an_unknown_language_has_no_task_and_no_domain(reader: Reader) -> None:
    """Though every label would do."""
    asked = (
        TaskSignal(name="t", any_of=tuple(Task), min_confidence=0.0),
        DomainSignal(name="d", any_of=tuple(Domain), min_confidence=0.0),
    )
    for signal in asked:
        question = saying("Ang mga tawo nga nagpuyo sa lungsod")
        assert model_for(routing(reader, signal), question) == "cheap"
        assert question.verdicts[signal.name] == Verdict(Result.ABSTAINED)


def test_an_unsure_label_is_none(reader: Reader) -> None:
    """Below `min_confidence` the condition is false, whatever the label."""
    question = saying(STORY)
    runtime = routing(reader, TaskSignal(name="s", any_of=tuple(Task), min_confidence=1.0))

    assert model_for(runtime, question) == "cheap"
    verdict = question.verdicts["s"]
    assert (verdict.result, verdict.label) == (Result.ABSTAINED, Task.WRITING)


def test_the_last_message_of_the_user_is_read() -> None:
    """Neither what the system says nor what was asked before, nor what a model answered."""
    question = ask(
        messages=[
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": [{"type": "text", "text": "the"}, {"type": "text", "text": "last"}]},
            {"role": "system", "content": "be brief"},
            {"role": "tool", "content": "result"},
        ]
    )

    assert question.last_user_text == "the\nlast"
    assert ask(messages=[{"role": "system", "content": "be brief"}]).last_user_text == ""


def test_the_hardest_are_a_share_of_what_comes(reader: Reader) -> None:
    """With too few it abstains."""
    signal = DifficultySignal(name="s", hardest=0.3)
    runtime = routing(reader, signal)
    words = PROOF.split()
    texts = [" ".join(words[: 3 + number * 7 % 29]) + f" {number}" for number in range(400)]
    went = [model_for(runtime, saying(text)) for text in texts]

    assert set(went[:LEAST]) == {"cheap"}
    assert 0.2 <= went[LEAST:].count("strong") / len(went[LEAST:]) <= 0.35


@settings(max_examples=30, deadline=None)
@given(scores=st.lists(st.sampled_from([number / 20 for number in range(21)]), max_size=1400), share=st.floats(0.01, 1))
def test_whoever_is_called_hardest_is_above_all_but_a_share(scores: list[float], share: float) -> None:
    """Of those before it, the last thousand of them; equal ones are not above each other."""
    recent = RecentScores()
    for at, score in enumerate(scores):
        before = scores[max(0, at - WINDOW) : at]
        found = recent.is_hardest(score, share=share)
        if len(before) < LEAST:
            assert found is None
        else:
            assert found is (sum(each >= score for each in before) <= int(len(before) * share))


def test_a_config_that_changes_keeps_what_was_hard_lately(reader: Reader) -> None:
    """The window belongs to the signal's series, and those outlive configs."""
    book, signal = SeriesBook(), DifficultySignal(name="s", hardest=0.5)
    before = routing(reader, signal, book=book)
    book.signals.activate(before.compiled.signals, now=0.0)
    for number in range(LEAST):
        model_for(before, saying(f"What is {number} plus two?"))
    after = routing(reader, signal, TaskSignal(name="any", any_of=tuple(Task), min_confidence=0.0), book=book)

    assert model_for(after, saying(PROOF)) == "strong"


def test_a_text_is_read_once_for_all_signals_and_requests(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again in another namespace, which must not learn from the time it takes who asked before."""
    read: list[str] = []
    original = reader._analyser.read

    class Counting:
        def read(self, text: str) -> Reading:
            read.append(text)
            return original(text)

    monkeypatch.setattr(reader, "_analyser", Counting())
    asked = (
        TaskSignal(name="t", any_of=(Task.WRITING,)),
        DomainSignal(name="d", any_of=tuple(Domain), min_confidence=0.0),
        DifficultySignal(name="h", at_least=0.0001),
    )
    runtime = routing(reader, *asked)
    for _ in range(3):
        assert model_for(runtime, saying("Write a poem about rivers in spring, please.")) == "strong"
    reader.open("elsewhere", read[0]).task  # noqa: B018 - reads

    assert len(read) == 2


def test_memory_of_texts_is_bounded(reader: Reader) -> None:
    """And holds labels, not texts."""
    for number in range(TEXTS_KEPT + 10):
        reader.open("team", f"secret {number}").known["task"] = None

    assert len(reader._known) == TEXTS_KEPT
    assert "secret" not in repr(reader._known)


def test_the_prompt_is_not_read_where_no_rule_could_match(reader: Reader) -> None:
    """A header that is missing is found out first, wherever it stands; and a keyword before a meaning."""
    read_first = When(all=(SignalCondition(name="s"), HeaderCondition(name="x-lane", exact="hard")))
    rules = (a_rule(a_target(STRONG), name="when", when=read_first), a_rule(a_target(CHEAP), name="else"))
    policy = a_policy(*rules, signals=(TaskSignal(name="s", any_of=(Task.CODE,)),))
    question = saying(STORY)
    model_for(a_runtime(a_base(CHEAP, STRONG, policies=(policy,)), reader=reader), question)

    assert not question.has_verdicts


def test_verdicts_are_counted_and_timed(reader: Reader) -> None:
    """By policy and signal; the time by kind."""
    book = SeriesBook()
    runtime = routing(reader, TaskSignal(name="s", any_of=(Task.WRITING,)), book=book)
    book.signals.activate(runtime.compiled.signals, now=0.0)
    for text in (STORY, STORY, ""):
        model_for(runtime, saying(text))
    (series,) = book.signals.shown()

    assert series.key == ("team", "chat", "s", "task")
    assert {Result.MATCH: 2, Result.NO_MATCH: 0, Result.ABSTAINED: 1, Result.FAILED: 0} == series.results
    assert sum(book.signal_seconds["task"].counts) == 3


def test_own_categories_come_with_their_figure(reader: Reader) -> None:
    """What the acknowledgement says: how many phrases fall to their own category when they are left out."""
    jokes = ("tell me a joke", "say something funny", "make me laugh please", "I need a good pun", "a joke about cats")
    asked = (
        ExamplesSignal(name="returns", phrases=RETURNS),
        ExamplesSignal(name="jokes", phrases=jokes, threshold=0.7),
    )
    figures = {each.signal: each for each in routing(reader, *asked).compiled.examples}

    assert set(figures) == {"returns", "jokes"}
    assert all(each.phrases == 5 and each.accuracy >= 0.8 for each in figures.values())
    assert figures["jokes"].threshold == 0.7


def test_without_the_model_only_those_are_refused_who_need_it() -> None:
    """And the author is told; nobody is led elsewhere."""
    runtime = routing(None, TaskSignal(name="s", any_of=(Task.CODE,)))
    (finding,) = runtime.findings

    assert (finding.code, "could not be loaded" in finding.message) == ("bad_signal", True)
    with pytest.raises(RoutingError):
        choose(runtime, saying(STORY), 0)
    assert choose(runtime, saying(STORY, model="cheap"), 0).refusal is None


def test_a_category_of_one_phrase_is_none(reader: Reader) -> None:
    """The operator refuses it too; this gateway says why it cannot evaluate it."""
    (finding,) = routing(reader, ExamplesSignal(name="s", phrases=("one",))).findings

    assert "two phrases" in finding.message


def test_a_gateway_without_such_signals_loads_neither_numpy_nor_the_model() -> None:
    """They cost 40 MB and a quarter of a second."""
    program = "import sys, modelway_gateway.server; print('numpy' in sys.modules, 'fasttext' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]


def test_the_header_says_what_each_signal_said() -> None:
    """As a dictionary of RFC 9651, with labels quoted where they are no token."""
    verdicts = {
        "legal": Verdict(Result.MATCH, Domain.COMPUTER_SCIENCE, 0.834),
        "hard": Verdict(Result.ABSTAINED, confidence=0.5),
        "own": Verdict(Result.NO_MATCH, 'a "b"\r\nx: y'),
        "slow": Verdict(Result.FAILED),
    }

    assert signals_line(verdicts) == (
        b"x-modelway-signals: legal=?1;label=computer_science;score=0.83, hard=?0;score=0.50;abstained,"
        b' own=?0;label="a \\"b\\"??x: y", slow=?0;failed\r\n'
    )
