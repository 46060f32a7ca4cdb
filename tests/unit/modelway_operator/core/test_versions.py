"""What a model is, as a digest."""

from typing import Any

import pytest

from modelway_operator.api.parsing import parse_llmmodel
from modelway_operator.core.compile.versions import version_of

from tests.support.builders import a_backend, a_model


def version(**spec: Any) -> str:
    return version_of(parse_llmmodel(a_model(**spec)))


BASE = version()

OPERATIONAL: tuple[dict[str, Any], ...] = (
    {"description": "other"},
    {"trafficState": "Draining"},
    {"access": "PolicyOnly"},
    {"capabilities": {"tools": True}},
    {"privacy": {"retention": "None"}},
    {"backends": [a_backend("other-name", url="https://llama.example.com/v1")]},
    {"backends": [a_backend(url="https://llama.example.com/v1/")]},
    {"backends": [a_backend(url="https://LLAMA.example.com:443/v1")]},
    {"backends": [a_backend(url="https://llama.example.com/v1", weight=3, timeouts={"connect": "9s"})]},
    {"backends": [a_backend(url="https://llama.example.com/v1", headers={"x-team": "a"}, query={"v": "1"})]},
    {"backends": [a_backend(url="https://llama.example.com/v1", credentials={"secretRef": {"name": "s", "key": "k"}})]},
    {"backends": [a_backend(url="https://llama.example.com/v1", locality={"region": "eu"}, tls={"serverName": "x"})]},
    {"backends": [a_backend(url="https://llama.example.com/v1", upstreamModel="llama")]},
)

IDENTITY: tuple[dict[str, Any], ...] = (
    {"parameters": {"temperature": "0.2"}},
    {"modelName": "other"},
    {"backends": [a_backend(url="https://other.example.com/v1")]},
    {"backends": [a_backend(url="http://llama.example.com/v1")]},
    {"backends": [a_backend(url="https://llama.example.com/v2")]},
    {"backends": [a_backend(url="https://llama.example.com:8443/v1")]},
    {"backends": [a_backend(url="https://llama.example.com/v1", upstreamModel="llama-2")]},
    {"backends": [a_backend(serviceRef={"name": "llama", "port": 8000})]},
    {"backends": [a_backend(url="https://llama.example.com/v1"), a_backend("second")]},
)


@pytest.mark.parametrize("spec", OPERATIONAL, ids=str)
def test_operational_fields_make_no_new_version(spec: dict[str, Any]) -> None:
    """What says how a model is run, or writes the same thing otherwise, is not part of what it is."""
    assert version(**spec) == BASE


@pytest.mark.parametrize("spec", IDENTITY, ids=str)
def test_what_a_model_is_makes_a_new_version(spec: dict[str, Any]) -> None:
    """Parameters, addresses and upstream names are what a model is."""
    assert version(**spec) != BASE


def test_the_order_of_backends_makes_no_new_version() -> None:
    """A list-map has no order."""
    one, other = a_backend("a", url="https://a.example.com/v1"), a_backend("b", url="https://b.example.com/v1")

    assert version(backends=[one, other]) == version(backends=[other, one])


def test_tls_for_a_service_makes_no_new_version() -> None:
    """`tls` is operational, though it changes the scheme."""
    ref = {"name": "llama", "port": 8000}

    assert version(backends=[a_backend(serviceRef=ref)]) == version(backends=[a_backend(serviceRef=ref, tls={})])


def test_versions_never_change_between_releases() -> None:
    """Another digest for the same model would start a rollout of every target in the world."""
    spec = {
        "parameters": {"temperature": "0.2", "top_p": "0.9"},
        "backends": [
            a_backend("eu", serviceRef={"name": "vllm", "port": 8000, "path": "/v1"}),
            a_backend("us", url="https://us.example.com/v1", upstreamModel="meta/llama"),
        ],
    }

    assert ("552444e66fd5", "c4341a4dbabf") == (BASE, version(**spec))
