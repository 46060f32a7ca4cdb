"""`--service`: what it takes, and the Services and EndpointSlices that it becomes."""

import pytest

from modelway_cli.errors import UsageError
from modelway_cli.standalone.services import LocalService, address_of, parse_service, service_objects
from modelway_operator.core.snapshot import Address, ObjectKey, Service, ServicePort
from modelway_operator.gather import Gatherer
from modelway_operator.settings import load_settings
from modelway_operator.store import Store


def a_service(text: str) -> LocalService:
    return parse_service(text, resolve=lambda host: "127.0.0.1" if host == "here" else host)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("llm:8000=127.0.0.1:9001", ("default", "llm", 8000, "127.0.0.1", 9001)),
        ("team-a/llm:80=here:9001", ("team-a", "llm", 80, "127.0.0.1", 9001)),
        ("llm:80=[::1]:9001", ("default", "llm", 80, "::1", 9001)),
    ],
)
def test_a_service_is_a_name_and_a_place(text: str, expected: tuple[str, str, int, str, int]) -> None:
    """The namespace is `default` where none is given, as in manifests."""
    service = a_service(text)

    assert expected == (service.namespace, service.name, service.port, service.address, service.target_port)


@pytest.mark.parametrize(
    "text",
    [
        "llm=127.0.0.1:9001",
        "llm:8000",
        "llm:8000=9001",
        "LLM:8000=127.0.0.1:1",
        "a/b/llm:8000=127.0.0.1:1",
        "llm:0=127.0.0.1:1",
        "llm:8000=127.0.0.1:65536",
        "llm:8000=[::1:9001",
        "llm:8000=[1.2.3]:9001",
        "llm:8000=127.0.0.1:1 ",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """With the text that was given, so that it is found among several."""
    with pytest.raises(UsageError) as refusal:
        a_service(text)

    assert f"--service {text}: " in str(refusal.value)


def test_a_name_becomes_an_ipv4_address_where_it_has_one() -> None:
    """Servers on one machine mostly listen on IPv4, while localhost names both."""
    assert "127.0.0.1" == address_of("localhost")


def test_a_name_without_an_address_is_refused() -> None:
    """At the start, and not as a gateway that finds nobody."""
    with pytest.raises(UsageError, match="has no address"):
        address_of("no-such-host.invalid")


def test_the_operator_reads_them_as_it_reads_a_clusters() -> None:
    """Several places of one port are several endpoints; several ports are one Service."""
    services = [
        a_service("llm:8000=127.0.0.1:9001"),
        a_service("llm:8000=127.0.0.1:9002"),
        a_service("llm:8001=127.0.0.1:9003"),
        a_service("team-a/six:80=[::1]:9004"),
    ]
    store = Store()
    for kind, raw in service_objects(services):
        store.put(kind, raw)
    snapshot = Gatherer(store, load_settings(["--namespace", "default", "--metrics-source", "none"], {})).snapshot(
        now=0
    )

    assert {
        ObjectKey("default", "llm"): Service(ports=(8000, 8001)),
        ObjectKey("team-a", "six"): Service(ports=(80,)),
    } == snapshot.services
    assert {
        ServicePort("default", "llm", 8000): (Address("127.0.0.1", 9001), Address("127.0.0.1", 9002)),
        ServicePort("default", "llm", 8001): (Address("127.0.0.1", 9003),),
        ServicePort("team-a", "six", 80): (Address("::1", 9004),),
    } == snapshot.endpoints


def test_one_service_has_one_family() -> None:
    """As in a cluster, where half of the places would silently not be used."""
    with pytest.raises(UsageError, match="all of its addresses"):
        service_objects([a_service("llm:80=127.0.0.1:1"), a_service("llm:80=[::1]:1")])
