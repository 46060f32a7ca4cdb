"""Laws that hold for any objects that an API server could store."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelway_contract import codec
from modelway_operator.core.decide import decide
from modelway_operator.core.rollout.model import Counts, Measurement, MeasurementProblem, MetricsSource
from modelway_operator.core.snapshot import Address, ObjectKey, Secret, Service, ServicePort

from tests.support.builders import a_backend, a_model, a_policy, a_rollout, a_rule, a_target
from tests.support.seam import load
from tests.support.turns import World

NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["team", "other", "modelway"])
PRESENT = st.sampled_from([None, [], {}, "", 0, 1, True, "x", ["x"], {"x": None}, -1, 1e400, "\x00", "a" * 300])
CREDENTIALS = st.fixed_dictionaries(
    {"secretRef": st.fixed_dictionaries({"name": NAMES, "key": st.sampled_from(["k", "none"])})}
)
LIMITED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def backends(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        fields: dict[str, Any] = {"weight": draw(st.integers(0, 3))}
        if draw(st.booleans()):
            fields["serviceRef"] = {"name": draw(NAMES), "port": draw(st.sampled_from([80, 8000]))}
        else:
            fields["url"] = draw(
                st.sampled_from(["https://a.example.com/v1", "http://b.example.com", "https://[::1]:9/"])
            )
        if draw(st.booleans()):
            fields["credentials"] = draw(CREDENTIALS)
        if draw(st.booleans()) and not fields.get("url", "https").startswith("http:"):
            fields["tls"] = {"caRef": {"name": draw(NAMES), "key": "ca.crt"}}
        found.append(a_backend(name, **fields))
    return found


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    fields: dict[str, Any] = {"backends": draw(backends())}
    for field, values in (
        ("modelName", NAMES),
        ("access", st.sampled_from(["Direct", "PolicyOnly"])),
        ("trafficState", st.sampled_from(["Enabled", "Draining", "Disabled"])),
        ("parameters", st.dictionaries(st.sampled_from(["temperature", "top_p"]), st.sampled_from(["0.1", "1"]))),
        ("nonsense", PRESENT),
        ("backends", PRESENT),
    ):
        rare = field in ("nonsense", "backends")
        if draw(st.integers(0, 9)) < (1 if rare else 3):
            fields[field] = draw(values)
    return a_model(draw(NAMES), namespace=draw(NAMESPACES), generation=draw(st.integers(1, 3)), **fields)


@st.composite
def targets(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
    return [
        a_target(
            name,
            model=draw(NAMES),
            weight=draw(st.integers(0, 3)),
            **({"namespace": draw(NAMESPACES)} if draw(st.booleans()) else {}),
        )
        for name in names
    ]


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    rules = [
        a_rule(name, targets=draw(targets()), when={"all": [{"client": {"tiers": [draw(NAMES)]}}]})
        for name in draw(st.lists(st.sampled_from(["r1", "r2"]), max_size=2, unique=True))
    ]
    rules.append(a_rule("all", targets=draw(targets())))
    places = [(rule["name"], target["name"]) for rule in rules for target in rule["targets"]]
    entries = [
        a_rollout(f"{rule}-{target}", rule=rule, target=target, interval=draw(st.sampled_from(["60s", "1s"])))
        for rule, target in draw(st.lists(st.sampled_from(places), max_size=2, unique=True))
    ]
    fields: dict[str, Any] = {"rules": rules, "rollouts": entries}
    if draw(st.integers(0, 9)) == 0:
        fields[draw(st.sampled_from(["rules", "models", "nonsense", "gateway", "rollouts"]))] = draw(PRESENT)
    return a_policy(
        draw(NAMES),
        namespace=draw(NAMESPACES),
        generation=draw(st.integers(1, 3)),
        **{"models": draw(st.lists(NAMES, min_size=1, max_size=2, unique=True)), **fields},
    )


def distinct(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({raw["metadata"]["uid"]: raw for raw in objects}.values())


MODELS = st.lists(models(), max_size=5).map(distinct)
POLICIES = st.lists(policies(), max_size=4).map(distinct)
SECRET_DATA = st.dictionaries(st.sampled_from(["k", "api-key", "targets.json"]), st.binary(max_size=20), max_size=3)
SECRETS = st.dictionaries(
    st.builds(ObjectKey, NAMESPACES, st.one_of(NAMES, NAMES.map(lambda name: f"modelway-{name}-versions"))),
    st.builds(
        Secret,
        uid=st.just("u"),
        resource_version=st.just("1"),
        use=st.sampled_from(["client", "credentials", "remembered", "x"]),
        data=SECRET_DATA,
    ),
    max_size=5,
)
MEASUREMENTS = st.one_of(
    st.builds(
        lambda n, bad: Measurement(candidate=Counts(total=n, bad=min(n, bad)), stable=Counts(total=n, bad=0)),
        st.integers(0, 1000),
        st.integers(0, 1000),
    ),
    st.builds(lambda problem: Measurement(problem=problem, message="x"), st.sampled_from(MeasurementProblem)),
)


def a_world(models: list[dict[str, Any]], policies: list[dict[str, Any]], secrets: dict[ObjectKey, Secret]) -> World:
    world = World(models=models, policies=policies, secrets=dict(secrets))
    world.services = {ObjectKey("team", name): Service(ports=(80,)) for name in "ab"}
    world.endpoints = {ServicePort("team", "a", 80): (Address("10.0.0.1", 8080),)}
    return world


@given(MODELS, POLICIES, SECRETS)
@LIMITED
def test_at_rest_nothing_is_written(
    models: list[dict[str, Any]], policies: list[dict[str, Any]], secrets: dict[ObjectKey, Secret]
) -> None:
    """The second decision about the same world asks for nothing."""
    world = a_world(models, policies, secrets)
    world.settle(turns=5)
    plan = world.turn()

    assert () == plan.statuses
    assert () == plan.secrets
    assert () == plan.events
    assert plan.push_first is None
    assert plan.push is world.pushed


@given(st.lists(MODELS, min_size=2, max_size=3), st.lists(POLICIES, min_size=2, max_size=3), SECRETS, MEASUREMENTS)
@LIMITED
def test_no_edit_makes_a_decision_fail(
    models: list[list[dict[str, Any]]],
    policies: list[list[dict[str, Any]]],
    secrets: dict[ObjectKey, Secret],
    measured: Measurement,
) -> None:
    """Objects come, go and change; every push is whole, and a gateway loads it without a word."""
    world = a_world(models[0], policies[0], secrets)
    world.counts = measured
    for index in range(6):
        world.models = _with_status(models[index % len(models)], world.models)
        world.policies = _with_status(policies[index % len(policies)], world.policies)
        plan = world.turn(seconds=70)
        assert plan.push is not None
        assert plan.push == codec.unpack(codec.pack(plan.push))
        assert () == load(plan.push).findings
        if plan.push_first is not None:
            assert () == load(plan.push_first).findings


@given(st.lists(MODELS, min_size=2, max_size=3), st.lists(POLICIES, min_size=2, max_size=3), SECRETS)
@LIMITED
def test_compiled_parts_change_only_the_work(
    models: list[list[dict[str, Any]]], policies: list[list[dict[str, Any]]], secrets: dict[ObjectKey, Secret]
) -> None:
    """After whatever edits, what is compiled from scratch says the same as what comes from memory."""
    world = a_world(models[0], policies[0], secrets)
    for index in range(4):
        world.models = _with_status(models[index % len(models)], world.models)
        if index % 2:
            world.policies = _with_status(policies[index % len(policies)], world.policies)
        snapshot = world.snapshot()
        warm = decide(snapshot)
        cold = decide(replace(snapshot, memory=replace(snapshot.memory, parts={})))
        assert replace(warm, counts=cold.counts, memory=cold.memory) == cold
        world.turn(seconds=70)


@given(POLICIES, st.lists(MEASUREMENTS, min_size=1, max_size=4), st.booleans())
@LIMITED
def test_shares_rise_only_after_they_were_announced(
    policies: list[dict[str, Any]], measured: list[Measurement], available: bool
) -> None:
    """Between two pushes a share rises only if the status that says so was written in between."""
    world = a_world([a_model(name) for name in "ab"], policies, {})
    world.settle(turns=5)
    world.models.append(a_model("c"))
    world.edit_model("a", parameters={"temperature": "0.3"})
    world.source = MetricsSource(available=available)
    for index in range(24):
        world.counts = measured[index % len(measured)]
        before = _shares(world)
        plan = world.decide()
        first = {split: share for split, share in _of(plan.push_first).items() if share > before.get(split, 0)}
        assert {} == first
        world.apply(plan)
        world.now += 40


def _shares(world: World) -> dict[tuple[str, ...], int]:
    return _of(world.pushed)


def _of(push: Any) -> dict[tuple[str, ...], int]:
    splits = push.live.state.splits if push is not None else ()
    return {(each.namespace, each.policy, each.rule, each.target, each.rollout_id): each.share for each in splits}


def _with_status(objects: list[dict[str, Any]], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {raw["metadata"]["uid"]: raw.get("status") for raw in before}
    return [
        {**raw, "status": known[raw["metadata"]["uid"]]} if known.get(raw["metadata"]["uid"]) else raw
        for raw in objects
    ]
