"""LLMModels to wire models: backends, keys, authorities, and what is left of a model when these are bad."""

from typing import Any

import pytest

from modelway_contract.config import Backend, BackendCredential, CredentialUse, Endpoints, Retention, Scheme, Tls
from modelway_operator.core.snapshot import Address, ObjectKey, Service, ServicePort

from tests.support.builders import a_backend, a_client, a_config_map, a_model, a_policy, a_secret
from tests.support.certificates import CA_PEM
from tests.support.turns import World, condition, message

CREDENTIALS = {"secretRef": {"name": "llm-key", "key": "token"}}


def only_backend(world: World) -> Backend:
    push = world.decide().push
    assert push is not None
    assert push.base is not None
    (backend,) = push.base.models[0].backends
    return backend


def with_backend(**fields: Any) -> World:
    return World(models=[a_model(backends=[a_backend(**fields)])])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://llm.example.com/v1", (Scheme.HTTPS, "llm.example.com", 443, "/v1")),
        ("http://llm.example.com", (Scheme.HTTP, "llm.example.com", 80, "")),
        ("https://LLM.example.com:8443/a/b/", (Scheme.HTTPS, "llm.example.com", 8443, "/a/b")),
        ("http://10.1.2.3:8000/v1", (Scheme.HTTP, "10.1.2.3", 8000, "/v1")),
        ("http://[fd00::1]:8000/v1", (Scheme.HTTP, "fd00::1", 8000, "/v1")),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: tuple[Scheme, str, int, str]) -> None:
    """Scheme, host without brackets, port with its default, path without a slash at its end."""
    backend = only_backend(with_backend(url=url))

    assert expected == (backend.scheme, backend.host, backend.port, backend.path)
    assert not backend.discovered


def test_a_service_is_dialled_at_its_endpoints() -> None:
    """The host is the Service's name; the addresses are in the live part, in order."""
    world = with_backend(serviceRef={"name": "vllm", "port": 8000})
    world.services[ObjectKey("team", "vllm")] = Service(ports=(8000,))
    port = ServicePort("team", "vllm", 8000)
    world.endpoints[port] = (Address("10.0.0.2", 80), Address("10.0.0.1", 80), Address("10.0.0.2", 80))

    backend, push = only_backend(world), world.decide().push

    assert (Scheme.HTTP, "vllm.team.svc", 8000, "/v1", True) == (
        backend.scheme,
        backend.host,
        backend.port,
        backend.path,
        backend.discovered,
    )
    assert push is not None
    expected = Endpoints(backend=backend.id, addresses=(("10.0.0.1", 80), ("10.0.0.2", 80)))
    assert (expected,) == push.live.state.endpoints


def test_endpoints_move_without_a_new_base() -> None:
    """A pod that comes or goes changes the live part only, and no object's revision."""
    world = with_backend(serviceRef={"name": "vllm", "port": 8000})
    world.services[ObjectKey("team", "vllm")] = Service(ports=(8000,))
    world.endpoints[ServicePort("team", "vllm", 8000)] = (Address("10.0.0.1", 80),)
    world.settle()
    before, revision = world.pushed, world.model("llama")["status"]["revision"]
    world.endpoints[ServicePort("team", "vllm", 8000)] = (Address("10.0.0.9", 80),)
    world.turn()

    assert before is not None
    assert world.pushed is not None
    assert before.base_digest == world.pushed.base_digest
    assert before.live.state != world.pushed.live.state
    assert revision == world.model("llama")["status"]["revision"]


def test_tls_makes_a_service_https() -> None:
    """`tls` on a serviceRef means https, with the authorities of the ConfigMap."""
    tls = {"caRef": {"name": "ca", "key": "ca.crt"}, "serverName": "vllm.internal"}
    world = with_backend(serviceRef={"name": "vllm", "port": 8000}, tls=tls)
    world.services[ObjectKey("team", "vllm")] = Service(ports=(8000,))
    world.config_maps = dict([a_config_map("ca", {"ca.crt": CA_PEM})])

    backend = only_backend(world)

    assert (Scheme.HTTPS, Tls(ca_pem=CA_PEM, server_name="vllm.internal")) == (backend.scheme, backend.tls)


