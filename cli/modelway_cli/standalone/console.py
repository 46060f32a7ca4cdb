"""What `modelway run` says while it runs: one line for each thing that happened, warnings in front.

Rule: a thing is said once, when it begins and, for mistakes in files, when it ends.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final, TextIO

from modelway_cli.standalone.documents import Problem
from modelway_gateway.logs import log_crashes, places, presentable
from modelway_operator.kinds import Raw

SAME_SECONDS: Final = 60.0
"""A line that was said less than so long ago is not said again: with short intervals there are many turns a second."""

_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Console:
    """Lines on standard output."""

    def __init__(self, out: TextIO | None = None, *, clock: Callable[[], time.struct_time] = time.localtime) -> None:
        self._out = out or sys.stdout
        self._clock = clock
        self._standing: tuple[Problem, ...] = ()

    def say(self, text: str) -> None:
        """One line with the time."""
        print(f"{time.strftime('%H:%M:%S', self._clock())}  {text}", file=self._out, flush=True)

    def event(self, event: Raw) -> None:
        """A Kubernetes Event, as `kubectl get events` would show it."""
        about = event["regarding"]
        what = f"{about['kind']} {about['namespace']}/{about['name']}"
        self.say(f"{event['type']:<7}  {event['reason']}  {what}: {event['note']}")

    def problems(self, standing: Iterable[Problem]) -> None:
        """The mistakes in the folder: those that are new, and those that are gone."""
        now = tuple(standing)
        for problem in now:
            if problem not in self._standing:
                self.say(f"Mistake  {problem}")
        for problem in self._standing:
            if problem not in now:
                self.say(f"Fixed    {problem}")
        self._standing = now


class ConsoleHandler(logging.Handler):
    """What the operator and the gateway log, as lines of the console; the same line again only after a while."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._console = console
        self._clock = clock
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        fields = dict(getattr(record, "modelway_fields", {}))
        fields |= {name: value for name, value in vars(record).items() if name not in {*_OWN_FIELDS, "modelway_fields"}}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            fields["at"] = " ".join(places(record.exc_info[2])[-1:])
        named = "".join(f" {name}={value}" for name, value in fields.items())
        line = f"{record.levelname.capitalize():<7}  {presentable(record)}{named}"
        now = self._clock()
        self._said = {said: at for said, at in self._said.items() if now - at < SAME_SECONDS}
        if line not in self._said:
            self._said[line] = now
            self._console.say(line)


def log_to(console: Console, *, verbose: bool) -> None:
    """Show warnings of the operator and errors of the gateway, and with `verbose` all they have to say."""
    handler = ConsoleHandler(console)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log_crashes()
    logging.getLogger("modelway_operator").setLevel(logging.INFO if verbose else logging.WARNING)
    # A scraper that hangs up in the middle of a page, as ours does when the process ends, is no error.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    # That it starts without a config is a warning elsewhere; here it gets one at once.
    logging.getLogger("modelway_gateway").setLevel(logging.INFO if verbose else logging.ERROR)
