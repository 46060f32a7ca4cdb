"""Building: what is reused, what is refused, and how."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelway_contract import config, signals
from modelway_contract.config import Base, Credentials, CredentialUse, Endpoints, HeaderCondition, LiveState, When
from modelway_gateway.core.runtime import Runtime, build
from modelway_gateway.core.series import SeriesBook
from modelway_gateway.core.signals import Senses
from modelway_gateway.errors import ConfigError
from modelway_gateway.origins import make_origin

from tests.support.gateway import (
    USE_KEY,
    a_backend,
    a_base,
    a_client,
    a_model,
    a_policy,
    a_rule,
    a_runtime,
    a_split,
    a_target,
    credentials,
    public,
)

LLAMA, OTHER = a_model("llama"), a_model("other")
BASE = a_base(LLAMA, OTHER, policies=(a_policy(a_rule(a_target(LLAMA))),))
change = msgspec.structs.replace


def parts(runtime: Runtime, model: config.Model) -> tuple[object, object]:
    compiled = runtime.compiled.models[model.key]
    return compiled, compiled.backends[0].origin


def test_what_did_not_change_is_the_same_object() -> None:
    """Warm connections hang on the origin's identity."""
    book = SeriesBook()
    before = a_runtime(BASE, book=book)
    changed = change(OTHER, description="new")
    after = a_runtime(change(BASE, models=(LLAMA, changed)), previous=before, book=book)

    assert parts(after, LLAMA) == parts(before, LLAMA)
    assert after.names.find("team", "chat") is before.names.find("team", "chat")
    assert after.compiled.models[OTHER.key] is not before.compiled.models[OTHER.key]
    assert parts(after, OTHER)[1] is parts(before, OTHER)[1]


def test_a_rotated_key_makes_a_new_backend_on_the_same_connections() -> None:
    """The old key is nowhere in the new config."""
    model = a_model(backends=(a_backend(credential=USE_KEY),))
    base = a_base(model)
    before = a_runtime(base, secrets=credentials(keys={"key": "old-secret"}))
    after = a_runtime(base, secrets=credentials(keys={"key": "new-secret"}), previous=before)

    backend = after.compiled.models[model.key].backends[0]

    assert b"Authorization: Bearer new-secret\r\n" in backend.chat_head
    assert b"old-secret" not in backend.chat_head
    assert backend.origin is before.compiled.models[model.key].backends[0].origin


@pytest.mark.parametrize(
    "changes",
    [{"port": 10}, {"host": "127.0.0.2"}, {"timeouts": config.Timeouts(connect=1, first_token=1, idle=1, total=9)}],
)
def test_a_backend_elsewhere_gets_a_new_origin(changes: dict[str, Any]) -> None:
    """Nothing of the old place may be used for the new one."""
    before = a_runtime(a_base(a_model(backends=(a_backend(),))))
    after = a_runtime(a_base(a_model(backends=(a_backend(**changes),))), previous=before)

    assert parts(after, LLAMA)[1] is not parts(before, LLAMA)[1]


def test_a_new_live_part_shares_everything_compiled() -> None:
    """A weight step costs no compilation."""
    before = a_runtime(BASE)
    after = before.with_live(LiveState(), revision="r")

    assert after.compiled is before.compiled
    assert after is not before


def test_a_head_holds_all_that_does_not_depend_on_the_request() -> None:
    """Host without a default port, the query behind the path, the credential in place of a fixed header."""
    backend = a_backend(
        scheme=config.Scheme.HTTPS,
        host="llm.example.com",
        port=443,
        path="/openai/v1",
        query="api-version=1",
        headers=(("X-Team", "a"), ("authorization", "none")),
        credential=USE_KEY,
    )
    runtime = a_runtime(a_base(a_model(backends=(backend,))), secrets=credentials(keys={"key": "s3cret"}))

    head = runtime.compiled.backends[backend.id].chat_head.decode().split("\r\n")

    assert head == [
        "POST /openai/v1/chat/completions?api-version=1 HTTP/1.1",
        "Host: llm.example.com",
        "Accept-Encoding: identity",
        "X-Team: a",
        "Authorization: Bearer s3cret",
        "User-Agent: modelway",
        "Content-Type: application/json",
        "",
    ]


