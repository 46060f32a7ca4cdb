"""What the rest of the gateway may know of upstream calls: an origin goes in, a sink is called, an exchange is held.

The one rule: a sink gets `on_head`, any number of `on_data`, and then exactly one of `on_end` and `on_failure`
(`on_failure` may also come first). All calls come from the event loop, none before `exchange()` has returned, none
after the last one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Address = tuple[str, int]
Headers = list[tuple[bytes, bytes]]


class FailureKind(StrEnum):
    """Why an exchange did not end well; a closed set, so it may be a metric label."""

    CONNECT_ERROR = "connect_error"
    DNS_ERROR = "dns_error"
    TLS_ERROR = "tls_error"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 - a time-out's name, not a credential
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    RESET = "reset"
    PROTOCOL_ERROR = "protocol_error"
    CLOSED_EARLY = "closed_early"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class UpstreamFailure:
    """What went wrong, in words that may be shown to a client: no secret, no byte the upstream sent."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Bounds of one exchange, all in seconds."""

    connect_seconds: float = 5.0
    """Name resolution, TCP and TLS together."""
    first_token_seconds: float = 60.0
    """From the request's last byte until the sink's owner calls `content_began()`; of streamed answers only."""
    idle_seconds: float = 60.0
    """Between two pieces of the body, once content began. Does not run while the exchange is paused."""
    total_seconds: float = 600.0
    """From `exchange()` to the end, whatever happens between."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Origin:
    """One place that requests go to. Built once when a config loads.

    Compared by identity, because the pool of warm connections hangs on it: keep the object while the backend is
    unchanged, build a new one when anything about it changes.
    """

    scheme: str
    host: str
    """A name or an address, without brackets."""
    port: int
    server_name: str | None = None
    """Name for SNI and certificate verification; the host when absent."""
    ssl_context: ssl.SSLContext | None = None
    """Present exactly when the scheme is https; see tls.py."""
    timeouts: Timeouts = Timeouts()
    label: str = ""
    """How errors call this place, e.g. the backend's name. Shown to clients."""

    def __post_init__(self) -> None:
        if (self.scheme == "https") != (self.ssl_context is not None) or self.scheme not in ("http", "https"):
            raise ValueError("an https origin has a TLS context and an http origin has none")


class Sink(Protocol):
    """Receives one answer. Its methods must not raise."""

    def on_head(self, status: int, headers: Headers) -> None:
        """The final status (never 1xx) and the headers, names in lower case, in the order sent."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body, without transfer framing, never empty."""

    def on_end(self) -> None:
        """The answer is complete."""

    def on_failure(self, failure: UpstreamFailure) -> None:
        """The answer will not be completed."""


class Exchange(Protocol):
    """One request and its answer, while it lasts."""

    sent_at: float
    """When the request was handed to the connection, in `loop.time()`; 0.0 before that."""
    first_byte_at: float
    """When the final answer's head was complete, in `loop.time()`; 0.0 before that."""
    ended_by_eof: bool
    """True when the answer carried no length, so that only the end of the connection ended it."""

    def abort(self) -> None:
        """Close the connection now. The sink gets `on_failure(ABORTED)` from within, unless it has had its end."""

    def pause(self) -> None:
        """Stop reading, because what was delivered cannot be passed on yet. May be called twice."""

    def resume(self) -> None:
        """Read again. May be called twice."""

    def content_began(self) -> None:
        """End the first-token time-out and start the idle time-out. May be called twice."""
