"""Classifiers of a policy's own: what their answers mean, which are remembered, and when one has to be asked at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_contract.config import HeaderCondition, SignalCondition, When
from modelway_contract.signals import ClassifierSignal, FailureMode, KeywordsSignal, Signal
from modelway_gateway.core.choose import choose
from modelway_gateway.core.classifiers import (
    ANSWERS_KEPT,
    AnswerNeeded,
    Asking,
    Classifier,
    Failure,
    KnownAnswers,
    failed,
)
from modelway_gateway.core.features import MAX_PROMPT_CHARACTERS, Question
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.core.series import SeriesBook, SignalKey
from modelway_gateway.core.signals import Senses, kind_of
from modelway_gateway.core.tally import Tally
from modelway_gateway.core.verdicts import ABSTAINED, Result, Verdict, signals_line
from modelway_gateway.errors import Code, RequestError, RoutingError

from tests.support.gateway import a_base, a_model, a_policy, a_rule, a_runtime, a_target
from tests.unit.modelway_gateway.core.asking import ask

CHEAP, STRONG = a_model("cheap"), a_model("strong")
SECRET = "zebrafish"
"""Text that must not come out again."""


def a_classifier_signal(**changes: Any) -> ClassifierSignal:
    fields = {"name": "legal", "url": "http://classifier.example/judge", "any_of": ("legal", "tax"), **changes}
    return ClassifierSignal(**fields)


@dataclass
class World:
    """A clock that stands where a test puts it, and what is counted and known in it."""

    now: float = 1000.0
    book: SeriesBook = field(default_factory=SeriesBook)
    known: KnownAnswers = field(default_factory=KnownAnswers)

    def classifier(self, signal: ClassifierSignal, *, namespace: str = "team", policy: str = "chat") -> Classifier:
        key = SignalKey(namespace, policy, signal.name, kind_of(signal))
        tally = Tally(signal.name, self.book.signals.get(key), self.book.signal_seconds["classifier"])
        return Classifier(signal, key, tally, known=self.known, clock=lambda: self.now)

    def routing(self, *signals: Signal, when: When | None = None) -> Runtime:
        """To `strong` when every signal is true, else to `cheap`."""
        when = when or When(all=tuple(SignalCondition(name=each.name) for each in signals))
        rules = (a_rule(a_target(STRONG), name="when", when=when), a_rule(a_target(CHEAP), name="else"))
        base = a_base(CHEAP, STRONG, policies=(a_policy(*rules, signals=signals),))
        return a_runtime(base, senses=Senses(reader=None, book=self.book, clock=lambda: self.now, known=self.known))


def saying(text: str, **changes: Any) -> Question:
    return ask(messages=[{"role": "user", "content": text}], **changes)


def asked_by(classifier: Classifier, text: str = "hi", **changes: Any) -> Asking:
    with pytest.raises(AnswerNeeded) as caught:
        classifier.judge(saying(text, **changes))
    return caught.value.asking


def an_answer(label: object, confidence: object, **more: object) -> bytes:
    return msgspec.json.encode({"label": label, "confidence": confidence, **more})


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (an_answer("legal", 0.9), Verdict(Result.MATCH, "legal", 0.9)),
        (an_answer("tax", 1), Verdict(Result.MATCH, "tax", 1.0)),
        (an_answer("legal", 0.5), Verdict(Result.MATCH, "legal", 0.5)),
        (an_answer("legal", 0.4999), Verdict(Result.ABSTAINED, "legal", 0.4999)),
        (an_answer("legal", 0), Verdict(Result.ABSTAINED, "legal", 0.0)),
        (an_answer(SECRET, 0.9), Verdict(Result.NO_MATCH, "", 0.9)),
        (an_answer(SECRET, 0.1), Verdict(Result.NO_MATCH, "", 0.1)),
        (an_answer("Legal", 0.9), Verdict(Result.NO_MATCH, "", 0.9)),
        (an_answer("", 0.9), Verdict(Result.NO_MATCH, "", 0.9)),
        (an_answer("legal", 0.9, model="v7"), Verdict(Result.MATCH, "legal", 0.9)),
        (an_answer("legal", 1.01), failed(Failure.BAD_ANSWER)),
        (an_answer("legal", -0.1), failed(Failure.BAD_ANSWER)),
        (an_answer("legal", "0.9"), failed(Failure.BAD_ANSWER)),
        (an_answer("legal", True), failed(Failure.BAD_ANSWER)),
        (an_answer("legal", None), failed(Failure.BAD_ANSWER)),
        (an_answer(["legal"], 0.9), failed(Failure.BAD_ANSWER)),
        (b'{"label": "legal"}', failed(Failure.BAD_ANSWER)),
        (b'{"label": "legal", "confidence": NaN}', failed(Failure.BAD_ANSWER)),
        (b'{"label": "legal", "confidence": 1e999}', failed(Failure.BAD_ANSWER)),
        (b'[{"label": "legal", "confidence": 0.9}]', failed(Failure.BAD_ANSWER)),
        (b'"legal"', failed(Failure.BAD_ANSWER)),
        (b"legal", failed(Failure.BAD_ANSWER)),
        (b"", failed(Failure.BAD_ANSWER)),
        (b'{"label": "\xff", "confidence": 1}', failed(Failure.BAD_ANSWER)),
        (b"[" * 16_000, failed(Failure.BAD_ANSWER)),
    ],
)
def test_an_answer_is_a_label_of_the_signals_and_a_confidence(body: bytes, verdict: Verdict) -> None:
    """Anything else is a failure; a label that the signal does not name is not repeated."""
    assert World().classifier(a_classifier_signal()).hear(b"digest", body) == verdict


@given(body=st.binary(max_size=60) | st.text(max_size=30).map(lambda text: an_answer(text, 0.7)))
def test_no_answer_raises_and_none_is_repeated(body: bytes) -> None:
    """Whatever a classifier sends, the header of the request shows labels of the signal only."""
    verdict = World().classifier(a_classifier_signal()).hear(b"digest", body)

    assert verdict.label in {"", "legal", "tax", Failure.BAD_ANSWER}


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_nobody_is_asked_about_nothing(text: str) -> None:
    """It abstains, as the signals do that the gateway reads itself."""
    assert World().classifier(a_classifier_signal()).judge(saying(text)) is ABSTAINED


def test_the_last_user_message_is_asked_about() -> None:
    """Not what the system said, nor what was asked before."""
    messages = [{"role": "user", "content": "first"}, {"role": "user", "content": "last"}]
    question = ask(messages=[*messages, {"role": "system", "content": "be brief"}])
    with pytest.raises(AnswerNeeded) as caught:
        World().classifier(a_classifier_signal()).judge(question)

    assert caught.value.asking.text == "last"
    assert "last" not in str(caught.value)


def test_a_text_too_long_to_be_looked_into_is_refused() -> None:
    """As where a rule reads its words: a part of it would be another question."""
    classifier = World().classifier(a_classifier_signal())
    asked_by(classifier, "a" * MAX_PROMPT_CHARACTERS)
    with pytest.raises(RequestError) as caught:
        classifier.judge(saying("a" * (MAX_PROMPT_CHARACTERS + 1)))

    assert (caught.value.status, caught.value.code) == (413, Code.PROMPT_TOO_LONG)


def test_an_answer_is_known_until_it_expires() -> None:
    """And a failure is not remembered."""
    world = World()
    classifier = world.classifier(a_classifier_signal(cache_seconds=600.0))
    digest = asked_by(classifier).digest
    assert classifier.hear(digest, b"garbage").result is Result.FAILED
    asked_by(classifier)
    classifier.hear(digest, an_answer(SECRET, 0.9))
    world.now += 599.9
    assert classifier.judge(saying("hi")) == Verdict(Result.NO_MATCH, "", 0.9)
    world.now += 0.1

    asked_by(classifier)
    assert len(world.known) == 0


def test_without_a_cache_each_request_asks() -> None:
    """`cache: 0s`."""
    world = World()
    classifier = world.classifier(a_classifier_signal(cache_seconds=0.0))
    classifier.hear(asked_by(classifier).digest, an_answer("legal", 0.9))

    asked_by(classifier)
    assert len(world.known) == 0


@pytest.mark.parametrize(
    ("text", "where", "changes"),
    [
        ("ho", {}, {}),
        ("hi", {"policy": "other"}, {}),
        ("hi", {"namespace": "shared"}, {}),
        ("hi", {}, {"name": "other"}),
        ("hi", {}, {"url": "http://elsewhere.example/"}),
        ("hi", {}, {"any_of": ("legal",)}),
        ("hi", {}, {"min_confidence": 0.95}),
    ],
    ids=["text", "policy", "its namespace", "signal", "url", "labels", "bound"],
)
def test_an_answer_belongs_to_one_text_of_one_signal_as_it_is(
    text: str, where: dict[str, str], changes: dict[str, Any]
) -> None:
    """A signal that changed asks anew; one that did not goes on knowing, whatever else changed in the config."""
    world = World()
    classifier = world.classifier(a_classifier_signal())
    classifier.hear(asked_by(classifier).digest, an_answer("legal", 0.9))

    assert world.classifier(a_classifier_signal()).judge(saying("hi")).result is Result.MATCH
    asked_by(world.classifier(a_classifier_signal(**changes), **where), text)


def test_what_one_namespace_asked_no_other_can_tell() -> None:
    """Of a shared policy's callers, too: a quick answer would say that somebody asked this before."""
    classifier = World().classifier(a_classifier_signal())
    classifier.hear(asked_by(classifier).digest, an_answer("legal", 0.9))

    asked_by(classifier, namespace="rival")


