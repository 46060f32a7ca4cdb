"""A gateway process with a bug: something of it fails with the prompt in what it failed on, as real bugs do.

`python -m tests.integration.gateway.serving.faulty_gateway FAULT …flags`. The rule: the product is the product's, from
its entry point on; a fault only replaces one function of it, or hooks into one.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from modelway_gateway import chat, logs, server, streamed, whole
from modelway_gateway.__main__ import main
from modelway_gateway.client.call import Call
from modelway_gateway.core.classifiers import Classifier
from modelway_gateway.core.verdicts import Verdict

_kept: list[object] = []


class PlantedError(Exception):
    """What the bugs raise."""


def fail(text: str, *_: object) -> None:
    """Fail, and quote what was given."""
    raise PlantedError(f"cannot read {text!r}")


async def fail_later(text: str) -> None:
    """The same in a task."""
    await asyncio.sleep(0)
    fail(text)


class Unlucky:
    """Fails when it goes, and when it is shown."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        fail(self.text)

    def __str__(self) -> str:
        fail(self.text)
        return ""


class Shown:
    """Shows the prompt wherever its `repr` is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"<Shown {self.text}>"

    def call_back(self) -> None:
        """A method of an object whose `repr` loops and libraries write."""
        fail(self.text)


def _at_each_prompt(do: Callable[[str], None]) -> None:
    """Do this with what a client sent, before the product takes it."""
    handle = chat.Chat.handle

    def handle_and_fail(self: chat.Chat, call: Call) -> None:
        if call.body:
            do(call.body.decode("utf-8", "replace"))
        handle(self, call)

    chat.Chat.handle = handle_and_fail  # type: ignore[method-assign]


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _never_retrieved(text: str) -> None:
    _loop().create_task(fail_later(text))
    _loop().call_later(0.1, gc.collect)


def _never_retrieved_future(text: str) -> None:
    _loop().create_future().set_exception(PlantedError(text))
    gc.collect()


def _destroyed_while_pending(text: str) -> None:
    async def wait(_: str) -> None:
        await _loop().create_future()

    _loop().create_task(wait(text), name=text)
    _loop().call_later(0.1, gc.collect)


def _group(text: str) -> None:
    raise ExceptionGroup(text, [PlantedError(text), PlantedError(text)])


def _chained(text: str) -> None:
    try:
        fail(text)
    except PlantedError as exc:
        raise RuntimeError(text) from exc


def _said_by_libraries(text: str) -> None:
    shown = Shown(text)
    logging.getLogger("aiohttp.server").error("Error handling request from %s", text, exc_info=PlantedError(text))
    logging.getLogger("aiohttp.access").info("%r", shown)
    logging.getLogger("asyncio").error(f"Exception in callback {shown!r}\nhandle: {shown!r}")  # noqa: G004
    logging.getLogger("asyncio").warning("Executing %r took %.3f seconds", shown, 1.0)
    logging.getLogger("asyncio").debug(text)


def _line_that_cannot_be_written(text: str) -> None:
    logs.event(logging.getLogger("modelway_gateway.chat"), logging.INFO, "planted", what=Unlucky(text))  # type: ignore[arg-type]


def _loops_own_handler(text: str) -> None:
    context = {"message": f"Exception in callback {text}", "exception": PlantedError(text), "handle": Shown(text)}
    _loop().call_exception_handler(context)


def _abort(text: str) -> None:
    _kept.append(text)
    os.abort()


def _hang_up(text: str) -> None:
    faulthandler.dump_traceback_later(0.05, exit=True)
    while True:
        _kept.append(text)


def _from_upstream(kind: Any, method: str) -> None:
    """Fail where the upstream's data arrive, in the middle of the parser's C code."""

    def failing(self: Any, *_: object) -> None:
        fail(self._call.body.decode())

    setattr(kind, method, failing)


def _in_a_classifiers_answer() -> None:
    """Fail where what a classifier said is read, in a task of its own."""

    def hear(_: Classifier, __: bytes, body: bytes) -> Verdict:
        raise PlantedError(body.decode())

    Classifier.hear = hear  # type: ignore[assignment,method-assign]


def _at_top_level() -> None:
    """What ends the process: an error that nobody catches."""
    asked = asyncio.Event()
    texts: list[str] = []

    def ask(text: str) -> None:
        texts.append(text)
        asked.set()

    async def run(settings: Any, stop: asyncio.Event) -> None:
        async with server.running_gateway(settings):
            await asked.wait()
            fail(texts[0])

    _at_each_prompt(ask)
    sys.modules["modelway_gateway.__main__"].run = run  # type: ignore[attr-defined]


FAULTS: dict[str, Callable[[], None]] = {
    "handler": lambda: _at_each_prompt(fail),
    "group": lambda: _at_each_prompt(_group),
    "chained": lambda: _at_each_prompt(_chained),
    "callback": lambda: _at_each_prompt(lambda text: _note(_loop().call_soon(fail, text))),
    "method": lambda: _at_each_prompt(lambda text: _note(_loop().call_soon(Shown(text).call_back))),
    "task": lambda: _at_each_prompt(_never_retrieved),
    "future": lambda: _at_each_prompt(_never_retrieved_future),
    "pending": lambda: _at_each_prompt(_destroyed_while_pending),
    "loop": lambda: _at_each_prompt(_loops_own_handler),
    "thread": lambda: _at_each_prompt(lambda text: threading.Thread(target=fail, args=(text,), name=text).start()),
    "executor": lambda: _at_each_prompt(lambda text: _note(_loop().run_in_executor(None, fail, text))),
    "deletion": lambda: _at_each_prompt(lambda text: _note(Unlucky(text) and None)),
    "libraries": lambda: _at_each_prompt(_said_by_libraries),
    "line": lambda: _at_each_prompt(_line_that_cannot_be_written),
    "upstream head": lambda: _from_upstream(whole.WholeAnswer, "on_head"),
    "upstream data": lambda: _from_upstream(whole.WholeAnswer, "on_data"),
    "upstream end": lambda: _from_upstream(whole.WholeAnswer, "on_end"),
    "upstream stream": lambda: _from_upstream(streamed.StreamedAnswer, "on_data"),
    "classifier": _in_a_classifiers_answer,
    "top level": _at_top_level,
    "abort": lambda: _at_each_prompt(_abort),
    "hang": lambda: _at_each_prompt(_hang_up),
}


def _note(_: object) -> None:
    """For what is begun in a lambda."""


if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    main()
