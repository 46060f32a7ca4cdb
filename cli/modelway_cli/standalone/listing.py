"""Which objects are meant, and the tables they are shown in.

Rule: a kind's headings are printed when it is first shown; later lines keep to the columns as they are, as `kubectl get
-w` does it.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from modelway_cli.standalone.columns import cells, headings, lines, resource_of
from modelway_operator.api.crd import RESOURCES, Resource
from modelway_operator.kinds import Raw

_WORDS: Final = {"LLMModel": {"model", "models"}, "RoutingPolicy": {"policy", "policies"}}


def is_kind(word: str, resource: Resource | None = None) -> bool:
    """Whether a word names this kind, or any."""
    among = RESOURCES if resource is None else (resource,)
    return any(word.lower() in _words_for(one) for one in among)


def chosen(objects: Iterable[Raw], what: str | None) -> list[Raw]:
    """The objects that a word means: a kind, a name, or both as `kind/name`; without one, all."""
    found = [(raw, resource) for raw in objects if (resource := resource_of(raw)) is not None]
    kind, slash, name = (what or "").rpartition("/")
    if not slash and is_kind(name):
        kind, name = name, ""
    return [
        raw
        for raw, resource in found
        if (not kind or is_kind(kind, resource)) and (not name or raw["metadata"]["name"] == name)
    ]


class Tables:
    """Tables of objects, one for each kind; text of what is new in them."""

    def __init__(self, *, wide: bool) -> None:
        self._wide = wide
        self._widths: dict[str, Sequence[int]] = {}
        self._with_namespace: bool | None = None
        self._with_kind: bool | None = None

    def text(self, objects: Sequence[Raw], *, now: dt.datetime) -> str:
        """The objects' lines, with the headings of kinds that have not been shown yet."""
        kinds = [resource for resource in RESOURCES if any(resource_of(raw) is resource for raw in objects)]
        if self._with_kind is None:
            self._with_kind = len(kinds) > 1
            self._with_namespace = len({raw["metadata"]["namespace"] for raw in objects}) > 1
        return "\n\n".join(
            self._table(kind, [raw for raw in objects if resource_of(raw) is kind], now) for kind in kinds
        )

    def _table(self, kind: Resource, objects: Sequence[Raw], now: dt.datetime) -> str:
        with_namespace, with_kind = bool(self._with_namespace), bool(self._with_kind)
        rows = [
            cells(kind, raw, wide=self._wide, with_namespace=with_namespace, with_kind=with_kind, now=now)
            for raw in objects
        ]
        if kind.kind not in self._widths:
            rows.insert(0, headings(kind, wide=self._wide, with_namespace=with_namespace))
            self._widths[kind.kind] = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
        return "\n".join(lines(rows, self._widths[kind.kind]))


def _words_for(resource: Resource) -> set[str]:
    return {resource.plural, resource.kind.lower(), resource.short_name} | _WORDS[resource.kind]