def with_backend(**changes: Any) -> Base:
    return a_base(a_model(backends=(a_backend(**changes),)))


def with_rule(rule: config.Rule, *models: config.Model) -> Base:
    return a_base(LLAMA, *models, policies=(a_policy(rule),))


def nested(depth: int) -> When:
    when = When(all=(HeaderCondition(name="a", present=True),))
    for _ in range(depth):
        when = When(all=(when,))
    return when


BAD = {
    "unknown stable": (with_rule(a_rule(a_target(OTHER))), "unknown_model"),
    "unknown candidate": (
        with_rule(a_rule(change(a_target(LLAMA), candidate="team/x@v1", rollout_id="r"))),
        "unknown_model",
    ),
    "unknown direct model": (change(BASE, public_names=(public(a_model("ghost")),)), "unknown_model"),
    "unknown credential": (with_backend(credential=USE_KEY), "unknown_credential"),
    "same model key twice": (change(BASE, models=(LLAMA, LLAMA)), "duplicate"),
    "same backend id twice": (a_base(a_model("a", backends=(a_backend(), a_backend()))), "duplicate"),
    "same name twice": (change(BASE, public_names=(public(LLAMA), public(LLAMA))), "duplicate"),
    "same policy twice": (change(BASE, policies=BASE.policies * 2), "duplicate"),
    "no backend": (a_base(a_model(backends=())), "no_backend"),
    "a fallback that is not there": (
        a_base(LLAMA, policies=(a_policy(a_rule(a_target(LLAMA), fallback=config.Fallback(models=("team/x@v1",)))),)),
        "unknown_model",
    ),
    "no attempt at all": (
        a_base(LLAMA, policies=(a_policy(a_rule(a_target(LLAMA), fallback=config.Fallback(max_attempts=0))),)),
        "out_of_range",
    ),
    "no rule": (a_base(LLAMA, policies=(a_policy(),)), "no_rule"),
    "no target": (with_rule(a_rule()), "bad_weights"),
    "weights all 0": (with_rule(a_rule(a_target(LLAMA, weight=0))), "bad_weights"),
    "negative weight": (with_rule(a_rule(a_target(LLAMA, weight=-1))), "bad_weights"),
    "candidate without rollout": (with_rule(a_rule(change(a_target(LLAMA), candidate=LLAMA.key))), "half_a_rollout"),
    "rollout without candidate": (with_rule(a_rule(a_target(LLAMA, rollout_id="r"))), "half_a_rollout"),
    "candidate is stable": (with_rule(a_rule(a_target(LLAMA, candidate=LLAMA))), "same_model"),
    "two targets of a name": (with_rule(a_rule(a_target(LLAMA), a_target(LLAMA))), "duplicate"),
    "two rules of a name": (
        a_base(LLAMA, policies=(a_policy(a_rule(a_target(LLAMA)), a_rule(a_target(LLAMA))),)),
        "duplicate",
    ),
    "capability of the future": (
        with_rule(a_rule(a_target(LLAMA), require=config.Require(capabilities=("telepathy",)))),
        "unknown_capability",
    ),
    "condition with nothing": (
        with_rule(a_rule(a_target(LLAMA), when=When(all=(HeaderCondition(name="a"),)))),
        "bad_condition",
    ),
    "condition too deep": (with_rule(a_rule(a_target(LLAMA), when=nested(50))), "bad_condition"),
    "host with CRLF": (with_backend(host="a\r\nX: y"), "invalid"),
    "host empty": (with_backend(host=""), "invalid"),
    "port 0": (with_backend(port=0), "invalid"),
    "path with CRLF": (with_backend(path="/v1\r\nX: y"), "invalid"),
    "path with a query": (with_backend(path="/v1?x=y"), "invalid"),
    "relative path": (with_backend(path="v1"), "invalid"),
    "query with a space": (with_backend(query="a b"), "invalid"),
    "header with CRLF": (with_backend(headers=(("a", "b\r\nc: d"),)), "invalid"),
    "header with NUL": (with_backend(headers=(("a", "\0"),)), "invalid"),
    "header name with a colon": (with_backend(headers=(("a:", "b"),)), "invalid"),
    "framing header": (with_backend(headers=(("Content-Length", "0"),)), "invalid"),
    "host header": (with_backend(headers=(("host", "elsewhere"),)), "invalid"),
    "credential in a framing header": (
        with_backend(credential=CredentialUse(id="key", header="Transfer-Encoding")),
        "invalid",
    ),
    "timeout 0": (with_backend(timeouts=config.Timeouts(connect=0, first_token=1, idle=1, total=1)), "out_of_range"),
    "negative backend weight": (with_backend(weight=-1), "out_of_range"),
    "parameter not JSON": (a_base(a_model(parameters=(("temperature", "warm"),))), "bad_json"),
    "parameter is model": (a_base(a_model(parameters=(("model", '"x"'),))), "reserved"),
}