def test_memory_is_bounded_and_holds_no_text() -> None:
    """The oldest makes room; a text that is asked again is new."""
    known = KnownAnswers()
    for number in range(ANSWERS_KEPT):
        known.keep(b"%d" % number, ABSTAINED, until=10.0)
    known.keep(b"0", ABSTAINED, until=10.0)
    known.keep(b"more", ABSTAINED, until=10.0)

    assert len(known) == ANSWERS_KEPT
    assert [known.find(each, now=0.0) for each in (b"0", b"1", b"more")] == [ABSTAINED, None, ABSTAINED]
    world = World()
    classifier = world.classifier(a_classifier_signal())
    classifier.hear(asked_by(classifier, SECRET).digest, an_answer(SECRET, 0.9))
    assert SECRET not in repr(vars(world.known))


@pytest.mark.parametrize("mode", FailureMode)
@pytest.mark.parametrize("failure", Failure)
def test_what_a_failure_does_is_the_policys_to_say(mode: FailureMode, failure: Failure) -> None:
    """`NoMatch`: the condition is false. `Refuse`: 503, with the signal's name and not its URL; counted in both."""
    world = World()
    signal = a_classifier_signal(failure_mode=mode)
    question, runtime = saying("hi"), world.routing(signal)
    with pytest.raises(AnswerNeeded) as needed:
        choose(runtime, question, 0)
    classifier = needed.value.asking.classifier
    (series,) = runtime.compiled.signals
    if mode is FailureMode.NO_MATCH:
        classifier.settle(question, failed(failure), waited_seconds=0.3)
        assert choose(runtime, question, 0).rule is not None
        assert signals_line(question.verdicts) == b"x-modelway-signals: legal=?0;label=%b;failed\r\n" % failure.encode()
    else:
        with pytest.raises(RoutingError) as caught:
            classifier.settle(question, failed(failure), waited_seconds=0.3)
        assert (caught.value.status, caught.value.code) == (503, Code.SIGNAL_UNAVAILABLE)
        assert caught.value.should_retry
        assert "signal legal" in caught.value.message
        assert "example" not in caught.value.message

    assert series.results[Result.FAILED] == 1
    assert world.book.signal_seconds["classifier"].total == 0.3


