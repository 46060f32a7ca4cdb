"""`modelway demo` as people run it, without a terminal."""

import pytest

from tests.integration.standalone.commands import run

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
