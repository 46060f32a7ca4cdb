"""Signals and priorities: what they are true for, how often they are looked at, and what is refused."""

from __future__ import annotations

import random
import time
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from modelway_contract.config import (
    Client,
    HeaderCondition,
    Priority,
    PriorityCondition,
    SignalCondition,
    When,
)
from modelway_contract.signals import InputTokensSignal, KeywordsSignal, RegexSignal, Signal
from modelway_gateway.core import messages, signals
from modelway_gateway.core.choose import choose
from modelway_gateway.core.features import MAX_PROMPT_CHARACTERS, Caller, Question
from modelway_gateway.core.folding import folded
from modelway_gateway.core.meanings import Judge
from modelway_gateway.core.messages import Messages
from modelway_gateway.core.records import Refusal
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.core.series import SeriesBook, SignalKey
from modelway_gateway.core.tokens import estimate
from modelway_gateway.core.verdicts import NO_MATCH, Verdict
from modelway_gateway.errors import Code, ConfigError, RequestError, RoutingError

from tests.support.gateway import a_base, a_client, a_model, a_policy, a_rule, a_runtime, a_target, credentials
from tests.unit.modelway_gateway.core.asking import ask

LLAMA = a_model()


def saying(*texts: str, **changes: Any) -> Question:
    return ask(messages=[{"role": "user", "content": text} for text in texts], **changes)


def compiled(signal: Signal) -> signals.CompiledSignal:
    key = SignalKey("team", "chat", signal.name, signals.kind_of(signal))
    senses = signals.Senses(reader=None, book=SeriesBook(), clock=time.perf_counter)
    return signals.compile_signal(signal, key, senses, None)


def holds(signal: Signal, question: Question) -> bool:
    return compiled(signal)(question)


def with_signals(*given: Signal, when: When | None = None) -> Runtime:
    when = when or When(all=tuple(SignalCondition(name=each.name) for each in given))
    return a_runtime(a_base(LLAMA, policies=(a_policy(a_rule(a_target(LLAMA), when=when), signals=given),)))


def some_words(*words: str, whole: bool = False) -> KeywordsSignal:
    return KeywordsSignal(name="k", any=words, whole_words=whole)


@pytest.mark.parametrize(
    ("words", "text", "anywhere", "whole"),
    [
        (("contract",), "Review this CONTRACT.", True, True),
        (("contract",), "subcontractor", True, False),
        (("nda", "clause 7"), "see Clause 7, please", True, True),
        (("nda",), "agenda", True, False),
        (("straße",), "Hauptstrasse", True, False),
        (("STRASSE",), "die Straße ist", True, True),
        (("vertrag",), "Verträge", False, False),
        (("café",), "un cafe\u0301 noir", True, True),
        (("über",), "drüber", True, False),
        (("ber",), "Über", True, False),
        (("договор",), "Этот ДОГОВОР.", True, True),
        (("договор",), "договорный", True, False),
        (("合同",), "请审查合同", True, False),
        (("ＮＤＡ",), "the nda", True, True),
        (("c++",), "in C++ please", True, True),
        (("c++",), "in C++17 please", True, False),
        (("a.b",), "axb", False, False),
        (("x_1",), "x_12", True, False),
    ],
)
def test_keywords_are_found_without_regard_to_case(
    words: tuple[str, ...], text: str, *, anywhere: bool, whole: bool
) -> None:
    """In any script; a whole word has no letter, digit, mark or underscore of any script beside it."""
    assert holds(some_words(*words), saying(text)) is anywhere
    assert holds(some_words(*words, whole=True), saying(text)) is whole


@given(
    st.text(st.sampled_from("aAßé Ü.1_中"), min_size=1, max_size=3),
    st.text(st.sampled_from("aAßé Ü.1_中"), max_size=12),
)
def test_one_pass_finds_what_a_search_for_each_word_would(word: str, text: str) -> None:
    """The law: the same as looking for the folded word in the folded text."""
    assert holds(some_words(word, "zzzz"), saying(text)) is (folded(word) in folded(text))


