"""The runner's settings: what the operator is told."""

from pathlib import Path
from typing import Any

import pytest

from modelway_cli.errors import UsageError
from modelway_cli.standalone.runner import Options, operator_settings, state_folder
from modelway_operator.settings import MetricsKind


def options(**fields: Any) -> Options:
    return Options(folder=Path("manifests"), **fields)


def test_by_itself_it_is_judged_by_the_gateways_own_counters() -> None:
    """Nobody is admitted without a key, and what needs a namespace is in `default`."""
    settings = operator_settings(options())

    assert (MetricsKind.GATEWAYS, None) == (settings.metrics_source, settings.prometheus)
    assert ("default", ("default",), None) == (
        settings.namespace,
        settings.shared_namespaces,
        settings.anonymous_namespace,
    )


def test_a_prometheus_is_asked_instead_where_one_is_named() -> None:
    """At the interval that was given for it."""
    settings = operator_settings(options(prometheus_url="http://127.0.0.1:9099/", scrape_seconds=0.25))

    assert settings.prometheus is not None
    assert ("http://127.0.0.1:9099", 0.25) == (settings.prometheus.url, settings.scrape_interval_seconds)


def test_install_and_anonymous_namespace_are_passed_on() -> None:
    """As the chart's values are in a cluster."""
    settings = operator_settings(options(gateway_name="eu", anonymous_namespace="team-a"))

    assert ("eu", "team-a") == (settings.gateway, settings.anonymous_namespace)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"gateway_name": "No"}, "--gateway"),
        ({"anonymous_namespace": "a.b"}, "--anonymous-namespace"),
        ({"prometheus_url": "ftp://x"}, "--prometheus-url"),
        ({"scrape_seconds": 0.01}, "--scrape-interval"),
        ({"host": "localhost"}, "--host localhost"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(fields: dict[str, Any], says: str) -> None:
    """With the flag's name."""
    with pytest.raises(UsageError, match=says):
        operator_settings(options(**fields))


def test_the_state_is_beside_the_manifests_unless_said_otherwise() -> None:
    """So that two folders never share one."""
    assert Path("manifests/.modelway") == state_folder(Path("manifests"), None)
    assert Path("elsewhere") == state_folder(Path("manifests"), Path("elsewhere"))