def test_config_maps_are_wanted_by_name() -> None:
    """They are not watched, so whoever gathers must be told which to read."""
    from modelway_operator.core.decide import wanted

    world = with_backend(url="https://x.example.com", tls={"caRef": {"name": "ca", "key": "ca.crt"}})

    assert (ObjectKey("team", "ca"),) == wanted(world.snapshot()).config_maps


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (CREDENTIALS, CredentialUse(id="team/llm-key/token", header="authorization", prefix="Bearer ")),
        (
            {**CREDENTIALS, "scheme": "Header", "header": "X-Api-Key"},
            CredentialUse(id="team/llm-key/token", header="x-api-key"),
        ),
    ],
)
def test_a_key_goes_into_its_header(credentials: dict[str, Any], expected: CredentialUse) -> None:
    """The config says which credential goes where; its value is in a section of its own."""
    world = with_backend(url="https://x.example.com", credentials=credentials)
    world.secrets = dict([a_secret("llm-key", {"token": b"s3cr3t"}, version="7")])
    push = world.decide().push

    assert expected == only_backend(world).credential
    assert push is not None
    assert push.credentials is not None
    assert (BackendCredential(id="team/llm-key/token", value="s3cr3t"),) == push.credentials.backends
    assert ("team/llm-key/token uid-secret-team-llm-key 7",) == push.credentials.sources


def test_a_rotated_key_is_a_change() -> None:
    """The digest of the credentials follows the Secret's version, and the object's revision with it."""
    world = with_backend(url="https://x.example.com", credentials=CREDENTIALS)
    world.secrets = dict([a_secret("llm-key", {"token": b"old"}, version="1")])
    world.settle()
    before, revision = world.pushed, world.model("llama")["status"]["revision"]
    world.secrets = dict([a_secret("llm-key", {"token": b"new"}, version="2")])
    world.settle()

    assert before is not None
    assert world.pushed is not None
    assert before.base_digest == world.pushed.base_digest
    assert before.credentials_digest != world.pushed.credentials_digest
    assert revision != world.model("llama")["status"]["revision"]


SECRETS = {
    "missing": ({}, "SecretNotFound"),
    "not labelled for it": (dict([a_secret("llm-key", {"token": b"k"}, use="client")]), "SecretNotFound"),
    "wrong key": (dict([a_secret("llm-key", {"other": b"k"})]), "SecretKeyMissing"),
    "empty": (dict([a_secret("llm-key", {"token": b""})]), "SecretKeyMissing"),
    "only a line end": (dict([a_secret("llm-key", {"token": b"\n"})]), "SecretKeyMissing"),
    "1 MiB": (dict([a_secret("llm-key", {"token": b"k" * 2**20})]), "SecretKeyMissing"),
    "binary": (dict([a_secret("llm-key", {"token": b"\x00\xff\x13"})]), "SecretKeyMissing"),
    "not ASCII": (dict([a_secret("llm-key", {"token": "schlüssel".encode()})]), "SecretKeyMissing"),
    "a second line": (dict([a_secret("llm-key", {"token": b"canary\r\nX-Evil: 1"})]), "SecretKeyMissing"),
    "a space at its end": (dict([a_secret("llm-key", {"token": b"canary "})]), "SecretKeyMissing"),
}


