"""Raw manifests to typed objects: the one edge where an object's dict is read.

The rule to know: what is refused is refused as a whole, with every problem named by path and remedy, and without a word
of the values, since a value may be a secret pasted into the wrong place. A status that cannot be read counts as absent:
the operator writes it anew, and nobody can break an object by editing its status.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from modelway_operator.api.base import ApiObject, StatusObject
from modelway_operator.api.llmmodel import LLMModel, LLMModelStatus
from modelway_operator.api.routingpolicy import RoutingPolicy, RoutingPolicyStatus
from modelway_operator.errors import InvalidObjectError

Kind = TypeVar("Kind", bound=ApiObject)

# The API server's own words, so that both modes say the same.
_WORDS = {
    "missing": "Required value",
    "extra_forbidden": "unknown field; correct its spelling or remove it",
    "greater_than_equal": "should be greater than or equal to {ge}",
    "less_than_equal": "should be less than or equal to {le}",
    "string_too_long": "Too long: may not be more than {max_length} characters",
    "string_too_short": "should be at least {min_length} chars long",
    "string_pattern_mismatch": "should match '{pattern}'",
    "too_long": "Too many: must have at most {max_length} items",
    "too_short": "should have at least {min_length} items",
    "int_type": "must be of type integer",
    "string_type": "must be of type string",
    "bool_type": "must be of type boolean",
    "tuple_type": "must be of type array",
    "mapping_type": "must be of type object",
    "dict_type": "must be of type object",
    "model_type": "must be of type object",
}


def parse_llmmodel(raw: Mapping[str, Any]) -> LLMModel:
    """Read an LLMModel, or raise `InvalidObjectError` with all that is wrong with it."""
    return _parse(LLMModel, LLMModelStatus, raw)


def parse_routingpolicy(raw: Mapping[str, Any]) -> RoutingPolicy:
    """Read a RoutingPolicy, or raise `InvalidObjectError` with all that is wrong with it."""
    return _parse(RoutingPolicy, RoutingPolicyStatus, raw)


def _parse(kind: type[Kind], status_kind: type[StatusObject], raw: Mapping[str, Any]) -> Kind:
    wishes = {key: value for key, value in raw.items() if key != "status"}
    try:
        wanted = kind.model_validate(wishes, by_alias=True, by_name=False)
    except ValidationError as exc:
        raise InvalidObjectError(tuple(_problems(exc))) from None
    try:
        status = status_kind.model_validate(raw.get("status"), by_alias=True, by_name=False)
    except ValidationError:
        return wanted
    return wanted.model_copy(update={"status": status})


def _problems(exc: ValidationError) -> Iterable[str]:
    errors = exc.errors(include_url=False, include_input=False)
    for error in errors:
        if error["type"] == "too_short" and _has_inner(error, errors):
            continue  # entries that were refused count as missing; they are what must be said
        message = _message(error)
        field = error.get("ctx", {}).get("field")  # of an object's rule that is about one of its fields
        path = _path((*error["loc"], field) if field else error["loc"])
        yield f"{path}: {message}" if path else message  # a rule of the whole object names the field itself


def _message(error: ErrorDetails) -> str:
    details = error.get("ctx", {})
    if error["type"] in ("enum", "literal_error"):
        choices = re.findall("'([^']*)'", details["expected"])
        return "Unsupported value: supported values: " + ", ".join(f'"{choice}"' for choice in choices)
    if error["type"] in _WORDS:
        return _WORDS[error["type"]].format(**details)
    return error["msg"].removeprefix("Value error, ")


def _has_inner(outer: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    depth = len(outer["loc"])
    return any(len(error["loc"]) > depth and error["loc"][:depth] == outer["loc"] for error in errors)


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".")
