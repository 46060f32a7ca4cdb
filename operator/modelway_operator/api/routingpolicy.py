"""RoutingPolicy: which requests for a public name go to which models, in which shares."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from modelway_operator.api import rollout_status
from modelway_operator.api.base import MAX_NAME, ApiObject, ObjectMeta, StatusObject
from modelway_operator.api.conditions import Conditions
from modelway_operator.api.http_fields import HeaderName, HeaderValue
from modelway_operator.api.names import (
    ClientLabel,
    ClientName,
    EntryName,
    Jurisdiction,
    ModelObjectName,
    ModelPattern,
    NamespaceName,
)
from modelway_operator.api.rules import (
    MAX_WEIGHT,
    ListMap,
    ListSet,
    Rule,
    at_least_one_of,
    exactly_one_of,
    only_with,
    shares_of,
)
from modelway_operator.api.strategy import Rollouts


class RequiredRetention(StrEnum):
    """The most that a backend may keep."""

    NONE = "None"
    LIMITED = "Limited"


class RequiredCapability(StrEnum):
    """What a model must state that it can do."""

    TOOLS = "tools"
    JSON_SCHEMA = "jsonSchema"
    REASONING = "reasoning"
    EMBEDDINGS = "embeddings"


class StickyType(StrEnum):
    """What a sticky choice is made from."""

    HEADER = "Header"
    CLIENT = "Client"


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


class Fact(ApiObject):
    """One fact about a request; exactly one of header and client."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("header", "client"),)

    header: HeaderMatch | None = None
    """A header of the request."""
    client: ClientMatch | None = None
    """Who asks, as their key says."""


Facts = Annotated[tuple[Fact, ...], Field(min_length=1, max_length=8)]


class Clause(ApiObject):
    """One entry of a condition: a fact, or facts joined by all, any or none; exactly one of these."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("header", "client", "all", "any", "none"),)

    header: HeaderMatch | None = None
    """A header of the request."""
    client: ClientMatch | None = None
    """Who asks, as their key says."""
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


class Require(ApiObject):
    """What a model or backend must fulfil; if none does, the request is refused with 503 no_eligible_model."""

    jurisdictions: Annotated[tuple[Jurisdiction, ...], Field(min_length=1, max_length=16), ListSet()] | None = None
    """The backend's locality.jurisdiction must be one of these."""
    capabilities: Annotated[tuple[RequiredCapability, ...], Field(min_length=1, max_length=8), ListSet()] | None = None
    """Each of these must be true in the model's capabilities."""
    retention: RequiredRetention | None = None
    """None: nothing is kept. Limited: nothing, or for a limited time. A model that trains on data satisfies neither."""


class ModelRef(ApiObject):
    """An LLMModel, in this namespace or in one that the install shares."""

    name: ModelObjectName
    """The LLMModel's metadata.name."""
    namespace: NamespaceName | None = None
    """Its namespace; another than the policy's must be shared by the install. Default: the policy's own."""


class Target(ApiObject):
    """A model with its share of the rule's requests."""

    name: EntryName
    """The target's own name; a rollout moves what is under it, so renaming makes a new target."""
    model_ref: ModelRef
    """The model. Changing it starts a rollout where one is set up for this target."""
    weight: Annotated[StrictInt, Field(ge=0, le=MAX_WEIGHT)] = 1
    """Its share, relative to the sum of the rule's weights. Default: 1."""


class StickyKey(ApiObject):
    """One source of the key that keeps a caller on the same target."""

    RULES: ClassVar[tuple[Rule, ...]] = only_with("name", when="type", equals="Header")

    type: StickyType
    """Header takes a header's value, Client the client's name."""
    name: HeaderName | None = None
    """The header's name; with type Header only."""


class Sticky(ApiObject):
    """Keeps a caller on the same target by hashing; without it each request is drawn anew."""

    by: Annotated[tuple[StickyKey, ...], Field(min_length=1, max_length=4)]
    """Sources of the key; the first one that a request has is used."""


