"""Who asks."""

from __future__ import annotations

import pytest

from modelway_gateway.core.features import Caller
from modelway_gateway.core.identity import identify
from modelway_gateway.errors import Code, RequestError

from tests.support.gateway import KEY, a_base, a_client, a_model, a_runtime, credentials

CLOSED = a_runtime(a_base(a_model()), secrets=credentials(a_client(groups=("eu",), tier="gold")))
OPEN = a_runtime(a_base(a_model(), anonymous_namespace="public"))


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} "])
def test_a_key_says_who_asks(value: str) -> None:
    """Twice the same: once by its hash, once from memory."""
    for _ in range(2):
        namespace, caller = identify(CLOSED, [value])
        assert caller is not None
        assert (namespace, caller.name, caller.groups, caller.tier) == ("team", "alice", frozenset({"eu"}), "gold")


WRONG = {
    "empty bearer": ["Bearer "],
    "only spaces": ["Bearer    "],
    "no scheme": [KEY],
    "basic": ["Basic YTpi"],
    "another key": ["Bearer nope"],
    "prefix of the key": [f"Bearer {KEY[:-1]}"],
    "8 kB": ["Bearer " + "k" * 8192],
    "not ASCII": ["Bearer clé"],
    "bytes that are no UTF-8": ["Bearer \udcff"],
    "empty": [""],
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("runtime", [CLOSED, OPEN], ids=["closed", "anonymous allowed"])
def test_b57_a_wrong_key_is_refused_and_never_anonymous(name: str, runtime: object) -> None:
    """Also where anonymous clients are welcome: a mistyped key must not become somebody else."""
    with pytest.raises(RequestError) as caught:
        identify(runtime, WRONG[name])  # type: ignore[arg-type]

    assert (caught.value.status, caught.value.code) == (401, Code.INVALID_API_KEY)


def test_b57_two_authorizations_are_one_too_many() -> None:
    """Even if one of them is right."""
    with pytest.raises(RequestError) as caught:
        identify(CLOSED, [f"Bearer {KEY}", f"Bearer {KEY}"])

    assert caught.value.code is Code.DUPLICATE_AUTHORIZATION


def test_without_a_key_one_is_anonymous_where_the_install_allows_it() -> None:
    """Off by default."""
    assert identify(OPEN, ()) == ("public", None)
    with pytest.raises(RequestError):
        identify(CLOSED, ())


def test_wrong_keys_are_not_remembered() -> None:
    """The memory cannot be filled from outside."""
    runtime = a_runtime(a_base(a_model()))
    for number in range(100):
        with pytest.raises(RequestError):
            identify(runtime, [f"Bearer guess-{number}"])
    identify(runtime, [f"Bearer {KEY}"])

    assert set(runtime.known_callers) == {f"Bearer {KEY}"}
    assert isinstance(runtime.known_callers[f"Bearer {KEY}"], Caller)


def test_one_spelling_of_a_right_key_is_remembered() -> None:
    """Whoever has a key could else fill the memory by spelling it in ever new ways."""
    runtime = a_runtime(a_base(a_model()))
    for spaces in range(1, 100):
        _, caller = identify(runtime, [f"bearer{' ' * spaces}{KEY}"])
        assert caller is not None

    assert runtime.known_callers == {}
