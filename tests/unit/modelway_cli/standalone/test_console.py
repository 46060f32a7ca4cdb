"""What `modelway run` says while it runs."""

import io
import logging
import time

from modelway_cli.standalone.console import SAME_SECONDS, Console, ConsoleHandler
from modelway_cli.standalone.documents import Problem

from tests.support.canary import CANARY, PROMPT


def a_console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(out, clock=lambda: time.gmtime(0)), out


def test_an_event_is_a_line() -> None:
    """With what it is about and what happened."""
    console, out = a_console()
    about = {"kind": "RoutingPolicy", "namespace": "default", "name": "chat"}
    console.event({"type": "Warning", "reason": "RolledBack", "regarding": about, "note": "errors: 12 %"})

    assert "00:00:00  Warning  RolledBack  RoutingPolicy default/chat: errors: 12 %\n" == out.getvalue()


def test_a_mistake_is_said_when_it_begins_and_when_it_ends() -> None:
    """And not at every look at the folder in between."""
    console, out = a_console()
    mistake = Problem(file="a.yaml", message="line 1: not YAML")
    for standing in ([mistake], [mistake], []):
        console.problems(standing)

    assert ["Mistake  a.yaml: line 1: not YAML", "Fixed    a.yaml: line 1: not YAML"] == [
        line[10:] for line in out.getvalue().splitlines()
    ]


def test_a_log_line_is_said_with_its_fields_and_not_again_at_once() -> None:
    """With short intervals there are several turns a second, each of which may warn of the same thing."""
    console, out = a_console()
    now = 0.0
    handler = ConsoleHandler(console, clock=lambda: now)
    record = logging.makeLogRecord(
        {"name": "modelway_operator.apply", "levelname": "WARNING", "msg": "a write failed", "what": "status"}
    )
    record.modelway_fields = {"code": 7}
    handler.handle(record)
    handler.handle(record)
    now = SAME_SECONDS
    handler.handle(record)

    assert ["Warning  a write failed code=7 what=status"] * 2 == [line[10:] for line in out.getvalue().splitlines()]


def test_what_a_library_puts_in_and_the_text_of_an_exception_are_not_said() -> None:
    """Either may hold a prompt: `modelway run` is a gateway too."""
    console, out = a_console()
    handler = ConsoleHandler(console)
    try:
        int(PROMPT)
    except ValueError as exc:
        failure = (ValueError, exc, exc.__traceback__)
    for said in (
        {"name": "asyncio", "levelname": "ERROR", "msg": f"Exception in callback f({PROMPT!r})\nhandle: {PROMPT}"},
        {"name": "aiohttp.client", "levelname": "WARNING", "msg": "Can not load %s", "args": (PROMPT,)},
        {"name": "modelway_gateway.admin", "levelname": "ERROR", "msg": "admin_handler_failed", "exc_info": failure},
    ):
        handler.handle(logging.makeLogRecord(said))

    lines = [line[10:] for line in out.getvalue().splitlines()]
    assert ["Error    Exception in callback", "Warning  Can not load %s"] == lines[:2]
    assert lines[2].startswith("Error    admin_handler_failed error=ValueError at=")
    assert [] == CANARY.forms_in(out.getvalue())
