"""What the operator tells of itself: log lines, metrics, and whether it is alive and ready.

Rule: a log line is a fixed sentence with named values beside it, so that nothing of an object gets into it by way of
formatting; a metric's labels come from closed sets or from names that the API server has checked.
"""

import datetime as dt
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from modelway_operator.rollout_figures import Rollouts
from modelway_operator.settings import LogFormat

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISE: Final = "OS signals are ignored"


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        time = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _OWN_FIELDS}
        line |= _exception(record)
        return json.dumps(line, default=str, ensure_ascii=False)


class _TextFormatter(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in vars(record).items() if key not in _OWN_FIELDS} | _exception(record)
        record.exc_info = record.exc_text = None
        return super().format(record) + "".join(f" {key}={value}" for key, value in extra.items())


def _exception(record: logging.LogRecord) -> dict[str, str]:
    """Where it happened, and of what type it was; not its text, which may quote what was being read."""
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    frames = "".join(traceback.format_tb(record.exc_info[2]))
    return {"exception": record.exc_info[0].__name__, "traceback": frames}


def set_up_logs(*, level: str, form: LogFormat) -> None:
    """Everything to standard output, kopf's and the libraries' own only from warnings on."""
    handler = logging.StreamHandler(sys.stdout)
    text = _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if form is LogFormat.JSON else text)
    handler.addFilter(lambda record: not (record.name.startswith("kopf") and _NOISE in record.getMessage()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("modelway_operator").setLevel(level.upper())
    # What it logs of an object is that object, Secrets included.
    logging.getLogger("kopf.objects").setLevel(logging.CRITICAL)


class Metrics:
    """The operator's own metrics."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self.rollouts = Rollouts(self.registry, wall_clock)
        self.turns = self._counter("turns", "Turns of the loop.", "result")
        self.turn_seconds = Histogram(
            "modelway_operator_turn_seconds", "How long a turn took.", registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
        )  # fmt: skip
        self.last_turn_age = self._gauge("last_turn_age_seconds", "How long ago a turn ended.")
        self.pushes = self._counter("pushes", "Answers of gateways to pushes.", "status")
        self.acknowledgement_seconds = Histogram(
            "modelway_operator_acknowledgement_seconds",
            "From a new config's first offer until a gateway had it, for each gateway.", registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        )  # fmt: skip
        self.api_errors = self._counter(
            "api_errors", "Calls to the API server that failed; status 0 where none came.", "method", "status"
        )
        self.writes = self._counter("writes", "Writes to the API server.", "what", "result")
        self.watch_restarts = self._gauge("watch_restarts", "How often the watch was started again.")
        self.watch_missed = self._counter("watch_missed_changes", "Changes that only a LIST has told of.")
        self.role = self._gauge("role", "1 for the role this replica has.", "role")
        self.is_leader = self._gauge("is_leader", "1 while this replica is the one that acts.")
        self.epoch = self._gauge("epoch", "The epoch of this replica's pushes.")
        self.store_objects = self._gauge("store_objects", "Objects that were read from the API server.", "kind")
        self.gateways = self._gauge("gateways", "Gateway replicas.", "state")
        self.objects = self._gauge("objects", "Objects that this installation serves.", "kind", "state")
        self.compiled = self._counter("compiled_parts", "Parts of the config that were compiled or judged anew.")
        self.config_bytes = self._gauge("config_bytes", "Size of the config that is pushed, unpacked.")
        self.metrics_available = self._gauge("metrics_available", "1 while measurements can be had.")
        self.clock_skew = self._gauge("metrics_clock_skew_seconds", "The clock of the metrics' source minus ours.")

    def render(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)

    def show(self, gauge: Gauge, values: dict[str, float]) -> None:
        """Set a gauge with one label."""
        for label, value in values.items():
            gauge.labels(label).set(value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"modelway_operator_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"modelway_operator_{name}", text, labels, registry=self.registry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Why the process is not alive or not ready; empty when it is."""

    dead: Callable[[], str]
    unready: Callable[[], str]


async def serve_health(metrics: Metrics, health: Health, *, host: str, port: int) -> web.AppRunner:
    """Serve `/livez`, `/readyz` and `/metrics` until the runner is cleaned up."""

    def answer(why: str) -> web.Response:
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)

    async def live(_: web.Request) -> web.Response:
        return answer(health.dead())

    async def ready(_: web.Request) -> web.Response:
        return answer(health.unready())

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/livez", live), web.get("/readyz", ready), web.get("/metrics", page)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
