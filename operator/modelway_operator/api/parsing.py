"""Raw manifests to typed objects: the one edge where an object's dict is read.

The rule to know: what is refused is refused as a whole, with every problem named by path and remedy, and without a word
of the values, since a value may be a secret pasted into the wrong place. A status that cannot be read counts as absent:
the operator writes it anew, and a user cannot break an object by editing it.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from modelway_operator.api.base import ApiObject
from modelway_operator.api.llmmodel import LLMModel
from modelway_operator.api.routingpolicy import RoutingPolicy
from modelway_operator.errors import InvalidObjectError

Kind = TypeVar("Kind", bound=ApiObject)


def parse_llmmodel(raw: Mapping[str, Any]) -> LLMModel:
    """Read an LLMModel, or raise `InvalidObjectError` with all that is wrong with it."""
    return _parse(LLMModel, raw)


def parse_routingpolicy(raw: Mapping[str, Any]) -> RoutingPolicy:
    """Read a RoutingPolicy, or raise `InvalidObjectError` with all that is wrong with it."""
    return _parse(RoutingPolicy, raw)


def _parse(kind: type[Kind], raw: Mapping[str, Any]) -> Kind:
    try:
        return kind.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as exc:
        raise InvalidObjectError(tuple(str(error["msg"]) for error in exc.errors(include_input=False))) from None
