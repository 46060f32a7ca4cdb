"""Draws the rollout's state diagram from the engine's own table, so that the docs cannot say something else.

`python tools/draw_states.py` writes docs/rollout-states.md; with `--check` it writes nothing and fails where the page
is not what it would write.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.core.rollout.phases import ACTIVE, TRANSITIONS, Event

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rollout-states.md"

HEAD = """<!-- Written by tools/draw_states.py from TRANSITIONS; do not edit. -->
# States of a rollout

What a target's rollout can do, drawn from the table that the engine runs on. `Held` and `Paused` go back to where they
came from. What ends a rollout in every active phase is drawn once, from the box around them.
"""


def main() -> int:
    """Write the page, or check it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing, fail if the page is out of date")
    check = arguments.parse_args().check
    page = render_page()
    if not check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print(f"{PAGE.name} is not what {Path(__file__).name} draws; run it", file=sys.stderr)
    return 1


def render_page() -> str:
    """The whole page: the diagram, then the table."""
    return "\n".join((HEAD, "```mermaid", *_diagram(), "```", "", *_table(), ""))


def _diagram() -> Iterable[str]:
    ends = _ends_everywhere()
    arrows = [
        (phase, event, following)
        for phase in Phase
        for event, following in TRANSITIONS[phase].items()
        # What leads back to the same phase, or to where a hold came from, is in the table below.
        if event not in ends and isinstance(following, Phase) and following is not phase
    ]
    inside = [(phase, following) for phase, _, following in arrows if {phase, following} <= ACTIVE]
    yield "stateDiagram-v2"
    yield "    [*] --> Stable"
    yield "    state Active {"
    yield from (f"        {_arrow(*arrow)}" for arrow in arrows if (arrow[0], arrow[2]) in inside)
    yield "    }"
    yield from (f"    Active --> {following}: {event}" for event, following in ends.items())
    yield from (f"    {_arrow(*arrow)}" for arrow in arrows if (arrow[0], arrow[2]) not in inside)


def _arrow(phase: Phase, event: Event, following: Phase) -> str:
    return f"{phase} --> {following}: {event}"


def _ends_everywhere() -> dict[Event, Phase]:
    """What leads out of every active phase to the same one."""
    tables = [TRANSITIONS[phase] for phase in Phase if phase in ACTIVE]
    return {
        event: following
        for event, following in tables[0].items()
        if isinstance(following, Phase) and all(table.get(event) is following for table in tables)
    }


def _table() -> Iterable[str]:
    yield "| from | event | to |"
    yield "| --- | --- | --- |"
    for phase in Phase:
        for event, following in TRANSITIONS[phase].items():
            yield f"| {phase} | {event} | {following} |"


if __name__ == "__main__":
    sys.exit(main())
