"""The table of phases: complete, closed, and the only place that knows where an event leads."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.core.rollout.checks import CHECKS
from modelway_operator.core.rollout.effects import EFFECTS
from modelway_operator.core.rollout.errors import EngineError
from modelway_operator.core.rollout.phases import ACTIVE, AT_REST, TRANSITIONS, Event, next_phase

ROOT = Path(__file__).resolve().parents[5]


def test_every_phase_has_its_row_and_its_questions() -> None:
    """None can be entered that nobody asks anything in."""
    assert set(TRANSITIONS) == set(Phase) == set(CHECKS)


def test_every_event_leads_somewhere() -> None:
    """An event that no phase knows could only be a fault."""
    assert set(Event) == {event for table in TRANSITIONS.values() for event in table}


def test_every_effect_belongs_to_an_event_of_the_table() -> None:
    """And the events without one change nothing but the phase."""
    assert set(Event) - set(EFFECTS) == {Event.WARMED_UP}


def test_every_phase_can_be_reached_and_left() -> None:
    """Nothing ends but at rest, and even that can be left."""
    reached = {following for table in TRANSITIONS.values() for following in table.values()}

    assert set(Phase) <= reached
    assert all(any(following is not phase for following in table.values()) for phase, table in TRANSITIONS.items())


@pytest.mark.parametrize("phase", sorted(ACTIVE))
def test_every_active_phase_can_roll_back(phase: Phase) -> None:
    """At any moment, for any of the reasons that allow no delay."""
    for event in (Event.GUARDRAIL_FAILED, Event.SPEC_REVERTED, Event.SUPERSEDED, Event.CANDIDATE_DELETED):
        assert next_phase(phase, event, came_from=None) is Phase.ROLLING_BACK


def test_a_rollback_can_only_end() -> None:
    """Nothing that happens meanwhile gives the candidate traffic again."""
    assert [Phase.ROLLED_BACK] == list(TRANSITIONS[Phase.ROLLING_BACK].values())


def test_a_pause_and_a_hold_end_where_they_began() -> None:
    """The state remembers where that was; without it the engine is at fault."""
    assert next_phase(Phase.PAUSED, Event.RESUME, came_from=Phase.BAKING) is Phase.BAKING
    assert next_phase(Phase.HELD, Event.DATA_RETURNED, came_from=Phase.SOAKING) is Phase.SOAKING
    with pytest.raises(EngineError, match="does not know where to go back to"):
        next_phase(Phase.PAUSED, Event.RESUME, came_from=None)


def test_an_event_that_a_phase_does_not_know_is_a_fault_of_the_engine() -> None:
    """A missing key is never read as "stay"."""
    with pytest.raises(EngineError, match="PASSED cannot happen in RolledBack"):
        next_phase(Phase.ROLLED_BACK, Event.PASSED, came_from=None)


def test_rest_and_activity_exclude_each_other() -> None:
    """RollingBack is neither: it is on its way, and nothing may stop it."""
    assert set() == ACTIVE & AT_REST
    assert {Phase.ROLLING_BACK} == set(Phase) - ACTIVE - AT_REST


def test_the_page_in_the_docs_is_drawn_from_the_table() -> None:
    """`--check` fails as soon as they differ."""
    tool = ROOT / "tools" / "draw_states.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