class PolicyRule(ApiObject):
    """Where requests go that fit its condition; the first rule that fits decides."""

    name: EntryName
    """The rule's own name."""
    when: When | None = None
    """Which requests it is for. Default: all of them, and then it must be the last rule."""
    require: Require = Require()
    """What a model or backend must fulfil."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=16), ListMap("name"), *shares_of("targets")]
    """The models among which requests are shared out."""
    sticky: Sticky | None = None
    """Keeps a caller on the same target. Default: each request is drawn anew."""


CATCH_ALL_LAST = Rule(
    cel="self.all(r, has(r.when)) || (self.filter(r, !has(r.when)).size() == 1 && !has(self[self.size() - 1].when))",
    message="a rule without when takes every request: only the last rule may have none; move it to the end",
    holds=lambda rules: all(rule.when is not None for rule in rules[:-1]),
)


def _rollouts_have_targets(spec: "RoutingPolicySpec") -> bool:
    targets = {(rule.name, target.name) for rule in spec.rules for target in rule.targets}
    return all((rollout.rule, rollout.target) in targets for rollout in spec.rollouts)


class RoutingPolicySpec(ApiObject):
    """Which requests for a public name go to which models."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.rollouts) || self.rollouts.all(o, self.rules.exists(r, r.name == o.rule"
            " && r.targets.exists(t, t.name == o.target)))",
            message="each rollout must name a rule of this policy and one of that rule's targets",
            holds=_rollouts_have_targets,
        ),
    )

    gateway: EntryName = "default"
    """The install that serves it. Default: default."""
    models: Annotated[tuple[ModelPattern, ...], Field(min_length=1, max_length=64), ListSet()]
    """Public names it answers for, or globs with one *; exact beats glob, a longer glob beats a shorter one."""
    priority: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 0
    """Among policies that claim the same name the higher one wins, then the older, then by name. Default: 0."""
    rules: Annotated[tuple[PolicyRule, ...], Field(min_length=1, max_length=64), ListMap("name"), CATCH_ALL_LAST]
    """The rules, in order."""
    rollouts: Rollouts = ()
    """Targets that move step by step when what they point to changes."""


class RuleState(StrEnum):
    """What became of a rule."""

    ACTIVE = "Active"
    INVALID = "Invalid"
    UNREACHABLE = "Unreachable"


class TargetWeight(StatusObject):
    """The share that one version of one model has now."""

    target: Annotated[str, Field(max_length=63)]
    """The target's name."""
    model: Annotated[str, Field(max_length=127)]
    """The model's name, with its namespace where that is another."""
    version: Annotated[str, Field(max_length=80)] = ""
    """The version of the model."""
    weight: Annotated[str, Field(max_length=16)] = "0"
    """Percent of the rule's requests, as text."""
    since: Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})] | None = None
    """Since when."""
    reason: Annotated[str, Field(max_length=64)] = ""
    """Why."""


class RuleStatus(StatusObject):
    """What became of one rule."""

    name: Annotated[str, Field(max_length=63)]
    """The rule's name."""
    state: RuleState
    """Active, Invalid (left out) or Unreachable (an earlier rule takes all it could match)."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why it is not Active, and what to do."""
    weights: Annotated[tuple[TargetWeight, ...], Field(max_length=32)] = ()
    """The shares that its models have now."""


class PolicyGateways(StatusObject):
    """How far the gateways are."""

    ready: Annotated[int, Field(ge=0)] = 0
    """Replicas that are ready."""
    acknowledged: Annotated[int, Field(ge=0)] = 0
    """Replicas that run this generation."""
    rejected: Annotated[int, Field(ge=0)] = 0
    """Replicas that refused it."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why they did."""


class PolicySummary(StatusObject):
    """Text for the columns of kubectl get."""

    gateways: Annotated[str, Field(max_length=32)] = ""
    """Replicas that run it of all ready ones, such as 3/3."""
    rollout: Annotated[str, Field(max_length=256)] = ""
    """What the rollouts are doing, such as Progressing 25 % (3/4)."""


class RoutingPolicyStatus(StatusObject):
    """What the operator says of the policy; only the operator writes it."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation that all of this is about."""
    conditions: Conditions = ()
    """Accepted, ResolvedRefs, Programmed, Ready; the others only while they are True."""
    rules: Annotated[tuple[RuleStatus, ...], Field(max_length=64), ListMap("name")] = ()
    """What became of each rule."""
    rollouts: rollout_status.Rollouts = ()
    """Where each rollout stands."""
    weights: Annotated[str, Field(max_length=2048)] = ""
    """All effective shares in one line."""
    gateways: PolicyGateways = PolicyGateways()
    """How far the gateways are."""
    summary: PolicySummary = PolicySummary()
    """Text for the columns of kubectl get."""
    revision: Annotated[str, Field(max_length=80)] = ""
    """A digest of what the gateways got of this object."""


class RoutingPolicy(ApiObject):
    """Which requests for a public model name go to which models, and how changes of these are rolled out."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.metadata.name.size() <= {MAX_NAME}",
            message=f"metadata.name must have at most {MAX_NAME} characters, since it becomes a label",
            holds=lambda policy: len(policy.metadata.name) <= MAX_NAME,
        ),
    )

    api_version: Literal["modelway.dev/v1alpha1"] = "modelway.dev/v1alpha1"
    kind: Literal["RoutingPolicy"] = "RoutingPolicy"
    metadata: ObjectMeta
    spec: RoutingPolicySpec
    status: RoutingPolicyStatus | None = None
