"""Every row of the table of bad manifests against the types alone, as standalone mode sees them."""

from collections.abc import Mapping
from typing import Any

import pytest

from modelway_operator.api.llmmodel import LLMModel
from modelway_operator.api.parsing import parse_llmmodel, parse_routingpolicy
from modelway_operator.api.routingpolicy import RoutingPolicy
from modelway_operator.errors import InvalidObjectError

from tests.cluster.manifests import Case, cases

CASES = [pytest.param(case, id=case.id) for case in cases()]


def parse(raw: Mapping[str, Any]) -> LLMModel | RoutingPolicy:
    return parse_llmmodel(raw) if raw["kind"] == "LLMModel" else parse_routingpolicy(raw)


@pytest.mark.parametrize("case", CASES)
def test_good_twin_is_taken(case: Case) -> None:
    """The field's good value is taken, so the refusal of its twin is about that one field."""
    assert case.kind == parse(case.manifest(case.good)).kind


@pytest.mark.parametrize("case", CASES)
def test_bad_twin_is_refused_in_these_words(case: Case) -> None:
    """The bad value is refused with one problem that names the field and the remedy."""
    with pytest.raises(InvalidObjectError) as refusal:
        parse(case.manifest(case.bad))

    assert (case.types,) == refusal.value.problems


def test_ids_are_unique() -> None:
    """Two rows with one id would hide each other in the cluster test, where the id is the object's name."""
    ids = [case.id for case in cases()]

    assert sorted(set(ids)) == sorted(ids)
