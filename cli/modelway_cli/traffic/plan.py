"""What traffic to send: the plan, and which request comes when.

Rule: everything about request number n follows from the plan and n, so a plan can be counted before it runs.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from modelway_cli.errors import UsageError

SESSION_HEADER: Final = "x-session-id"
MAX_RATE: Final = 100_000.0
MAX_CONCURRENCY: Final = 10_000
MAX_DURATION_SECONDS: Final = 7 * 24 * 3600.0
MAX_REQUESTS: Final = 10_000_000
DEFAULT_DURATION_SECONDS: Final = 10.0
DEFAULT_PROMPT: Final = "Say in a few words how you are."

_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset({"host", "connection", "content-length", "content-type", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """Traffic to send; raises `UsageError` when it makes no sense.

    With a `rate` the loop is open: request n is due at n / rate, whatever the answers do, and its latency counts from
    then. With a `concurrency` it is closed: each of so many clients sends its next request when it has its answer.
    """

    url: str
    """The base URL as an OpenAI SDK takes it (`http://127.0.0.1:8080/v1`); without a path, `/v1` is meant."""
    model: str
    rate: float | None = None
    """Requests a second."""
    concurrency: int | None = None
    """Clients; 1 when neither this nor `rate` is given."""
    duration_seconds: float | None = None
    """No request is begun later than this; 10 s when neither this nor `requests` is given."""
    requests: int | None = None
    """No more requests than this."""
    stream_share: float = 0.0
    """Share of requests that ask for a stream, spread evenly."""
    session_count: int = 0
    """Distinct values of `x-session-id`, used in turn; 0 sends none."""
    prompt: str = field(default=DEFAULT_PROMPT, repr=False)
    """What every request asks."""
    api_key: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_seconds: float = 60.0
    """For a whole answer."""
    max_in_flight: int = 512
    """Requests open at once with a `rate`; one that is due beyond them fails as `not_sent`."""
    allow_public: bool = False

    def __post_init__(self) -> None:
        for check in (_check_url, _check_pace, _check_shares, _check_headers):
            check(self)

    @property
    def chat_url(self) -> str:
        """Where requests go."""
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/") or "/v1"
        return urlunsplit((parts.scheme, parts.netloc, f"{path}/chat/completions", "", ""))

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def clients(self) -> int:
        """How many clients a closed loop has."""
        return self.concurrency or 1

    @property
    def begin_within_seconds(self) -> float:
        """No request begins later than this after the start."""
        if self.duration_seconds is not None:
            return self.duration_seconds
        return DEFAULT_DURATION_SECONDS if self.requests is None else math.inf

    @property
    def scheduled(self) -> int | None:
        """How many requests there will be; None where that depends on the answers."""
        if self.rate is None:
            return self.requests if self.duration_seconds is None else None
        if math.isinf(self.begin_within_seconds):
            return self.requests
        in_time = max(1, math.ceil(round(self.rate * self.begin_within_seconds, 6)))
        return in_time if self.requests is None else min(in_time, self.requests)

    def due_seconds(self, number: int) -> float:
        """When request `number` is due after the start, in an open loop."""
        return number / self.rate if self.rate else 0.0

    def is_stream(self, number: int) -> bool:
        """Whether request `number` asks for a stream: a golden-ratio sequence, so no other rotation falls in step."""
        return (number * _GOLDEN) % 1.0 < self.stream_share

    def session_of(self, number: int) -> str | None:
        return f"session-{number % self.session_count}" if self.session_count else None


def _check_url(plan: TrafficPlan) -> None:
    try:
        parts = urlsplit(plan.url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_http = False
    if not is_http:
        raise UsageError("the URL must be like http://127.0.0.1:8080/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError("the URL must have no user, query or fragment; use --api-key and --header")
    if not plan.model:
        raise UsageError("--model must not be empty")


def _check_pace(plan: TrafficPlan) -> None:
    if plan.rate is not None and plan.concurrency is not None:
        raise UsageError("give --rate or --concurrency, not both")
    bounds: tuple[tuple[str, float | None, float], ...] = (
        ("--rate", plan.rate, MAX_RATE),
        ("--concurrency", plan.concurrency, MAX_CONCURRENCY),
        ("--duration", plan.duration_seconds, MAX_DURATION_SECONDS),
        ("--requests", plan.requests, MAX_REQUESTS),
        ("--timeout", plan.timeout_seconds, MAX_DURATION_SECONDS),
        ("--max-in-flight", plan.max_in_flight, MAX_CONCURRENCY),
    )
    for option, value, most in bounds:
        if value is not None and not 0 < value <= most:
            raise UsageError(f"{option} must be above 0 and at most {most:g}")


def _check_shares(plan: TrafficPlan) -> None:
    if not 0 <= plan.stream_share <= 1:
        raise UsageError("--stream-share must be between 0 and 1")
    if plan.session_count < 0:
        raise UsageError("--session-count must not be below 0")


def _check_headers(plan: TrafficPlan) -> None:
    """Messages name headers and never show a value: it may be a secret."""
    if plan.api_key is not None and not (plan.api_key.isascii() and plan.api_key.isprintable() and plan.api_key):
        raise UsageError("the API key must be printable ASCII and not empty")
    seen: set[str] = set()
    for name, value in plan.headers:
        lowered = name.lower()
        if not _TOKEN.fullmatch(name):
            raise UsageError("--header must be NAME=VALUE with a valid header name")
        if not _VALUE.fullmatch(value):
            raise UsageError(f"--header {lowered}: the value has characters that no header may have")
        if lowered in seen:
            raise UsageError(f"--header {lowered} is given twice")
        if lowered in _OURS:
            raise UsageError(f"--header {lowered} is set by the request itself")
        if lowered == "authorization" and plan.api_key is not None:
            raise UsageError("give --api-key or --header authorization, not both")
        if lowered == SESSION_HEADER and plan.session_count:
            raise UsageError(f"give --session-count or --header {SESSION_HEADER}, not both")
        seen.add(lowered)
