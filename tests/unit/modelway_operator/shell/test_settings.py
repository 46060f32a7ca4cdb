"""Flags and environment."""

from pathlib import Path

import pytest

from modelway_operator.errors import SettingsError
from modelway_operator.settings import MetricsKind, Settings, load_settings

LEAST = ["--namespace", "modelway", "--metrics-source", "none"]


def settings(*arguments: str, **environment: str) -> Settings:
    return load_settings([*LEAST, *arguments], environment)


def test_least_is_enough() -> None:
    """A namespace and a source of metrics; everything else has a default that works."""
    found = settings()

    assert ("default", ("modelway",), ()) == (found.gateway, found.shared_namespaces, found.watch_namespaces)
    assert ("modelway-internal-ca", "modelway-gateway-tls", "modelway-config", "modelway-operator") == (
        found.ca_secret,
        found.tls_secret,
        found.bundle_secret,
        found.lease,
    )


def test_environment_is_read_and_a_flag_wins() -> None:
    """Each flag has its variable."""
    found = settings("--gateway", "flag", MODELWAY_GATEWAY="variable", MODELWAY_RELEASE="mw")

    assert ("flag", "mw-gateway-admin") == (found.gateway, found.admin_service)


def test_own_namespace_is_always_watched() -> None:
    """The gateways' EndpointSlices are there."""
    assert ("a", "b", "modelway") == settings("--watch-namespaces", "a, b,a").watch_namespaces


def test_prometheus_with_everything(tmp_path: Path) -> None:
    """Files are named, not read; headers are one a line."""
    token = tmp_path / "token"
    token.write_text("secret")
    found = settings(
        "--metrics-source", "prometheus", "--prometheus-url", "https://prom.example.com/prefix/",
        "--prometheus-bearer-token-file", str(token), "--prometheus-headers", "X-Scope-OrgID: a\nX-Other:b\n",
        "--scrape-interval", "30s",
    ).prometheus  # fmt: skip

    assert found is not None
    assert ("https://prom.example.com/prefix", token) == (found.url, found.bearer_token_file)
    assert (("X-Scope-OrgID", "a"), ("X-Other", "b")) == found.headers


PROMETHEUS = ("--metrics-source", "prometheus", "--prometheus-url", "http://prom:9090")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--namespace", ""], "--namespace (MODELWAY_NAMESPACE) is not set"),
        (["--gateway", "No_Name"], "--gateway"),
        (["--metrics-source", "prometheus"], "--prometheus-url is needed"),
        (["--metrics-source", "somewhere"], "prometheus, gateways, none"),
        ([*PROMETHEUS[:-1], "prom:9090"], "http:// or https://"),
        ([*PROMETHEUS[:-1], "http://user:canary@prom"], "--prometheus-password-file"),
        ([*PROMETHEUS[:-1], "http://prom/?tenant=a"], "--prometheus-headers"),
        ([*PROMETHEUS, "--prometheus-username", "me"], "need each other"),
        ([*PROMETHEUS, "--prometheus-headers", "no colon"], "line 1"),
        ([*PROMETHEUS, "--prometheus-ca-file", "/nowhere"], "no file"),
        (["--scrape-interval", "1h1"], "--scrape-interval"),
        (["--scrape-interval", "10ms"], "at least 1s"),
        (["--health-port", "0"], "port"),
        (["--health-port", "eighty"], "port"),
        (["--log-level", "loud"], "debug, info, warning, error"),
        (["--log-format", "xml"], "json, text"),
        (["--kubeconfig", "/nowhere"], "no file"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_value_that_cannot_work_is_named_with_its_remedy(arguments: list[str], names: str) -> None:
    """Not a traceback, and never a secret in the sentence."""
    with pytest.raises(SettingsError) as caught:
        load_settings([*LEAST, *arguments], {})

    assert names in str(caught.value)
    assert "canary" not in str(caught.value)


def test_source_of_metrics_is_a_choice() -> None:
    """Only Prometheus needs an address."""
    assert MetricsKind.GATEWAYS is settings("--metrics-source", "gateways").metrics_source
    assert settings("--metrics-source", "gateways", "--prometheus-url", "http://x").prometheus is None
