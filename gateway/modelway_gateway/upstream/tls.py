"""TLS towards upstreams: which certificates are believed.

The rule: contexts are made when a config loads, never per connection.
"""

from __future__ import annotations

import functools
import ssl


@functools.cache
def system_context() -> ssl.SSLContext:
    """Believes the machine's certificate authorities. Shared: one context holds some hundred certificates."""
    return _finish(ssl.create_default_context())


def private_context(ca_pem: str) -> ssl.SSLContext:
    """Believes the given certificate authorities and no others. A bad bundle is a ValueError."""
    if not ca_pem.strip():  # the ssl module would take "nothing given" for "the system's"
        raise ValueError("the CA bundle holds no readable PEM certificate")
    try:
        return _finish(ssl.create_default_context(cadata=ca_pem))
    except (ssl.SSLError, ValueError) as exc:
        raise ValueError("the CA bundle holds no readable PEM certificate") from exc


def _finish(context: ssl.SSLContext) -> ssl.SSLContext:
    # Python 3.13 turned this on: it refuses most private CAs for details (a missing key usage), not for trust.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context