def test_keywords_span_no_message_by_chance_but_all_of_them_are_read() -> None:
    """Messages are lines of one text."""
    assert holds(some_words("second"), saying("first", "second"))
    assert not holds(some_words("firstsecond"), saying("first", "second"))


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ({"role": "user", "content": "secret"}, True),
        ({"role": "system", "content": "secret"}, True),
        ({"role": "developer", "content": "secret"}, True),
        ({"role": "assistant", "content": "secret"}, False),
        ({"role": "tool", "content": "secret", "tool_call_id": "1"}, False),
        ({"role": "user", "content": [{"type": "text", "text": "secret"}]}, True),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "secret"}],
            },
            True,
        ),
        ({"role": "user", "content": ["secret"]}, True),
        ({"role": "user", "content": [{"type": "text", "text": ["secret"]}]}, True),
        ({"role": "user", "content": {"text": "secret"}}, True),
        ({"role": "user", "content": [{"type": "refusal", "refusal": "secret"}]}, True),
        ({"role": "user", "content": [{"type": "text", "text": "x", "refusal": "secret"}]}, True),
        ({"role": "user", "content": [{"type": "secret", "new": "x"}]}, False),
        ({"role": 7, "content": "secret"}, True),
        ({"content": "secret"}, True),
        ("secret", True),
        ({"role": "user", "content": None}, False),
        ({"role": "user"}, False),
        (7, False),
    ],
)
def test_the_prompt_is_what_users_and_systems_say(message: object, *, read: bool) -> None:
    """However it is wrapped: nobody gets past a rule by a shape that an upstream may accept."""
    assert holds(some_words("secret"), ask(messages=[message])) is read


@pytest.mark.parametrize("text", [rb'[{"role":"user","content":"\ud800"}]', rb'["\ud800"]'])
def test_text_that_is_none_is_refused(text: bytes) -> None:
    """400 for messages, and no failure of ours."""
    question = saying("x")
    question.fields["messages"] = msgspec.Raw(text)
    with pytest.raises(RequestError) as caught:
        assert question.prompt

    assert (caught.value.status, caught.value.param) == (400, "messages")


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"\b\d{3}-\d{2}-\d{4}\b", "my number 123-45-6789.", True),
        (r"(?i)confidential", "CONFIDENTIAL", True),
        ("a$", "ab", False),
    ],
)
def test_a_regex_is_searched_in_the_prompt_as_it_is(pattern: str, text: str, *, found: bool) -> None:
    """Case counts unless the pattern says otherwise."""
    assert holds(RegexSignal(name="r", pattern=pattern), saying(text)) is found


def test_b26_a_pattern_that_kills_others_takes_linear_time() -> None:
    """`^(a+)+$` on a megabyte: in a backtracking engine this would not end."""
    test = compiled(RegexSignal(name="r", pattern="^(a+)+$"))
    question = saying("a" * 1_000_000 + "!")
    began = time.process_time()

    assert not test(question)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("marks", ["\u0300\u0316", "\u0300\uff9e"], ids=["marks", "letters that become marks"])
def test_text_that_is_slow_to_normalise_takes_linear_time(marks: str) -> None:
    """Marks in the wrong order on one letter: to sort 80,000 of them takes Python seven seconds."""
    question = saying("a" + marks * 40_000 + " Straße")
    began = time.process_time()

    assert holds(some_words("STRASSE"), question)
    assert time.process_time() - began < 2.0