def test_a_decision_goes_on_with_the_answer() -> None:
    """The verdict is counted once, with the time that was waited, however many rules read it."""
    world = World()
    runtime = world.routing(a_classifier_signal())
    for label, model in (("legal", "strong"), ("other", "cheap")):
        question = saying(label)
        with pytest.raises(AnswerNeeded) as needed:
            choose(runtime, question, 0)
        asking = needed.value.asking
        verdict = asking.classifier.hear(asking.digest, an_answer(label, 0.9))
        asking.classifier.settle(question, verdict, waited_seconds=0.02)
        for _ in range(2):
            option = choose(runtime, question, 0).option
            assert option is not None
            assert option.model.name == model

    (series,) = runtime.compiled.signals
    assert {each: count for each, count in series.results.items() if count} == {Result.MATCH: 1, Result.NO_MATCH: 1}
    assert world.book.signal_seconds["classifier"].total == pytest.approx(0.04)
    assert series.key == ("team", "chat", "legal", "classifier")


def test_what_is_known_is_counted_too() -> None:
    """A request whose text was asked about before waits for nothing."""
    world = World()
    runtime = world.routing(a_classifier_signal())
    with pytest.raises(AnswerNeeded) as needed:
        choose(runtime, saying("hi"), 0)
    needed.value.asking.classifier.hear(needed.value.asking.digest, an_answer("legal", 0.9))
    question = saying("hi")
    choose(runtime, question, 0)

    assert question.verdicts == {"legal": Verdict(Result.MATCH, "legal", 0.9)}
    assert runtime.compiled.signals[0].results[Result.MATCH] == 1


