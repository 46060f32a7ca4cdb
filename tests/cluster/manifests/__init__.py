"""Manifests that are refused, each with a good twin that differs in one field; see `cases.yaml`.

The same table is tried against a real API server (`tests/cluster/test_crds.py`) and against the types alone
(`tests/unit/modelway_operator/api/test_cases.py`), since standalone mode has only these.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ABSENT = "(absent)"
"""Stands in the table for a field that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One field of one base manifest with a good and a bad value, and what is said of the bad one.

    `also` holds what both twins have otherwise than the base. `server` and `types` are the whole message, from the path
    on, of the API server and of the types.
    """

    id: str
    kind: str
    field: str
    good: Any
    bad: Any
    also: dict[str, Any]
    server: str
    types: str

    @property
    def name(self) -> str:
        """The objects' name, as Kubernetes allows it."""
        return self.id.replace("_", "-")

    def manifest(self, value: Any) -> dict[str, Any]:
        """The base manifest with this value in the field."""
        document = base(self.kind)
        document["metadata"]["name"] = self.name
        for field, other in self.also.items():
            put(document, field, other)
        put(document, self.field, value)
        return document


def base(kind: str) -> dict[str, Any]:
    """A good manifest that uses every field of the kind."""
    document = copy.deepcopy(_load(f"{kind.lower()}.yaml"))
    assert isinstance(document, dict)
    return document


def cases() -> Iterator[Case]:
    """The table's rows."""
    for row in _load("cases.yaml"):
        known = {
            "good": value_at(base(row["kind"]), row["field"]),
            "also": {},
            "types": _without_value(row["server"]),
        }
        yield Case(**{**known, **row})


def put(document: dict[str, Any], field: str, value: Any) -> None:
    """Set a field, or remove it where the value is `ABSENT`."""
    *way, last = _steps(field)
    place: Any = document
    for step in way:
        place = place[step]
    if value == ABSENT:
        if value_at(document, field) != ABSENT:
            del place[last]
    elif isinstance(value, dict) and set(value) == {"letters"}:
        place[last] = "x" * value["letters"]
    elif last == len(place):
        place.append(value)
    else:
        place[last] = copy.deepcopy(value)


def value_at(document: dict[str, Any], field: str) -> Any:
    """What stands in a field, or `ABSENT`."""
    place: Any = document
    for step in _steps(field):
        try:
            place = place[step]
        except (KeyError, IndexError):
            return ABSENT
    return place


def _steps(field: str) -> list[str | int]:
    return [int(index) if index else name for name, index in re.findall(r"([^.\[\]]+)|\[([0-9]+)\]", field)]


def _without_value(message: str) -> str:
    """What the types say: neither the value that was refused nor, a second time, the path."""
    message = message.removeprefix("<nil>: ")
    message = re.sub(r'Invalid value: ("(\\.|[^"\\])*": |-?[0-9.]+: )?(\S+ in body )?', "", message, count=1)
    message = re.sub(r'(Unsupported value): "(\\.|[^"\\])*":', r"\1:", message)
    message = re.sub(r"Too many: [0-9]+:", "Too many:", message)
    return re.sub(r'(must be of type \w+): "\w+"$', r"\1", message)


@cache
def _load(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text())
