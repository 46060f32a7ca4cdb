"""A behaviour is checked whole, whoever fills it in, and never shows its key."""

import msgspec
import pytest

from modelway_cli.errors import UsageError
from modelway_cli.simulator.behaviour import Behaviour, ErrorMode, changed, public_view


def test_named_fields_change_and_the_others_stay() -> None:
    """A change names what it changes, in JSON's types."""
    base = Behaviour(models=("a",), tokens=3, api_key="secret")

    after = changed(base, {"error_rate": 0.5, "error_mode": "hang", "models": ["b", "c"]})

    expected = Behaviour(models=("b", "c"), tokens=3, api_key="secret", error_rate=0.5, error_mode=ErrorMode.HANG)
    assert expected == after


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"error_rate": 1.01}, "$.error_rate"),
        ({"error_rate": -0.1}, "$.error_rate"),
        ({"error_rate": float("nan")}, "$.error_rate"),
        ({"ttft_ms": float("inf")}, "$.ttft_ms"),
        ({"error_status": 200}, "$.error_status"),
        ({"error_mode": "explode"}, "$.error_mode"),
        ({"models": []}, "$.models"),
        ({"models": [""]}, "$.models"),
        ({"tokens": 0}, "$.tokens"),
        ({"tokens": "many"}, "$.tokens"),
        ({"api_key": ""}, "$.api_key"),
        ({"error_ratio": 0.5}, "error_ratio"),
    ],
)
def test_a_bad_field_is_refused_by_name(changes: dict[str, object], where: str) -> None:
    """The message says which field is wrong."""
    with pytest.raises(UsageError) as caught:
        changed(Behaviour(), changes)

    assert where in str(caught.value)


def test_the_key_is_never_shown() -> None:
    """Neither what `/behaviour` shows nor a repr holds the key."""
    behaviour = Behaviour(api_key="very-secret")

    assert "very-secret" not in repr(behaviour)
    assert "very-secret" not in str(public_view(behaviour))


def test_sending_back_what_is_shown_changes_nothing() -> None:
    """`PUT` of what `GET` gave is the identity, the hidden key included."""
    behaviour = Behaviour(models=("a", "b"), api_key="k", ttft_sigma=0.3, error_mode=ErrorMode.RESET)
    shown = msgspec.json.decode(msgspec.json.encode(public_view(behaviour)))

    assert behaviour == changed(behaviour, shown)
