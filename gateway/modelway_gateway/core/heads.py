"""The head of a request to an upstream, as far as it is known when a config loads.

The rule: nothing gets into a head that could end a line early or say something about framing; whoever calls this gets
a complaint instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from modelway_contract import config

USER_AGENT: Final = "modelway"
_OURS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HOST: Final = frozenset("-._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ADDRESS: Final = frozenset(".:0123456789abcdefABCDEF")
_DEFAULT_PORTS: Final = {config.Scheme.HTTP: 80, config.Scheme.HTTPS: 443}


def complaints(backend: config.Backend) -> Iterator[tuple[str, str]]:
    """What makes a head of this backend impossible, as (field, message)."""
    if not backend.host or not (_HOST.issuperset(backend.host) or _ADDRESS.issuperset(backend.host)):
        yield "host", "must be a host name or an address, without brackets"
    if not 1 <= backend.port <= 65535:
        yield "port", "must be between 1 and 65535"
    if backend.path and not backend.path.startswith("/"):
        yield "path", "must begin with '/'"
    if not _is_target(backend.path) or "?" in backend.path:
        yield "path", "must be printable ASCII without space, '?' and '#'"
    if not _is_target(backend.query):
        yield "query", "must be printable ASCII without space and '#'"
    if not backend.upstream_model:
        yield "upstream_model", "must not be empty"
    for index, (name, value) in enumerate(backend.headers):
        yield from ((f"headers[{index}]", text) for text in _header_complaints(name, value))
    if backend.credential is not None:
        use = backend.credential
        yield from (("credential", text) for text in _header_complaints(use.header, use.prefix))


def chat_head(backend: config.Backend, secret: str | None) -> bytes:
    """`POST {path}/chat/completions`, without the lines that depend on the request and without the blank line."""
    return _head("POST", "/chat/completions", backend, secret, "Content-Type: application/json\r\n")


def probe_head(backend: config.Backend, secret: str | None) -> bytes:
    """`GET {path}/models`, complete."""
    return _head("GET", "/models", backend, secret, "Accept: application/json\r\n\r\n")


def header_line(name: str, value: str) -> bytes:
    """One line of an answer's head; what may not stand there is percent-encoded."""
    if not (value.isascii() and value.isprintable()):
        value = quote(value.encode("utf-8", "replace"), safe="!#$&'()*+,/:;=?@[]~ ")
    return f"{name}: {value}\r\n".encode("ascii")


def is_field_value(text: str) -> bool:
    """Whether this may stand in a header as it is."""
    return text.isascii() and text.isprintable()


def _head(method: str, end: str, backend: config.Backend, secret: str | None, last: str) -> bytes:
    host = f"[{backend.host}]" if ":" in backend.host else backend.host
    port = "" if backend.port == _DEFAULT_PORTS[backend.scheme] else f":{backend.port}"
    query = f"?{backend.query}" if backend.query else ""
    headers = {name.lower(): (name, value) for name, value in backend.headers}
    headers.setdefault("user-agent", ("User-Agent", USER_AGENT))
    if backend.credential is not None and secret is not None:
        use = backend.credential
        headers[use.header.lower()] = (use.header, use.prefix + secret)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.values())
    head = f"{method} {backend.path}{end}{query} HTTP/1.1\r\nHost: {host}{port}\r\nAccept-Encoding: identity\r\n"
    return f"{head}{lines}{last}".encode("ascii")


def _is_target(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and "#" not in text


def _header_complaints(name: str, value: str) -> Iterator[str]:
    if not name or not _TOKEN.issuperset(name):
        yield "the name must be a header's name"
    elif name.lower() in _OURS:
        yield f"{name} is set by the gateway itself"
    if not is_field_value(value):
        yield "the value must be printable ASCII"