def test_a_prompt_is_folded_once_for_all_keywords(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the dearest part of a look at them."""
    texts: list[str] = []

    def noted(text: str) -> str:
        texts.append(text)
        return folded(text)

    monkeypatch.setattr(messages, "folded", noted)
    question = saying("hi")

    assert holds(some_words("hi"), question)
    assert not holds(KeywordsSignal(name="other", any=("no",)), question)
    assert texts == ["hi"]


@pytest.mark.parametrize("signal", [KeywordsSignal(name="s", any=("x",)), RegexSignal(name="s", pattern="x")])
def test_a_prompt_that_would_hold_up_everybody_is_refused(signal: KeywordsSignal | RegexSignal) -> None:
    """Where a rule reads its words, and only there: nobody gets past a rule by length, and the loop goes on."""
    runtime = with_signals(signal)
    assert choose(runtime, saying("x" * MAX_PROMPT_CHARACTERS), 0).refusal is None
    with pytest.raises(RequestError) as caught:
        choose(runtime, saying("x" * (MAX_PROMPT_CHARACTERS + 1)), 0)

    assert (caught.value.status, caught.value.code, caught.value.param) == (413, Code.PROMPT_TOO_LONG, "messages")
    assert choose(runtime, saying("x" * (MAX_PROMPT_CHARACTERS + 1), model="llama"), 0).refusal is None


REFUSED = {
    "b27 lookahead": r"foo(?=bar)",
    "b27 backreference": r"(a)\1",
    "b28 nested repeats": "((a{100}){100}){100}",
    "b28 10 kB": "a" * 10_000,
    "b28 513 characters": "a" * 513,
    "unclosed": "(",
    "too much memory": r"[\pL\pN]{500}" * 3,
}


@pytest.mark.parametrize("name", REFUSED)
def test_b27_b28_what_re2_refuses_is_a_finding_that_names_the_signal(name: str) -> None:
    """The rest of the config runs, and requests that need the signal are refused rather than led elsewhere."""
    runtime = with_signals(RegexSignal(name="pii", pattern=REFUSED[name]))
    (finding,) = runtime.findings

    assert (finding.path, finding.code) == ("$.base.policies[0].signals[0]", "bad_signal")
    assert "signal pii: " in finding.message
    with pytest.raises(RoutingError) as caught:
        choose(runtime, saying("x"), 0)
    assert (caught.value.status, caught.value.code) == (503, Code.BROKEN_SIGNAL)
    assert choose(runtime, saying("x", model="llama"), 0).refusal is None


def test_b27_the_finding_stays_while_the_policy_does() -> None:
    """A config of the next push that reuses the compiled policy tells of it too."""
    base = a_base(LLAMA, policies=(a_policy(a_rule(a_target(LLAMA)), signals=(RegexSignal(name="r", pattern="("),)),))
    first = a_runtime(base)
    second = a_runtime(a_base(LLAMA, a_model("other"), policies=base.policies), previous=first)

    assert [each.code for each in second.findings] == ["bad_signal"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signals": (some_words("a"), some_words("b"))}, "duplicate"),
        ({"rule": When(all=(SignalCondition(name="gone"),))}, "bad_condition"),
        ({"rule": When(any=(When(none=(SignalCondition(name="gone"),)),))}, "bad_condition"),
    ],
)
def test_a_config_that_cannot_mean_anything_is_rejected(changes: dict[str, Any], code: str) -> None:
    """Two signals of one name, or a condition on a signal that is not there."""
    rule = a_rule(a_target(LLAMA), when=changes.get("rule"))
    with pytest.raises(ConfigError) as caught:
        a_runtime(a_base(LLAMA, policies=(a_policy(rule, signals=changes.get("signals", ())),)))

    assert [each.code for each in caught.value.errors] == [code]


# How often anything is looked at


class Counting(dict[str, msgspec.Raw]):
    """Fields that count who reads the messages."""

    reads = 0

    def __getitem__(self, name: str) -> msgspec.Raw:
        self.reads += name == "messages"
        return super().__getitem__(name)


def test_messages_are_read_once_and_only_when_a_rule_needs_them() -> None:
    """A cheap condition that is false spares the look, wherever it stands; two signals share one."""
    both = (some_words("hi"), RegexSignal(name="r", pattern="h"))
    signal_first = When(
        all=(SignalCondition(name="k"), SignalCondition(name="r"), HeaderCondition(name="x", present=True))
    )
    runtime = with_signals(*both, when=signal_first)
    question, other = saying("hi"), saying("hi", headers={"x": "1"})
    question.fields, other.fields = Counting(question.fields), Counting(other.fields)

    assert choose(runtime, question, 0).refusal is Refusal.NO_MATCHING_RULE
    assert choose(runtime, other, 0).refusal is None
    assert (question.fields.reads, other.fields.reads) == (0, 1)


@pytest.mark.parametrize(
    ("cheap", "signal"), [pair for pair in product(("all", "any", "none"), repeat=2) if pair != ("any", "any")]
)
def test_what_costs_little_is_asked_first_in_whatever_part_of_a_condition(cheap: str, signal: str) -> None:
    """A header that decides spares the look at the prompt, in `all`, `any` and `none` alike."""
    header = HeaderCondition(name="x", present=cheap != "none")
    parts: dict[str, tuple[Any, ...]] = {signal: (SignalCondition(name="k"),)}
    parts[cheap] = (*parts.get(cheap, ()), header)
    runtime = with_signals(some_words("hi"), when=When(**parts))
    question = saying("hi")
    question.fields = Counting(question.fields)

    assert choose(runtime, question, 0).refusal is Refusal.NO_MATCHING_RULE
    assert question.fields.reads == 0


def test_a_signal_is_evaluated_once_per_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rules read it."""
    calls: list[Question] = []

    def counted(signal: KeywordsSignal) -> Judge:
        def judge(question: Question) -> Verdict:
            calls.append(question)
            return NO_MATCH

        return judge

    monkeypatch.setattr(signals, "_keywords", counted)
    when = When(all=(SignalCondition(name="k"),))
    rules = [a_rule(a_target(LLAMA), name=f"r{number}", when=when) for number in range(5)]
    runtime = a_runtime(a_base(LLAMA, policies=(a_policy(*rules, signals=(some_words("x"),)),)))
    choose(runtime, saying("hi"), 0)
    choose(runtime, saying("hi"), 0)

    assert len(calls) == 2


# Input tokens

ENGLISH = (
    "Please review the attached supplier agreement, list every clause that limits liability, and explain in plain "
    "language which of them our customers in the European Union could dispute. Keep it under 200 words."
)  # 38 tokens in o200k_base
CODE = """def mean(values):
    total = 0
    for each in values:
        total += each
    return total / len(values)
"""  # 28


@pytest.mark.parametrize(("text", "exact"), [(ENGLISH, 38), (CODE, 28), (ENGLISH * 20, 741), ("", 0), ("word", 1)])
def test_the_estimate_of_tokens_is_close(text: str, exact: int) -> None:
    """Against the counts of a real tokenizer: within a fifth, and one token for what is short."""
    assert abs(estimate(text.encode()) - exact) <= max(1, exact * 0.2)


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(one: str, two: str) -> None:
    """A law of the estimate, so that nobody shrinks a prompt by adding to it."""
    assert estimate(f"{one} {two}".encode()) >= estimate(one.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ENGLISH}]}]},
        {"messages": [{"role": "system", "content": ENGLISH}]},
        {"messages": [{"role": "assistant", "content": ENGLISH}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": ENGLISH}}]}]},
        {"messages": [7, {"role": "assistant", "tool_calls": [{"function": {"arguments": ENGLISH}}]}]},
        {"messages": [{}], "tools": [{"type": "function", "function": {"description": ENGLISH}}]},
    ],
    ids=["part", "system", "assistant", "call of a tool", "call beside an odd message", "tool"],
)
def test_every_text_counts_as_input(changes: dict[str, Any]) -> None:
    """What a model has to read, whoever said it."""
    assert ask(**changes).input_tokens >= estimate(ENGLISH.encode())


