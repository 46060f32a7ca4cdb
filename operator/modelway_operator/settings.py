"""What an installation decides: flags, each with an environment variable of the same name, read once at start.

Rule: a value that cannot work stops the start with a sentence that names the flag. Secrets are never values here, only
the files they stand in, which are read anew at each use so that they may be rotated.
"""

import argparse
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn, TypeVar
from urllib.parse import urlsplit

from modelway_operator.api.quantities import Duration
from modelway_operator.errors import SettingsError

PREFIX: Final = "MODELWAY_"

E = TypeVar("E", bound=StrEnum)


class MetricsKind(StrEnum):
    """Where a rollout's figures come from."""

    PROMETHEUS = "prometheus"
    GATEWAYS = "gateways"
    NONE = "none"


class LogFormat(StrEnum):
    """How a log line is written."""

    JSON = "json"
    TEXT = "text"


LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """How the cluster's Prometheus is reached and who we are there."""

    url: str
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    headers: tuple[tuple[str, str], ...] = ()
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is fixed while the process runs."""

    gateway: str
    namespace: str
    release: str
    identity: str
    watch_namespaces: tuple[str, ...]
    """Empty: the whole cluster. Otherwise the operator's own namespace is always among them."""
    shared_namespaces: tuple[str, ...]
    anonymous_namespace: str | None
    admin_service: str
    gateway_metrics_port: int
    metrics_source: MetricsKind
    prometheus: PrometheusSettings | None
    scrape_interval_seconds: float
    kubeconfig: Path | None
    health_host: str
    health_port: int
    log_level: str
    log_format: LogFormat

    @property
    def ca_secret(self) -> str:
        """Holds the CA and the client's certificate, with their keys; only the operator reads it."""
        return f"{self.release}-internal-ca"

    @property
    def tls_secret(self) -> str:
        """Holds the server's certificate and key and the CA's certificate; the gateways mount it."""
        return f"{self.release}-gateway-tls"

    @property
    def bundle_secret(self) -> str:
        """Holds the last config; the gateways boot from it."""
        return f"{self.release}-config"

    @property
    def lease(self) -> str:
        """Says which operator acts."""
        return f"{self.release}-operator"


class _Parser(argparse.ArgumentParser):
    """Reports through our error, so that one place decides how a refusal looks."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def _parser(environ: Mapping[str, str]) -> _Parser:
    parser = _Parser(prog="modelway-operator", description=__doc__.partition("\n")[0], allow_abbrev=False)

    def flag(name: str, text: str, default: str | None = None) -> None:
        variable = PREFIX + name.upper().replace("-", "_")
        parser.add_argument(f"--{name}", default=environ.get(variable, default), help=f"{text} [{variable}]")

    flag("gateway", "which objects' spec.gateway this installation serves", "default")
    flag("namespace", "the operator's own namespace (set it from the downward API)")
    flag("release", "prefix of the installation's own Secrets, Lease and Services", "modelway")
    flag("pod-name", "this replica's name in the Lease", socket.gethostname())
    flag("watch-namespaces", "comma-separated; empty watches the whole cluster", "")
    flag("shared-namespaces", "comma-separated; whose models every namespace may use (default: the own one)")
    flag("anonymous-namespace", "the namespace of clients without a key (default: there are none)")
    flag("admin-service", "the headless Service of the gateways' admin port (default: RELEASE-gateway-admin)")
    flag("gateway-metrics-port", "the gateways' health and metrics port", "9090")
    flag("metrics-source", "prometheus, gateways or none", MetricsKind.PROMETHEUS.value)
    flag("prometheus-url", "base URL of anything that speaks Prometheus' API")
    flag("prometheus-bearer-token-file", "file with a token for it")
    flag("prometheus-username", "user name for it; needs the password file")
    flag("prometheus-password-file", "file with the password for it")
    flag("prometheus-headers", 'extra headers, one "Name: value" a line (a tenant, for instance)', "")
    flag("prometheus-ca-file", "file with the authorities that its certificate is checked against")
    flag("scrape-interval", "how often the gateways are scraped", "15s")
    flag("kubeconfig", "only outside a cluster")
    flag("health-host", "address that health and metrics are served on", "0.0.0.0")  # noqa: S104 - a pod's own address
    flag("health-port", "port that health and metrics are served on", "8081")
    flag("log-level", ", ".join(LOG_LEVELS), "info")
    flag("log-format", "json or text", LogFormat.JSON.value)
    return parser


def load_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Read flags over environment over defaults.

    Raises SettingsError, whose message names the flag and what it takes.
    """
    given = _parser(environ).parse_args(list(arguments))
    namespace = _name("namespace", given.namespace)
    release = _name("release", given.release)
    watched = _names("watch-namespaces", given.watch_namespaces)
    if watched and namespace not in watched:
        watched = (*watched, namespace)
    shared = _names("shared-namespaces", namespace if given.shared_namespaces is None else given.shared_namespaces)
    source = _choice("metrics-source", given.metrics_source, MetricsKind)
    level = str(given.log_level).lower()
    if level not in LOG_LEVELS:
        raise SettingsError(f"--log-level is one of {', '.join(LOG_LEVELS)}, not {given.log_level!r}")
    return Settings(
        gateway=_name("gateway", given.gateway),
        namespace=namespace,
        release=release,
        identity=_name("pod-name", given.pod_name, SUBDOMAIN),
        watch_namespaces=watched,
        shared_namespaces=shared,
        anonymous_namespace=(
            _name("anonymous-namespace", given.anonymous_namespace) if given.anonymous_namespace else None
        ),
        admin_service=_name("admin-service", given.admin_service or f"{release}-gateway-admin"),
        gateway_metrics_port=_port("gateway-metrics-port", given.gateway_metrics_port),
        metrics_source=source,
        prometheus=_prometheus(given) if source is MetricsKind.PROMETHEUS else None,
        scrape_interval_seconds=_seconds("scrape-interval", given.scrape_interval),
        kubeconfig=_file("kubeconfig", given.kubeconfig),
        health_host=given.health_host,
        health_port=_port("health-port", given.health_port),
        log_level=level,
        log_format=_choice("log-format", given.log_format, LogFormat),
    )


