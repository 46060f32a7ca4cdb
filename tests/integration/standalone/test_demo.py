"""`modelway demo` as people run it, without a terminal."""

import os
import signal
from pathlib import Path

import pytest

from modelway_cli.standalone.state import Running, read_running

from tests.integration.standalone.commands import modelway, run

GOOD, BAD = "promoted", "rolled back"


@pytest.mark.parametrize(("options", "verdicts"), [((), (GOOD, BAD)), (("--swap",), (BAD, GOOD))])
async def test_the_demo_shows_both_verdicts_and_they_follow_the_behaviours(
    options: tuple[str, ...], verdicts: tuple[str, str]
) -> None:
    """Swapped behaviours swap the verdicts, so neither of them is acted; the books of both sides agree."""
    ended = await run("demo", *options)

    assert (0, "") == (ended.status, ended.err)
    assert f"As expected: chat-v2 {verdicts[0]} and chat-v3 {verdicts[1]}." in ended.out
    assert "0 → 5 → 25 → 50 → 100 %" in ended.out
    assert "the backends' own counts agree" in ended.out


def running_in(path: Path) -> Running:
    (running,) = [read_running(place) for place in path.glob("*/canary/.modelway")]
    assert running is not None
    return running


def files_in(path: Path) -> list[Path]:
    return list(path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Neither a process nor a file, be it by Ctrl-C or by a terminal that was closed."""
    async with modelway("demo", TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        while b"Ready" not in (line := await process.stdout.readline()):
            assert line, "it ended before it was ready"
        running = running_in(tmp_path)
        process.send_signal(number)
        status = await process.wait()

    assert (130, []) == (status, files_in(tmp_path))
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