def test_an_image_is_no_text() -> None:
    """A base64 URL of a megabyte is no million tokens."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}

    assert ask(messages=[{"role": "user", "content": [image, {"type": "text", "text": "what?"}]}]).input_tokens < 20
    assert ask(messages=[{"role": "user", "content": [image, "what?"]}]).input_tokens < 20


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [(None, None, True), (0, None, True), (10**6, None, False), (None, 5, False), (1, 10**6, True)],
)
def test_input_tokens_are_compared_with_both_bounds(least: int | None, most: int | None, *, expected: bool) -> None:
    """Both included; an absent one is none."""
    assert holds(InputTokensSignal(name="t", at_least=least, at_most=most), saying(ENGLISH)) is expected
    exact = saying(ENGLISH).input_tokens
    assert holds(InputTokensSignal(name="t", at_least=exact, at_most=exact), saying(ENGLISH))


def test_a_million_messages_are_read_in_bounded_time() -> None:
    """B64's size at the core: what a body may hold at most."""
    raw = msgspec.Raw(b"[" + b",".join([b'{"role":"user","content":"a"}'] * 200_000) + b"]")
    began = time.process_time()
    prompt = Messages(raw).prompt

    assert len(prompt) == 399_999
    assert time.process_time() - began < 3.0


# Priority

