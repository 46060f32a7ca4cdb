"""One rule, two readers: the API server evaluates its CEL, the types call its Python half.

The rule to know: no rule may exist in CEL alone, since standalone mode has no API server. So a rule is declared once,
with both halves and one message, and the message names the field and the remedy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A statement about one value; as an `Annotated` extra it guards a field, in `RULES` a whole object."""

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def check(self, value: Any) -> Any:
        """Return the value, or fail with the same message that the API server gives."""
        if not self.holds(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message})
        return value

    def as_validation(self) -> dict[str, str]:
        """This rule as an entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema.setdefault("x-kubernetes-validations", []).append(self.as_validation())
        return schema


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list whose entries are told apart by one key, for server-side apply as for us."""

    key: str

    def check(self, entries: Any) -> Any:
        """Refuse a second entry with the same key."""
        seen: set[object] = set()
        for index, entry in enumerate(entries):
            value = getattr(entry, self.key)
            if value in seen:
                raise PydanticCustomError(
                    "duplicate",
                    "entry {index} repeats {key} {value}: give each entry its own {key}",
                    {"index": index, "key": self.key, "value": str(value)},
                )
            seen.add(value)
        return entries

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}
        return schema


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of plain values, none of them twice."""

    def check(self, values: Any) -> Any:
        """Refuse a value that is there already."""
        if len(set(values)) != len(values):
            raise PydanticCustomError("duplicate", "holds a value twice: name each one once", {})
        return values

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema |= {"x-kubernetes-list-type": "set"}
        return schema
