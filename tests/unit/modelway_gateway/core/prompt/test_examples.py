"""Own categories are fitted from a few vectors each, the same everywhere, and say how well they part their own."""

import numpy as np
import pytest

from modelway_gateway.core.prompt.examples import fit
from modelway_gateway.core.prompt.features import Floats


def cloud(seed: int, count: int = 8, spread: float = 0.5) -> list[Floats]:
    lots = np.random.default_rng(seed)
    middle = lots.normal(size=64)
    made = middle / np.linalg.norm(middle) + spread * lots.normal(size=(count, 64)) / 8
    return list((made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32))


def test_each_category_finds_what_is_near_it() -> None:
    """Vectors of the same cloud, not among the examples, fall into its category."""
    clouds = {name: cloud(at, 12) for at, name in enumerate("abc")}
    fitted = fit({name: own[:8] for name, own in clouds.items()})

    assert [name for name in clouds for _ in range(4)] == [
        fitted.best(v)[0] for own in clouds.values() for v in own[8:]
    ]


def test_its_own_figure_comes_from_phrases_left_out() -> None:
    """Two categories of one cloud cannot be told apart, and the figure says so although the fit knows each phrase."""
    one = cloud(1, 16, spread=2.0)
    fitted = fit({"a": one[:8], "b": one[8:]})

    assert fitted.accuracy < 0.8


def test_what_is_far_from_all_scores_below_the_threshold() -> None:
    """The threshold lets nine of ten left-out phrases in and a stranger not."""
    fitted = fit({"a": cloud(1), "b": cloud(2)})

    assert fitted.best(cloud(9, 1)[0])[1] < fitted.threshold


def test_the_same_phrases_give_the_same_fit() -> None:
    """Every replica decides alike."""
    one, other = (fit({"a": cloud(1), "b": cloud(2)}) for _ in range(2))

    assert one.scores(cloud(3, 1)[0]).tolist() == other.scores(cloud(3, 1)[0]).tolist()


def test_a_single_category_is_possible() -> None:
    """Near or not near is a question that one category can ask."""
    fitted = fit({"a": cloud(1)})

    assert fitted.best(cloud(1)[0])[1] >= fitted.threshold > fitted.best(cloud(5, 1)[0])[1]


@pytest.mark.parametrize(
    ("phrases", "message"), [({}, "no categories"), ({"a": cloud(1, 1)}, "'a' has fewer than two")]
)
def test_too_little_to_fit_is_refused_by_name(phrases: dict[str, list[Floats]], message: str) -> None:
    """The category is named, its phrases are not repeated."""
    with pytest.raises(ValueError, match=message):
        fit(phrases)