@pytest.mark.parametrize("case", SECRETS)
def test_b36_a_key_that_cannot_be_sent_closes_its_backend(case: str) -> None:
    """The object says which Secret and key, and what to do; nothing of the content is shown, nothing is sent."""
    secrets, reason = SECRETS[case]
    world = with_backend(url="https://x.example.com", credentials=CREDENTIALS)
    world.secrets = secrets
    world.settle()
    model, backend = world.model("llama"), only_backend(world)

    assert ("False", reason) == condition(model, "ResolvedRefs")
    assert ("False", "NoHealthyBackend") == condition(model, "Ready")
    assert ("True", "Accepted") == condition(model, "Accepted")
    assert "llm-key" in message(model, "ResolvedRefs")
    assert "canary" not in repr(world.model("llama"))
    assert (True, None) == (backend.discovered, backend.credential)
    assert world.pushed is not None
    assert () == world.pushed.live.state.endpoints


def test_b36_a_line_end_after_a_key_is_not_part_of_it() -> None:
    """Editors and `echo` leave one."""
    world = with_backend(url="https://x.example.com", credentials=CREDENTIALS)
    world.secrets = dict([a_secret("llm-key", {"token": b"s3cr3t\r\n"})])
    push = world.decide().push

    assert push is not None
    assert push.credentials is not None
    assert "s3cr3t" == push.credentials.backends[0].value


def test_b36_one_bad_key_leaves_the_other_backend() -> None:
    """A backend that cannot be used drops only itself."""
    backends = [a_backend("good", url="https://a.example.com"), a_backend("bad", credentials=CREDENTIALS)]
    world = World(models=[a_model(backends=backends)])
    world.settle()
    model = world.model("llama")

    assert ("False", "SecretNotFound") == condition(model, "ResolvedRefs")
    assert ("True", "Serving") == condition(model, "Ready")
    assert "1/2" == model["status"]["summary"]["backends"]
    assert [
        {"name": "good", "endpoints": 1, "reason": ""},
        {"name": "bad", "endpoints": 0, "reason": "SecretNotFound"},
    ] == model["status"]["backends"]


def test_b37_a_secret_of_another_namespace_is_out_of_reach() -> None:
    """A reference has no namespace: one of the same name elsewhere is not found, and a namespace is refused."""
    world = with_backend(url="https://x.example.com", credentials=CREDENTIALS)
    world.secrets = dict([a_secret("llm-key", {"token": b"k"}, namespace="other")])
    world.settle()
    there = {"secretRef": {"name": "llm-key", "key": "token", "namespace": "other"}}
    reaching = with_backend(url="https://x.example.com", credentials=there)
    reaching.secrets = world.secrets
    reaching.settle()

    assert ("False", "SecretNotFound") == condition(world.model("llama"), "ResolvedRefs")
    assert ("False", "Invalid") == condition(reaching.model("llama"), "Accepted")
    assert "namespace" in message(reaching.model("llama"), "Accepted")
    for each in (world, reaching):
        assert each.pushed is not None
        assert each.pushed.credentials is not None
        assert () == each.pushed.credentials.backends


@pytest.mark.parametrize(
    ("services", "text"),
    [({}, "there is no Service vllm"), ({ObjectKey("team", "vllm"): Service(ports=(80, 90))}, "80, 90")],
)
def test_a_service_or_port_that_is_not_there(services: dict[ObjectKey, Service], text: str) -> None:
    """ServiceNotFound, with what is there."""
    world = with_backend(serviceRef={"name": "vllm", "port": 8000})
    world.services = services
    world.settle()

    assert ("False", "ServiceNotFound") == condition(world.model("llama"), "ResolvedRefs")
    assert text in message(world.model("llama"), "ResolvedRefs")