def _prometheus(given: argparse.Namespace) -> PrometheusSettings:
    url = given.prometheus_url
    if not url:
        raise SettingsError("--prometheus-url is needed; without a Prometheus set --metrics-source gateways")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError("--prometheus-url is an http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("--prometheus-url holds a user; use --prometheus-username and --prometheus-password-file")
    if parts.query or parts.fragment:
        raise SettingsError("--prometheus-url ends before ? and #; headers go into --prometheus-headers")
    token = _file("prometheus-bearer-token-file", given.prometheus_bearer_token_file)
    password = _file("prometheus-password-file", given.prometheus_password_file)
    if (password is None) != (not given.prometheus_username):
        raise SettingsError("--prometheus-username and --prometheus-password-file need each other")
    if token is not None and password is not None:
        raise SettingsError("--prometheus-bearer-token-file and --prometheus-password-file exclude each other")
    return PrometheusSettings(
        url=url.rstrip("/"),
        bearer_token_file=token,
        username=given.prometheus_username or None,
        password_file=password,
        headers=_headers("prometheus-headers", given.prometheus_headers),
        ca_file=_file("prometheus-ca-file", given.prometheus_ca_file),
    )


def _name(flag: str, value: str | None, form: re.Pattern[str] = LABEL) -> str:
    if not value:
        raise SettingsError(f"--{flag} ({PREFIX}{flag.upper().replace('-', '_')}) is not set")
    if form.fullmatch(value) is None:
        raise SettingsError(f"--{flag} is a Kubernetes name (lower case letters, digits and dashes), not {value!r}")
    return value


def _names(flag: str, value: str) -> tuple[str, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    return tuple(dict.fromkeys(_name(flag, part) for part in parts))


def _choice(flag: str, value: str, kind: type[E]) -> E:
    try:
        return kind(value)
    except ValueError as exc:
        raise SettingsError(f"--{flag} is one of {', '.join(kind)}, not {value!r}") from exc


def _port(flag: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65535):
        raise SettingsError(f"--{flag} is a port between 1 and 65535, not {value!r}")
    return int(value)


def _seconds(flag: str, value: str) -> float:
    try:
        seconds = Duration(value).seconds
    except ValueError as exc:
        raise SettingsError(f"--{flag}: {exc}") from exc
    if seconds < 1:
        raise SettingsError(f"--{flag} is at least 1s, not {value!r}")
    return seconds


def _file(flag: str, value: str | None) -> Path | None:
    if not value:
        return None
    path = Path(value)
    if not path.is_file():
        raise SettingsError(f"--{flag}: there is no file {value!r}")
    return path


def _headers(flag: str, value: str) -> tuple[tuple[str, str], ...]:
    found = []
    for number, line in enumerate(value.splitlines(), start=1):
        name, colon, text = line.partition(":")
        if not line.strip():
            continue
        if not colon or not name.strip() or not (name.strip() + text).isprintable():
            raise SettingsError(f'--{flag}: line {number} is not "Name: value"')
        found.append((name.strip(), text.strip()))
    return tuple(found)