@pytest.mark.parametrize("name", BAD)
def test_p9_a_config_that_cannot_run_is_refused_with_its_place(name: str) -> None:
    """Each fault has a code and a path into the document."""
    base, code = BAD[name]

    with pytest.raises(ConfigError) as caught:
        a_runtime(base)

    assert code in {each.code for each in caught.value.errors}
    assert all(each.path.startswith("$.base.") for each in caught.value.errors)


@pytest.mark.parametrize("value", ["", "line\n", "a\r\nb", "\0", "clé"])
def test_b36_a_key_that_cannot_be_a_header_is_refused_without_being_shown(value: str) -> None:
    """A trailing newline in a Secret would end the header line."""
    with pytest.raises(ConfigError) as caught:
        a_runtime(a_base(LLAMA), secrets=credentials(keys={"key": value}))

    errors = caught.value.errors
    assert [each.code for each in errors] == ["bad_credential"]
    assert value == "" or value not in str(caught.value)


def test_several_faults_are_told_at_once() -> None:
    """Nobody wants to push five times to learn of five."""
    base = a_base(a_model("a", backends=()), a_model("b", backends=(a_backend(port=0),)))

    with pytest.raises(ConfigError) as caught:
        a_runtime(base)

    assert {each.path for each in caught.value.errors} == {"$.base.models[0]", "$.base.models[1].backends[0].port"}


def test_a_key_of_two_clients_is_nobodys() -> None:
    """Guessing would let one namespace act as another; everything else goes live."""
    runtime = a_runtime(a_base(LLAMA), secrets=credentials(a_client(), a_client(namespace="other", name="mallory")))

    assert runtime.callers == {}
    assert [each.code for each in runtime.findings] == ["duplicate_key"]


LIVE_BAD = {
    "share above all": (LiveState(splits=(a_split(10_001),)), "out_of_range"),
    "share below 0": (LiveState(splits=(a_split(-1),)), "out_of_range"),
    "split twice": (LiveState(splits=(a_split(1), a_split(2))), "duplicate"),
    "a name as an address": (
        LiveState(endpoints=(Endpoints(backend=LLAMA.backends[0].id, addresses=(("localhost", 80),)),)),
        "bad_address",
    ),
    "port 0": (
        LiveState(endpoints=(Endpoints(backend=LLAMA.backends[0].id, addresses=(("10.0.0.1", 0),)),)),
        "bad_address",
    ),
}


@pytest.mark.parametrize("name", LIVE_BAD)
def test_a_live_part_that_cannot_be_is_refused(name: str) -> None:
    """And the runtime it was meant for is as it was."""
    state, code = LIVE_BAD[name]
    runtime = a_runtime(a_base(LLAMA, OTHER, policies=(a_policy(a_rule(a_target(LLAMA, candidate=OTHER))),)))

    with pytest.raises(ConfigError) as caught:
        runtime.with_live(state, revision="r")

    assert code in {each.code for each in caught.value.errors}
    assert runtime.shares == {}


# F31: whatever is pushed, only ConfigError comes out.