BATCHES = When(all=(PriorityCondition(priority=Priority.BATCH),))
BY_PRIORITY = a_runtime(a_base(LLAMA, policies=(a_policy(a_rule(a_target(LLAMA), when=BATCHES)),)))


def of_priority(own: Priority, *, chooses: bool, headers: CIMultiDict[str] | dict[str, str] | None = None) -> Question:
    return ask(caller=Caller("team", "a", priority=own, chooses_priority=chooses), headers=headers)


@pytest.mark.parametrize(
    ("own", "chooses", "headers", "matches"),
    [
        (Priority.BATCH, False, {}, True),
        (Priority.STANDARD, False, {}, False),
        (Priority.STANDARD, True, {"X-Priority": "Batch"}, True),
        (Priority.STANDARD, True, {"x-priority": "bAtCh"}, True),
        (Priority.BATCH, True, {"x-priority": "interactive"}, False),
        (Priority.STANDARD, False, {"x-priority": "Batch"}, False),
        (Priority.BATCH, False, {"x-priority": "Interactive"}, True),
        (Priority.STANDARD, True, {"x_priority": "Batch"}, False),
        (Priority.STANDARD, True, CIMultiDict([("x-priority", "Batch"), ("X-Priority", "Batch")]), False),
    ],
)
def test_b55_a_priority_is_the_clients_unless_it_may_choose(
    own: Priority, headers: CIMultiDict[str] | dict[str, str], *, chooses: bool, matches: bool
) -> None:
    """A header from others, a spelling with an underscore and a header that came twice count for nothing."""
    refusal = choose(BY_PRIORITY, of_priority(own, chooses=chooses, headers=headers), 0).refusal

    assert (refusal is None) is matches


def test_nobody_in_particular_is_standard() -> None:
    """Anonymous requests, and clients of which nothing is said."""
    assert ask(caller=None, headers={"x-priority": "Batch"}).priority is Priority.STANDARD
    assert ask().priority is Priority.STANDARD


def test_priorities_reach_the_callers_from_the_config() -> None:
    """As the operator says."""
    wire: Client = a_client(priority=Priority.INTERACTIVE, chooses_priority=True)
    (caller,) = a_runtime(a_base(LLAMA), secrets=credentials(wire)).callers.values()

    assert (caller.priority, caller.chooses_priority) == (Priority.INTERACTIVE, True)


def test_the_cost_of_many_keywords_is_that_of_one() -> None:
    """One pass: a hundred words take no hundred times as long (measured in CPU time, with room for noise)."""
    source = random.Random(3)
    question = saying("".join(source.choice("abcdefghij ") for _ in range(200_000)))
    assert question.prompt

    def cost(count: int) -> float:
        test = signals._keywords(some_words(*(f"zq{number}" for number in range(count))))
        test(question)
        began = time.process_time()
        for _ in range(5):
            test(question)
        return time.process_time() - began

    assert cost(100) < 20 * cost(1)
