"""What every type of the API is made of: the base class, metadata, durations and decimal text.

The rule to know: an attribute holds the *resolved* value. Where a user may leave a field out, the default stands on the
type and never in the schema, since GitOps tools see a schema default as drift.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from modelway_operator.api.rules import Rule

DURATION_PATTERN = r"^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?([0-9]{1,5}ms)?$"
DECIMAL_PATTERN = r"^[0-9]{1,9}([.][0-9]{1,9})?$"

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class ApiObject(BaseModel):
    """A closed, frozen piece of a resource; `null` means the same as leaving the field out."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()
    """What must hold for the object as a whole; checked here and, as CEL, by the API server."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if value is not None}
        return data

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        for rule in self.RULES:
            rule.check(self)
        return self

    def as_manifest(self) -> dict[str, Any]:
        """The object as a manifest spells it: camelCase, plain values, absent where nothing was set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusObject(ApiObject):
    """A piece of status; fields of a newer release are skipped, so that going back one release still reads it."""

    model_config = ConfigDict(extra="ignore")


class ObjectMeta(ApiObject):
    """The part of an object's metadata that decisions look at."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class Duration(str):
    """A span of time as users write it (`500ms`, `30s`, `1h30m`), with its length in seconds."""

    __slots__ = ("seconds",)
    seconds: float

    def __new__(cls, text: str) -> Self:
        parts = re.fullmatch(DURATION_PATTERN.strip("^$"), text)
        if parts is None or not text:
            raise ValueError(f"{text!r} is not a duration; write it like 500ms, 30s, 2m or 1h30m")
        self = super().__new__(cls, text)
        found = re.findall(r"([0-9]+)(ms|h|m|s)", text)
        self.seconds = sum(int(count) * _SECONDS[unit] for count, unit in found)
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(max_length=32))


class DecimalText(str):
    """A number as text (`"0.05"`), as Kubernetes wants it where floats would be rounded."""

    __slots__ = ("value",)
    value: float

    def __new__(cls, text: str) -> Self:
        if re.fullmatch(DECIMAL_PATTERN.strip("^$"), text) is None:
            raise ValueError(f'{text!r} is not a decimal number; write it like "0.05"')
        self = super().__new__(cls, text)
        self.value = float(text)
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(max_length=20))
