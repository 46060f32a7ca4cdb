"""Bodies: what is refused, what is passed on untouched, and what a backend gets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_gateway.core.body import MAX_DEPTH, check_chat, is_deeper_than, read_fields, write_for
from modelway_gateway.errors import Code, RequestError

from tests.support.gateway import a_base, a_model, a_runtime

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


def depth_of(value: Any) -> int:
    """The definition."""
    if isinstance(value, dict):
        return 1 + max((depth_of(each) for each in value.values()), default=0)
    return 1 + max((depth_of(each) for each in value), default=0) if isinstance(value, list) else 0


@given(value=JSON, limit=st.integers(0, 6))
def test_the_depth_of_a_body_is_that_of_its_value(value: Any, limit: int) -> None:
    """Brackets, quotes and backslashes inside strings count for nothing."""
    assert is_deeper_than(json.dumps(value, ensure_ascii=False).encode(), limit) == (depth_of(value) > limit)


@pytest.mark.parametrize("text", ["\\", '\\"', '"[[', '\\\\"]', "{}[]", 'a\\\\\\"{'])
def test_quotes_and_backslashes_in_strings_do_not_confuse_the_depth(text: str) -> None:
    """One level, whatever the string holds."""
    body = json.dumps({"a": text, text: "b"}).encode()

    assert not is_deeper_than(body, 1)
    assert is_deeper_than(body, 0)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 2000, 100_000])
def test_b59_a_body_that_is_too_deep_is_refused(depth: int) -> None:
    """The limit is ours, not the interpreter's, and no depth is too much for it."""
    inner = depth - 1
    body = b'{"model":"m","messages":' + b"[" * inner + b"]" * inner + b"}"

    with pytest.raises(RequestError) as caught:
        read_fields(body)

    assert caught.value.code is Code.BODY_TOO_DEEP


def test_a_body_as_deep_as_allowed_is_read() -> None:
    """A long conversation is wide, not deep."""
    inner = MAX_DEPTH - 1
    read_fields(b'{"messages":' + b"[" * inner + b"]" * inner + b"}")
    read_fields(json.dumps({"messages": [{"content": [{"text": "x"}]}] * 1000}).encode())


@given(fields=st.dictionaries(st.text(), JSON, max_size=5), temperature=st.none() | st.floats(0, 2))
def test_fields_that_no_rule_reads_reach_the_backend_as_they_are(fields: dict[str, Any], temperature: Any) -> None:
    """Only `model` is replaced, and a default set where the client said nothing."""
    model = a_model(parameters=(("temperature", "0.25"), ("seed", "7")))
    compiled = a_runtime(a_base(model)).compiled.models[model.key]
    fields = {**fields, "model": "chat", "messages": [{}], "temperature": temperature}
    fields.pop("seed", None)

    written = write_for(compiled.backends[0], compiled, read_fields(json.dumps(fields).encode()))

    assert json.loads(written) == {**fields, "model": "simulated", "seed": 7}


def test_b59_of_a_name_that_stands_twice_the_last_counts_for_both_sides() -> None:
    """What we decide by is what the backend gets, once."""
    model = a_model()
    compiled = a_runtime(a_base(model)).compiled.models[model.key]
    fields = read_fields(b'{"model":"first","messages":[1],"stream":true,"model":"last","stream":false}')

    assert check_chat(fields) == ("last", False)
    written = write_for(compiled.backends[0], compiled, fields)
    assert written.count(b'"model"') == written.count(b'"stream"') == 1


def test_writing_for_one_backend_leaves_the_fields_for_the_next() -> None:
    """A second attempt starts from what the client sent."""
    model = a_model(parameters=(("seed", "7"),))
    compiled = a_runtime(a_base(model)).compiled.models[model.key]
    fields = read_fields(b'{"model":"chat","messages":[1]}')
    before = {name: bytes(raw) for name, raw in fields.items()}

    write_for(compiled.backends[0], compiled, fields)

    assert {name: bytes(raw) for name, raw in fields.items()} == before
    assert msgspec.json.decode(fields["model"]) == "chat"
