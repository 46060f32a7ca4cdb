"""What the process is told at start, by flags or by `MODELWAY_…` variables; a flag wins.

The rule: everything that can change while the process runs is in the config, not here.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelway_gateway.client.limits import ClientLimits
from modelway_gateway.errors import SettingsError

_PREFIX: Final = "MODELWAY_"
_LEAST_TOKEN: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Ports of 0 take a free one; times are in seconds."""

    host: str = "0.0.0.0"  # noqa: S104 - a pod's port is for its Service
    """Where clients and Prometheus connect."""
    port: int = 8080
    metrics_port: int = 9090
    admin_host: str = "0.0.0.0"  # noqa: S104 - guarded by mutual TLS; a token is refused here
    admin_port: int = 8443
    admin_tls_dir: Path | None = None
    """Folder with tls.crt, tls.key and ca.crt: mutual TLS on the admin port."""
    admin_token: str | None = field(default=None, repr=False)
    """Standalone: a token instead of certificates, on loopback only."""
    bundle_dir: Path | None = None
    """Folder in which the operator's bundle Secret is mounted."""
    state_dir: Path | None = None
    """Folder on a memory volume for the last good config."""
    pre_stop_seconds: float = 5.0
    """After SIGTERM: not ready, but still taking requests, until every proxy has heard of it."""
    grace_seconds: float = 20.0
    """After that: how long answers under way may take."""
    log_level: str = "info"
    limits: ClientLimits = field(default_factory=ClientLimits)


def from_command_line(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read flags and environment. Raises SettingsError; `--help` exits."""
    parser = argparse.ArgumentParser(prog="modelway-gateway", description="Routes LLM requests by a pushed config.")
    parser.add_argument("--host", help="address for clients and metrics (default: all)")
    parser.add_argument("--port", type=int, help="port for clients (default: 8080)")
    parser.add_argument("--metrics-port", type=int, help="port for health and metrics (default: 9090)")
    parser.add_argument("--admin-host", help="address of the admin port (default: all)")
    parser.add_argument("--admin-port", type=int, help="port for the operator (default: 8443)")
    parser.add_argument("--admin-tls-dir", type=Path, help="folder with tls.crt, tls.key, ca.crt")
    parser.add_argument(
        "--admin-token-file", type=Path, help="file with a token (or MODELWAY_ADMIN_TOKEN), loopback only"
    )
    parser.add_argument("--bundle-dir", type=Path, help="folder where the config bundle is mounted")
    parser.add_argument("--state-dir", type=Path, help="folder for the last good config, on a memory volume")
    parser.add_argument("--pre-stop-seconds", type=float, help="time between not ready and closing (default: 5)")
    parser.add_argument("--grace-seconds", type=float, help="time for answers under way (default: 20)")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default: info")
    values = vars(parser.parse_args(list(arguments)))
    for action in parser._actions:  # noqa: SLF001 - the only list of all flags there is
        name = action.dest
        text = environment.get(_PREFIX + name.upper())
        if text and name in values and values[name] is None:
            try:
                values[name] = action.type(text) if callable(action.type) else text
            except ValueError as exc:
                raise SettingsError(f"{_PREFIX}{name.upper()} is not a valid value") from exc
    token_file, token = values.pop("admin_token_file"), environment.get(_PREFIX + "ADMIN_TOKEN")
    if token_file is not None:
        token = _read_token(token_file)
    if token and len(token) < _LEAST_TOKEN:
        raise SettingsError(f"the admin token is shorter than {_LEAST_TOKEN} characters")
    return Settings(admin_token=token or None, **{name: each for name, each in values.items() if each is not None})


def _read_token(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"the admin token file {path} cannot be read") from exc
