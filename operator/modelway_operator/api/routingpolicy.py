"""RoutingPolicy: which requests for a public name go to which models, in which shares."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictInt

from modelway_operator.api import rollout_status
from modelway_operator.api.base import MAX_NAME, ApiObject, ObjectMeta, StatusObject
from modelway_operator.api.conditions import Conditions
from modelway_operator.api.http_fields import HeaderName
from modelway_operator.api.matching import When
from modelway_operator.api.names import (
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
    only_with,
    shares_of,
)
from modelway_operator.api.signals import Signals, SignalsFigures
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


class RetryOn(StrEnum):
    """Kinds of failures after which a fallback is asked."""

    RATE_LIMITED = "RateLimited"
    SERVER_ERROR = "ServerError"
    TIMEOUT = "Timeout"
    CONNECT_ERROR = "ConnectError"


class StickyType(StrEnum):
    """What a sticky choice is made from."""

    HEADER = "Header"
    CLIENT = "Client"


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


class FallbackTarget(ApiObject):
    """A model that is asked when those before it failed."""

    model_ref: ModelRef
    """The model."""


class Fallback(ApiObject):
    """What happens when the chosen model fails before it has answered anything."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.targets) || has(self.maxAttempts)",
            message="at least one of targets and maxAttempts must be set",
            holds=lambda fallback: bool(fallback.model_fields_set & {"targets", "max_attempts"}),
        ),
        Rule(
            cel="!has(self.onErrors) || has(self.targets)",
            message="onErrors says when fallback targets are asked: add targets, or remove it",
            holds=lambda fallback: fallback.on_errors is None or fallback.targets is not None,
        ),
        Rule(
            cel="!has(self.targets) || !has(self.maxAttempts) || self.maxAttempts != 1",
            message="with maxAttempts: 1 no fallback target is ever asked: raise it to 2 or more, or remove targets",
            holds=lambda fallback: fallback.targets is None or fallback.max_attempts != 1,
        ),
    )

    targets: Annotated[tuple[FallbackTarget, ...], Field(min_length=1, max_length=8)] | None = None
    """The models to ask, in order; what the rule requires binds them too."""
    on_errors: Annotated[tuple[RetryOn, ...], Field(min_length=1, max_length=4), ListSet()] | None = None
    """Failures after which they are asked. Default: all of them."""
    max_attempts: Annotated[StrictInt, Field(ge=1, le=10)] = 3
    """The most calls that one request makes, those to other backends of the same model included. Default: 3."""


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
    fallback: Fallback | None = None
    """What happens when the chosen model fails. Default: up to 3 calls to its backends."""
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


def _reads_known_cel() -> str:
    """Every signal that a rule reads is known; the names are gathered once, for the API server's cost budget."""
    joins = ("all", "any", "none")
    facts = [f"(!has(c.{join}) || c.{join}.all(f, !has(f.signal) || f.signal in known))" for join in joins]
    clause = " && ".join(["(!has(c.signal) || c.signal in known)", *facts])
    when = " && ".join(f"(!has(r.when.{join}) || r.when.{join}.all(c, {clause}))" for join in joins)
    known = "has(self.signals) ? self.signals.map(s, s.name) : []"
    return f"[{known}].all(known, self.rules.all(r, !has(r.when) || ({when})))"


def _unknown_signals(spec: "RoutingPolicySpec") -> list[str]:
    """The places that read a signal which is not there; not its name, which may be anything."""
    known = {signal.name for signal in spec.signals}
    return [
        f"rules[{index}].when.{place}"
        for index, rule in enumerate(spec.rules)
        for place, name in (rule.when.signals() if rule.when is not None else ())
        if name not in known
    ]


class RoutingPolicySpec(ApiObject):
    """Which requests for a public name go to which models."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=_reads_known_cel(),
            message="each signal that a rule reads must be in spec.signals: add it there, or correct its name",
            detail=lambda spec: ", ".join(_unknown_signals(spec)),
            holds=lambda spec: not _unknown_signals(spec),
        ),
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
    signals: Signals = ()
    """Named facts about prompts, for rules to read; each is found out at most once for a request."""
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
    signals: SignalsFigures = ()
    """How well the signals that are known by examples can be told, as the gateways found."""
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
