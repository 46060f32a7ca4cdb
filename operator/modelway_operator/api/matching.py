"""Conditions on a request: what a rule's `when` is made of.

The rule to know: two levels deep and no deeper, as two types instead of one that holds itself, since a structural
schema knows no recursion. A condition never names a credential: who asks is what their key says.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool

from modelway_operator.api.base import ApiObject
from modelway_operator.api.http_fields import HeaderName, HeaderValue
from modelway_operator.api.names import ClientLabel, ClientName
from modelway_operator.api.rules import ListSet, Rule, at_least_one_of, exactly_one_of


class RequestPriority(StrEnum):
    """How urgent a request is, from the most urgent."""

    INTERACTIVE = "Interactive"
    STANDARD = "Standard"
    BATCH = "Batch"


class HeaderMatch(ApiObject):
    """True when the request has the header and its value fits; exactly one of exact, prefix and present."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one_of("exact", "prefix", "present"),
        Rule(
            cel="!has(self.present) || self.present",
            message="present must be true; for an absent header put the entry under none",
            holds=lambda match: match.present is not False,
        ),
    )

    name: HeaderName
    """The header's name; letter case does not matter."""
    exact: HeaderValue | None = None
    """The whole value."""
    prefix: HeaderValue | None = None
    """What the value begins with."""
    present: StrictBool | None = None
    """True: any value will do. For an absent header put the entry under none."""


class ClientMatch(ApiObject):
    """True when the client is one of these; exactly one of names, groups and tiers."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("names", "groups", "tiers"),)

    names: Annotated[tuple[ClientName, ...], Field(min_length=1, max_length=32), ListSet()] | None = None
    """Names of clients: of the Secrets that hold their keys."""
    groups: Annotated[tuple[ClientLabel, ...], Field(min_length=1, max_length=32), ListSet()] | None = None
    """Groups, one of which the client is in."""
    tiers: Annotated[tuple[ClientLabel, ...], Field(min_length=1, max_length=32), ListSet()] | None = None
    """Tiers, one of which the client has."""


SignalRef = Annotated[str, Field(max_length=63)]
"""The name of one of the policy's signals; the policy's own rule says that there is one."""


class Fact(ApiObject):
    """One fact about a request; exactly one of header, client, priority and signal."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("header", "client", "priority", "signal"),)

    header: HeaderMatch | None = None
    """A header of the request."""
    client: ClientMatch | None = None
    """Who asks, as their key says."""
    priority: RequestPriority | None = None
    """How urgent it is: its client's priority, or the x-priority header of a client that may choose."""
    signal: SignalRef | None = None
    """The name of one of spec.signals."""


Facts = Annotated[tuple[Fact, ...], Field(min_length=1, max_length=8)]


class Clause(ApiObject):
    """One entry of a condition: a fact, or facts joined by all, any or none; exactly one of these."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one_of("header", "client", "priority", "signal", "all", "any", "none"),
    )

    header: HeaderMatch | None = None
    """A header of the request."""
    client: ClientMatch | None = None
    """Who asks, as their key says."""
    priority: RequestPriority | None = None
    """How urgent it is: its client's priority, or the x-priority header of a client that may choose."""
    signal: SignalRef | None = None
    """The name of one of spec.signals."""
    all: Facts | None = None
    """Each of these facts."""
    any: Facts | None = None
    """At least one of these facts."""
    none: Facts | None = None
    """Not one of these facts."""


Clauses = Annotated[tuple[Clause, ...], Field(min_length=1, max_length=8)]


class When(ApiObject):
    """A condition on the request; what is given of all, any and none must hold together."""

    RULES: ClassVar[tuple[Rule, ...]] = (at_least_one_of("all", "any", "none"),)

    all: Clauses | None = None
    """Each of these must be true."""
    any: Clauses | None = None
    """At least one of these must be true."""
    none: Clauses | None = None
    """None of these may be true."""

    def signals(self) -> Iterator[tuple[str, str]]:
        """The names of the signals that it reads, each with its place."""
        for join in ("all", "any", "none"):
            for index, clause in enumerate(getattr(self, join) or ()):
                place = f"{join}[{index}]"
                if clause.signal is not None:
                    yield place, clause.signal
                for inner in ("all", "any", "none"):
                    for number, fact in enumerate(getattr(clause, inner) or ()):
                        if fact.signal is not None:
                            yield f"{place}.{inner}[{number}]", fact.signal
