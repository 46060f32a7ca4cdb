"""From a backend in the config to what the upstream floor calls.

The rule: an origin is made once for a backend as it is, because the pool of warm connections hangs on its identity.
"""

from __future__ import annotations

import ssl
from functools import lru_cache

from modelway_contract import config
from modelway_gateway.upstream.interface import Origin, Timeouts
from modelway_gateway.upstream.tls import private_context, system_context

_private_context = lru_cache(maxsize=64)(private_context)
"""Backends often share one authority, and a context is the dearest part of an origin."""


def make_origin(backend: config.Backend) -> Origin:
    """Make the origin of one backend. A CA bundle that cannot be read is a ValueError."""
    timeouts = backend.timeouts
    return Origin(
        scheme=backend.scheme.value,
        host=backend.host,
        port=backend.port,
        server_name=backend.tls.server_name if backend.tls is not None else None,
        ssl_context=_tls_context(backend),
        timeouts=Timeouts(
            connect_seconds=timeouts.connect,
            first_token_seconds=timeouts.first_token,
            idle_seconds=timeouts.idle,
            total_seconds=timeouts.total,
        ),
        label=f"Backend {backend.name}",
    )


def _tls_context(backend: config.Backend) -> ssl.SSLContext | None:
    if backend.scheme is config.Scheme.HTTP:
        return None
    if backend.tls is None or backend.tls.ca_pem is None:
        return system_context()
    return _private_context(backend.tls.ca_pem)