@pytest.mark.parametrize("what", ["secret", "service", "config map"])
def test_what_comes_later_is_found(what: str) -> None:
    """Whatever was missing; nobody has to touch the model."""
    secret = a_secret("llm-key", {"token": b"k"})
    service = (ObjectKey("team", "vllm"), Service(ports=(8000,)))
    config_map = a_config_map("ca", {"ca.crt": CA_PEM})
    tls = {"caRef": {"name": "ca", "key": "ca.crt"}}
    world = with_backend(serviceRef={"name": "vllm", "port": 8000}, credentials=CREDENTIALS, tls=tls)
    world.secrets = dict([secret] if what != "secret" else [])
    world.services = dict([service] if what != "service" else [])
    world.config_maps = dict([config_map] if what != "config map" else [])
    world.settle()
    before = condition(world.model("llama"), "ResolvedRefs")
    world.secrets, world.services, world.config_maps = dict([secret]), dict([service]), dict([config_map])
    world.settle()

    assert before is not None
    assert "False" == before[0]
    assert ("True", "ResolvedRefs") == condition(world.model("llama"), "ResolvedRefs")


def test_p25_neither_snapshot_nor_plan_shows_a_key() -> None:
    """Printed whole, as a careless log line would."""
    world = with_backend(url="https://x.example.com", credentials=CREDENTIALS)
    world.secrets = dict([a_secret("llm-key", {"token": b"canary"}), a_client("app", "canary")])
    plan = world.turn()

    assert plan.push is not None
    assert plan.push.credentials is not None
    assert "canary" == plan.push.credentials.backends[0].value
    assert "canary" not in repr(world.snapshot()) + repr(plan) + repr(world.memory)


@pytest.mark.parametrize("data", [None, {}, {"ca.crt": "not PEM"}, {"ca.crt": CA_PEM.replace("MII", "AAA")}])
def test_authorities_that_no_gateway_could_load(data: dict[str, str] | None) -> None:
    """They are checked here, for a gateway would have to refuse the whole config."""
    world = with_backend(url="https://x.example.com", tls={"caRef": {"name": "ca", "key": "ca.crt"}})
    world.config_maps = dict([a_config_map("ca", data)]) if data is not None else {}
    world.settle()

    assert ("False", "ConfigMapNotFound") == condition(world.model("llama"), "ResolvedRefs")
    assert only_backend(world).tls is None


@pytest.mark.parametrize(
    ("privacy", "expected"),
    [
        ({}, Retention.UNKNOWN),
        ({"retention": "None"}, Retention.NONE),
        ({"retention": "Limited"}, Retention.LIMITED),
        ({"retention": "Limited", "trainsOnData": True}, Retention.UNKNOWN),
    ],
)
def test_what_trains_on_data_satisfies_no_retention(privacy: dict[str, Any], expected: Retention) -> None:
    """What is trained on is kept."""
    push = World(models=[a_model(privacy=privacy)]).decide().push

    assert push is not None
    assert push.base is not None
    assert expected == push.base.models[0].retention


def test_headers_and_query_travel_in_one_spelling() -> None:
    """Lower-case names in order; a query that is encoded already."""
    backend = only_backend(
        with_backend(url="https://x.example.com", headers={"X-B": "2", "X-A": "1"}, query={"v": "a b"})
    )

    assert ((("x-a", "1"), ("x-b", "2")), "v=a%20b") == (backend.headers, backend.query)


@pytest.mark.parametrize("state", ["Draining", "Disabled"])
def test_a_model_that_takes_no_requests_is_not_ready(state: str) -> None:
    """Its trafficState says why."""
    world = World(models=[a_model(trafficState=state)])
    world.settle()

    assert ("False", "Draining") == condition(world.model("llama"), "Ready")


def test_status_shows_who_uses_a_model() -> None:
    """Policies by name, with the namespace where that is another."""
    shared = a_model("big", namespace="modelway")
    target = {"name": "t", "modelRef": {"name": "big", "namespace": "modelway"}}
    near = {"name": "t", "modelRef": {"name": "big"}}
    world = World(
        models=[shared],
        policies=[
            a_policy("far", rules=[{"name": "r", "targets": [target]}]),
            a_policy("near", namespace="modelway", rules=[{"name": "r", "targets": [near]}]),
        ],
    )
    world.settle()

    assert {"count": 2, "policies": ["near", "team/far"]} == world.model("big")["status"]["referencedBy"]
