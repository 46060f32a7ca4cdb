"""What every type of the API is made of: the base classes, and the metadata of an object.

The rule to know: an attribute holds the *resolved* value. Where a user may leave a field out, the default stands on the
type and never in the schema, since GitOps tools see a schema default as drift.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from modelway_operator.api.rules import Rule


def _without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the API server does: a null is as good as no field, in objects and in maps."""
    return {
        key: _without_nulls(value) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if value is not None
    }


MAX_NAME = 63
"""Longest name of an object of ours: it becomes a label of metrics and may become one in Kubernetes."""


class ApiObject(BaseModel):
    """A closed, frozen piece of a resource; `null` means the same as leaving the field out."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()
    """What must hold for the object as a whole; checked here and, as CEL, by the API server."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return _without_nulls(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        for rule in self.RULES:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        if cls.RULES:
            validations = [rule.as_validation() for rule in cls.RULES]
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = validations
        return schema

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
