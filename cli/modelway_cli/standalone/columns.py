"""Objects as `kubectl get` prints them: the same columns, from the same definition.

Rule: which columns there are is said in `api.crd` and nowhere else; here is only how kubectl reads a path and an age.
"""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from modelway_contract.names import GROUP
from modelway_operator.api.crd import RESOURCES, Column, Resource
from modelway_operator.kinds import Raw

GAP: Final = "   "
NOTHING: Final = ""

_STEP: Final = re.compile(r"\.(\w+)(?:\[\?\(@\.(\w+)==\"([^\"]+)\"\)\])?")


def resource_of(raw: Raw) -> Resource | None:
    """The kind of an object, None where it is none of ours."""
    return next((resource for resource in RESOURCES if resource.kind == raw.get("kind")), None)


def headings(resource: Resource, *, wide: bool, with_namespace: bool) -> list[str]:
    """The first line."""
    first = ["NAMESPACE", "NAME"] if with_namespace else ["NAME"]
    return first + [column.name.upper() for column in _shown(resource, wide=wide)]


def cells(
    resource: Resource, raw: Raw, *, wide: bool, with_namespace: bool, with_kind: bool, now: dt.datetime
) -> list[str]:
    """One object's line."""
    metadata = raw["metadata"]
    name = f"{resource.kind.lower()}.{GROUP}/{metadata['name']}" if with_kind else metadata["name"]
    first = [metadata["namespace"], name] if with_namespace else [name]
    return first + [_cell(column, raw, now) for column in _shown(resource, wide=wide)]


def lines(rows: Sequence[Sequence[str]], widths: Sequence[int] = ()) -> list[str]:
    """Rows as columns, each at least as wide as asked for."""
    if not rows:
        return []
    wide = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for index, width in enumerate(widths):
        wide[index] = max(wide[index], width)
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]


def value_at(raw: Raw, path: str) -> Any:
    """What a column's path points at: fields, and in a list the entry with a field of that value."""
    place: Any = raw
    for field, key, wanted in _STEP.findall(path):
        place = place.get(field) if isinstance(place, dict) else None
        if key:
            entries: Iterable[Any] = place if isinstance(place, list) else ()
            place = next((entry for entry in entries if entry.get(key) == wanted), None)
    return place


def age(since: str, now: dt.datetime) -> str:
    """How long ago, as kubectl puts it: two units where that says more than one."""
    try:
        seconds = int((now - dt.datetime.fromisoformat(since)).total_seconds())
    except (TypeError, ValueError):
        return "<unknown>"
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{seconds % 60}s" if seconds % 60 else "")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    return f"{years}y" + (f"{days % 365}d" if years < 8 and days % 365 else "")


def _shown(resource: Resource, *, wide: bool) -> list[Column]:
    return [column for column in resource.columns if wide or not column.wide]


def _cell(column: Column, raw: Raw, now: dt.datetime) -> str:
    value = value_at(raw, column.path)
    if column.type == "date":
        return age(str(value), now)
    return NOTHING if value is None else str(value)
