"""What the operator tells of itself."""

import json
import logging
from collections.abc import Iterator

import aiohttp
import pytest

from modelway_operator.settings import LogFormat
from modelway_operator.telemetry import Health, Metrics, serve_health, set_up_logs

from tests.support.ports import free_ports


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging is the process's; a test gives it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("kopf.objects").setLevel(logging.NOTSET)
    logging.getLogger("modelway_operator").setLevel(logging.NOTSET)


def fail(text: str) -> None:
    raise ValueError(text)


def canary() -> str:
    """Made elsewhere than where it is used: a traceback shows the lines of the code."""
    return "canary of an object"


def log_a_failure(name: str) -> None:
    try:
        fail(canary())
    except ValueError:
        logging.getLogger(name).exception("it failed")


def test_line_is_an_object_with_its_values_beside_it(capsys: pytest.CaptureFixture[str], restored: None) -> None:
    """A fixed sentence, and named values."""
    set_up_logs(level="info", form=LogFormat.JSON)
    logging.getLogger("modelway_operator.loop").info("leading", extra={"epoch": 4})
    line = json.loads(capsys.readouterr().out)

    assert ("info", "modelway_operator.loop", "leading", 4) == (
        line["level"],
        line["logger"],
        line["message"],
        line["epoch"],
    )


@pytest.mark.parametrize("form", list(LogFormat))
def test_p25_exception_is_told_without_its_text(
    form: LogFormat, capsys: pytest.CaptureFixture[str], restored: None
) -> None:
    """Its type and its place find the fault; its text may quote what was being read."""
    set_up_logs(level="info", form=form)
    log_a_failure("modelway_operator.loop")
    log_a_failure("kopf._core.reactor")
    text = capsys.readouterr().out

    assert 2 == text.count("it failed")
    assert "ValueError" in text
    assert "in fail" in text
    assert canary() not in text


def test_p25_kopf_says_nothing_of_objects(capsys: pytest.CaptureFixture[str], restored: None) -> None:
    """Its log of an object is the object."""
    set_up_logs(level="debug", form=LogFormat.JSON)
    logging.getLogger("kopf.objects").error("Handler failed for canary")

    assert "" == capsys.readouterr().out


def test_level_is_ours_alone(capsys: pytest.CaptureFixture[str], restored: None) -> None:
    """Libraries speak from warnings on."""
    set_up_logs(level="debug", form=LogFormat.TEXT)
    logging.getLogger("modelway_operator.loop").debug("ours")
    logging.getLogger("kubernetes").info("theirs")
    text = capsys.readouterr().out

    assert ("ours" in text, "theirs" in text) == (True, False)


async def test_health_says_why_not(unused_port: int) -> None:
    """200 or 503, and the reason in a line."""
    why = ["", "the loop has stood still for 61 s"]
    health = Health(dead=lambda: why[1], unready=lambda: why[0])
    runner = await serve_health(Metrics(), health, host="127.0.0.1", port=unused_port)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_port}") as session:
            async with session.get("/livez") as live, session.get("/readyz") as ready:
                assert (503, f"{why[1]}\n") == (live.status, await live.text())
                assert (200, "ok\n") == (ready.status, await ready.text())
            async with session.get("/metrics") as page:
                assert "modelway_operator_turns_total" in await page.text()
    finally:
        await runner.cleanup()


@pytest.fixture
def unused_port() -> int:
    """One of loopback."""
    return free_ports(1)[0]