LANE = HeaderCondition(name="x-lane", exact="legal")
WORDS = KeywordsSignal(name="words", any=("contract",))


@pytest.mark.parametrize(
    ("when", "text", "asks"),
    [
        (When(all=(SignalCondition(name="legal"), LANE)), "contract", False),
        (When(all=(SignalCondition(name="legal"), SignalCondition(name="words"))), "a poem", False),
        (When(all=(SignalCondition(name="legal"), SignalCondition(name="words"))), "a contract", True),
        (When(any=(SignalCondition(name="legal"), SignalCondition(name="words"))), "a contract", False),
        (When(any=(SignalCondition(name="legal"), SignalCondition(name="words"))), "a poem", True),
        (When(none=(SignalCondition(name="legal"), SignalCondition(name="words"))), "a contract", False),
        (When(all=(When(any=(SignalCondition(name="legal"),)), SignalCondition(name="words"))), "a poem", False),
    ],
)
def test_a_classifier_is_asked_last(when: When, text: str, *, asks: bool) -> None:
    """Only where all that costs less leaves the rule open, wherever it stands."""
    runtime, question = World().routing(a_classifier_signal(), WORDS, when=when), saying(text)
    if asks:
        with pytest.raises(AnswerNeeded):
            choose(runtime, question, 0)
    else:
        choose(runtime, question, 0)

    assert "legal" not in question.verdicts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "classifier.example/judge"}, "http:// or https://"),
        ({"url": "ftp://classifier.example"}, "http:// or https://"),
        ({"url": "http:///judge"}, "name a host"),
        ({"url": "http://[::1"}, "name a host"),
        ({"url": "http://classifier.example:99999/"}, "name a host"),
        ({"url": "http://classifier.example/a b"}, "name a host"),
        ({"url": "http://classifier.example/\r\nx: y"}, "name a host"),
        ({"url": "http://user:zebrafish@classifier.example/"}, "must not hold a user"),
        ({"url": "http://zebrafish@classifier.example/"}, "must not hold a user"),
        ({"any_of": ()}, "label"),
        ({"deadline_seconds": 0.0}, "deadline"),
        ({"deadline_seconds": float("nan")}, "deadline"),
        ({"deadline_seconds": float("inf")}, "deadline"),
    ],
)
def test_a_signal_that_cannot_work_is_refused_by_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    """The author reads why; requests that need it are refused, and nothing of the URL is repeated."""
    runtime = World().routing(a_classifier_signal(**changes))
    (finding,) = runtime.findings

    assert finding.code == "bad_signal"
    assert message in finding.message
    assert SECRET not in finding.message
    with pytest.raises(RoutingError) as caught:
        choose(runtime, saying("hi"), 0)
    assert caught.value.code is Code.BROKEN_SIGNAL