ODD_TEXTS = [
    "",
    "a",
    "team",
    "llama",
    LLAMA.key,
    OTHER.key,
    "/v1",
    "127.0.0.1",
    "\r\n",
    "\0",
    "ü",
    "😀",
    "[",
    "x" * 300,
]
ODD_NUMBERS = [-(2**63), -1, 0, 1, 65535, 65536, 10**9, 2**63 - 1]
TEXTS = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
NUMBERS = st.sampled_from(ODD_NUMBERS) | st.integers(-(2**63), 2**63 - 1)


ODD_SIGNALS = (
    signals.KeywordsSignal(name="s", any=("a",)),
    signals.RegexSignal(name="s", pattern="a"),
    signals.InputTokensSignal(name="s", at_least=1, at_most=2),
)


def odd_bases() -> Iterator[tuple[str, Base]]:
    """Every field of every kind of object, one at a time, with every odd value of its type."""
    whole = a_base(LLAMA, OTHER, policies=(a_policy(a_rule(a_target(LLAMA, candidate=OTHER))),))
    policy, rule = whole.policies[0], whole.policies[0].rules[0]
    places: list[tuple[msgspec.Struct, Callable[[Any], Base]]] = [
        (a_backend(), lambda odd: a_base(LLAMA, a_model("x", backends=(odd,)))),
        (LLAMA, lambda odd: change(whole, models=(odd, OTHER))),
        (public(LLAMA), lambda odd: change(whole, public_names=(odd,))),
        (policy, lambda odd: change(whole, policies=(odd,))),
        (rule, lambda odd: change(whole, policies=(change(policy, rules=(odd,)),))),
        (
            config.Fallback(models=(OTHER.key,)),
            lambda odd: change(whole, policies=(change(policy, rules=(change(rule, fallback=odd),)),)),
        ),
        *((signal, lambda odd: change(whole, policies=(change(policy, signals=(odd,)),))) for signal in ODD_SIGNALS),
        (rule.targets[0], lambda odd: change(whole, policies=(change(policy, rules=(change(rule, targets=(odd,)),)),))),
    ]
    for thing, put in places:
        for field in thing.__struct_fields__:
            value = getattr(thing, field)
            odd: list[Any] = ODD_TEXTS if isinstance(value, str) else ODD_NUMBERS if isinstance(value, int) else []
            for each in odd if not isinstance(value, Enum | bool) else []:
                yield f"{type(thing).__name__}.{field} = {each!r:.20}", put(change(thing, **{field: each}))


@pytest.mark.parametrize("place", sorted({name.partition(" ")[0] for name, _ in odd_bases()}))
def test_f31_no_odd_value_of_a_field_breaks_the_loader(place: str) -> None:
    """Each is either run or refused."""
    for name, base in odd_bases():
        if name.startswith(f"{place} "):
            with suppress(ConfigError):
                a_runtime(base)


