"""One rule, two readers: the API server evaluates its CEL, the types call its Python half.

The rule to know: no rule may exist in CEL alone, since standalone mode has no API server. So a rule is declared once,
with both halves and one message, and the message names the field and the remedy.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A statement about one value; as an `Annotated` extra it guards a field, in `RULES` a whole object.

    With `raw` the Python half judges the text before it is parsed, so that text which cannot be parsed is refused in
    the rule's own words. With `field` the rule of an object points at that field of it. The Python half may end
    the message with a `detail` of this value, where CEL could not or only above the API server's cost budget.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    raw: bool = False
    field: str | None = None
    detail: Callable[[Any], str] | None = None

    def check(self, value: Any) -> Any:
        """Return the value, or fail with the same message that the API server gives."""
        if self.raw and not isinstance(value, str):
            return value  # of the wrong type, which the parser says better
        if not self.holds(value):
            message = self.message if self.detail is None else f"{self.message}: {self.detail(value)}"
            raise PydanticCustomError("rule", "{message}", {"message": message, "field": self.field})
        return value

    def as_validation(self) -> dict[str, str]:
        """This rule as an entry of `x-kubernetes-validations`."""
        path = {"fieldPath": f".{self.field}"} if self.field else {}
        return {"rule": self.cel, "message": self.message, **path}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        wrap = (
            core_schema.no_info_before_validator_function if self.raw else core_schema.no_info_after_validator_function
        )
        return wrap(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema.setdefault("x-kubernetes-validations", []).append(self.as_validation())
        return schema


def cel_text(text: str) -> str:
    """Quote text as a CEL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def matching(pattern: str, message: str) -> Rule:
    """The text as a whole looks like this; the pattern is written without anchors, in what RE2 and `re` share."""
    compiled = re.compile(pattern)
    return Rule(
        cel=f"self.matches({cel_text(f'^({pattern})$')})",
        message=message,
        holds=lambda text: compiled.fullmatch(text) is not None,
    )


def not_holding(pattern: str, message: str) -> Rule:
    """Nothing in the text looks like this."""
    compiled = re.compile(pattern)
    return Rule(
        cel=f"!self.matches({cel_text(pattern)})",
        message=message,
        holds=lambda text: compiled.search(text) is None,
    )


def beginning_with(message: str, *starts: str) -> Rule:
    """The text begins with one of these."""
    return Rule(
        cel=" || ".join(f"self.startsWith({cel_text(start)})" for start in starts),
        message=message,
        holds=lambda text: text.startswith(starts),
    )


def of_field(field: str, *rules: Rule) -> tuple[Rule, ...]:
    """Rules of one field as rules of its object, and therefore without the value.

    The API server repeats what it refuses where a rule stands on the field itself, and this field may hold a key that
    somebody pasted.
    """
    name = to_camel(field)

    def lifted(rule: Rule) -> Rule:
        return Rule(
            cel=f"!has(self.{name}) || ({_about(rule, f'self.{name}')})",
            message=rule.message,
            holds=lambda owner: getattr(owner, field) is None or rule.holds(getattr(owner, field)),
            field=name,
        )

    return tuple(lifted(rule) for rule in rules)


def of_values(rule: Rule) -> Rule:
    """A rule of each of a map's values as a rule of the map, and therefore without the value, as in `of_field`."""
    return Rule(
        cel=f"self.all(k, {_about(rule, 'self[k]')})",
        message=rule.message,
        holds=lambda entries: all(rule.holds(value) for value in entries.values()),
    )


def _about(rule: Rule, subject: str) -> str:
    return re.sub(r"\bself\b", subject, rule.cel)


def exactly_one_of(*fields: str) -> Rule:
    """One of these fields of the object is there, and no second one."""
    given = " + ".join(f"(has(self.{to_camel(field)}) ? 1 : 0)" for field in fields)
    return Rule(
        cel=f"{given} == 1",
        message=f"exactly one of {_listed(fields)} must be set",
        holds=lambda value: sum(getattr(value, field) is not None for field in fields) == 1,
    )


def at_least_one_of(*fields: str) -> Rule:
    """One of these fields of the object is there, or more."""
    return Rule(
        cel=" || ".join(f"has(self.{to_camel(field)})" for field in fields),
        message=f"at least one of {_listed(fields)} must be set",
        holds=lambda value: any(getattr(value, field) is not None for field in fields),
    )


def only_with(field: str, *, when: str, equals: str) -> tuple[Rule, Rule]:
    """The field is there exactly while the other one has this value."""
    name, other = to_camel(field), to_camel(when)
    fits = f"(has(self.{other}) && self.{other} == '{equals}')"
    return (
        Rule(
            cel=f"!{fits} || has(self.{name})",
            message=f"{name} must be set with {other}: {equals}",
            holds=lambda value: getattr(value, when) != equals or getattr(value, field) is not None,
        ),
        Rule(
            cel=f"!has(self.{name}) || {fits}",
            message=f"{name} belongs to {other}: {equals}; remove it, or set {other}: {equals}",
            holds=lambda value: getattr(value, field) is None or getattr(value, when) == equals,
        ),
    )


def _listed(fields: tuple[str, ...]) -> str:
    names = [to_camel(field) for field in fields]
    return f"{', '.join(names[:-1])} and {names[-1]}"


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


@dataclass(frozen=True, slots=True)
class OneOf:
    """A text out of a closed set that is a table instead of an enum."""

    values: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.chain_schema([handler(source), core_schema.literal_schema(list(self.values))])

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "enum": list(self.values)}


MAX_WEIGHT = 1_000_000


def shares_of(entries: str) -> tuple[Rule, Rule]:
    """The weights of a list are shares of their sum: it must be above 0, and small enough to count with."""
    weight = "(has(e.weight) ? e.weight : 1)"
    return (
        Rule(
            cel="self.size() == 0 || self.exists(e, !has(e.weight) || e.weight > 0)",
            message=f"the weights must not all be 0: give one of the {entries} a weight above 0",
            holds=lambda values: not values or any(value.weight > 0 for value in values),
        ),
        Rule(
            # A weight that is too large by itself is refused by its own bound, and should be told of once.
            cel=f"self.exists(e, {weight} > {MAX_WEIGHT}) || self.map(e, {weight}).sum() <= {MAX_WEIGHT}",
            message=f"the weights must add up to at most {MAX_WEIGHT}: they are shares, scale them down",
            holds=lambda values: sum(value.weight for value in values) <= MAX_WEIGHT,
        ),
    )