def changed(make: Callable[..., Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A valid object with some fields replaced: what is wrong all over is refused for its first fault only."""
    return st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True).flatmap(
        lambda names: st.builds(make, **{name: fields[name] for name in names})
    )


BACKENDS = changed(
    a_backend,
    id=TEXTS,
    name=TEXTS,
    scheme=st.sampled_from(config.Scheme),
    host=TEXTS,
    port=NUMBERS,
    path=TEXTS,
    upstream_model=TEXTS,
    headers=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    query=TEXTS,
    credential=st.builds(CredentialUse, id=st.sampled_from(["key", "x"]), header=TEXTS, prefix=TEXTS),
    tls=st.builds(config.Tls, ca_pem=st.none() | TEXTS, server_name=st.none() | TEXTS),
    weight=NUMBERS,
    timeouts=st.builds(
        config.Timeouts,
        **{name: st.floats(allow_nan=True) for name in ("connect", "first_token", "idle", "total")},
    ),
)
MODELS = changed(
    lambda **fields: change(a_model("third"), **fields),
    key=TEXTS,
    namespace=TEXTS,
    name=TEXTS,
    version=TEXTS,
    public_name=TEXTS,
    parameters=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    backends=st.just(()),
    traffic_state=st.sampled_from(config.TrafficState),
)
CONDITIONS = st.recursive(
    st.builds(HeaderCondition, name=TEXTS, exact=st.none() | TEXTS, prefix=st.none() | TEXTS)
    | st.builds(config.SignalCondition, name=st.just("s") | TEXTS)
    | st.builds(config.PriorityCondition, priority=st.sampled_from(config.Priority)),
    lambda inner: st.builds(
        When, all=st.lists(inner, max_size=2).map(tuple), none=st.lists(inner, max_size=1).map(tuple)
    ),
    max_leaves=4,
)
TARGETS = changed(
    lambda **fields: change(a_target(LLAMA), **fields),
    name=TEXTS,
    weight=NUMBERS,
    stable=TEXTS,
    candidate=TEXTS,
    rollout_id=TEXTS,
)
SIGNALS = (
    st.builds(signals.KeywordsSignal, name=st.just("s"), any=st.lists(TEXTS).map(tuple), whole_words=st.booleans())
    | st.builds(signals.RegexSignal, name=st.just("s") | TEXTS, pattern=TEXTS | st.text("()[]{}|*+?\\\\^$.a1,-"))
    | st.builds(signals.InputTokensSignal, name=st.just("s"), at_least=st.none() | NUMBERS, at_most=st.none() | NUMBERS)
)
FALLBACKS = st.builds(
    config.Fallback,
    models=st.lists(st.sampled_from([LLAMA.key, OTHER.key]) | TEXTS, max_size=2).map(tuple),
    on_errors=st.lists(st.sampled_from(config.RetryOn), max_size=2).map(tuple),
    max_attempts=st.integers(1, 10) | NUMBERS,
)
RULES = changed(
    lambda **fields: change(a_rule(a_target(LLAMA)), **fields),
    name=TEXTS,
    sticky=st.lists(st.builds(config.StickyKey, header=st.none() | TEXTS), max_size=2).map(tuple),
    when=st.builds(When, any=st.lists(CONDITIONS, max_size=2).map(tuple)),
    targets=st.lists(TARGETS, max_size=3).map(tuple),
    fallback=FALLBACKS,
)
POLICIES = changed(
    lambda **fields: change(a_policy(a_rule(a_target(LLAMA))), **fields),
    namespace=TEXTS,
    name=TEXTS,
    models=st.lists(TEXTS, max_size=2).map(tuple),
    signals=st.lists(SIGNALS, max_size=2).map(tuple),
    rules=st.lists(RULES, max_size=2).map(tuple),
)
NAMES = changed(lambda **fields: change(public(LLAMA), **fields), namespace=TEXTS, name=TEXTS, model=TEXTS)
BASES = st.builds(
    Base,
    shared_namespaces=st.lists(TEXTS, max_size=2).map(tuple),
    models=st.builds(
        lambda model, backend: (LLAMA, OTHER, model, a_model("fourth", backends=(backend,))), MODELS, BACKENDS
    ),
    public_names=st.lists(NAMES, max_size=1).map(tuple),
    policies=st.lists(POLICIES, max_size=1).map(tuple),
)
CLIENTS = changed(a_client, key_sha256=TEXTS, namespace=TEXTS, name=TEXTS, groups=st.tuples(TEXTS))
SECRETS = st.builds(
    Credentials,
    backends=st.builds(config.BackendCredential, id=st.just("key"), value=st.just("s3cret") | TEXTS).map(
        lambda x: (x,)
    ),
    clients=st.lists(CLIENTS, max_size=1).map(tuple),
)


@settings(max_examples=250, deadline=None)
@given(base=BASES, secrets=SECRETS)
def test_f31_whatever_is_pushed_either_runs_or_is_refused(base: Base, secrets: Credentials) -> None:
    """The loader raises nothing but its own error."""
    with suppress(ConfigError):
        build(
            base,
            secrets,
            make_origin=make_origin,
            senses=Senses(reader=None, book=SeriesBook(), clock=time.perf_counter),
        )
