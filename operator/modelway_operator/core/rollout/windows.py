"""Which intervals there are: aligned, side by side, closed and settled.

The rule to know: an interval's ends are multiples of its length, so a restarted operator finds the same ones; it
is counted once, two scrapes after its end, and never reaches back before the gateways had the present weight.
Where Prometheus has no samples for an end, the next interval begins earlier and covers the gap too: counters
forget nothing.
"""

from dataclasses import dataclass

from modelway_contract.names import Arm
from modelway_operator.api.rollout_status import RolloutPhase, RolloutStatus
from modelway_operator.core.rollout.model import RolloutSettings, TargetSnapshot

SETTLING_SCRAPES = 2
"""So many scrapes after its end an interval's samples are in."""

WARMING_SCRAPES = 2
"""So many scrapes after the acknowledgement the first requests are behind us."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, its end included."""

    start: float
    end: float


def place_of(state: RolloutStatus) -> RolloutPhase:
    """The phase that a hold or a pause interrupts, or else the phase itself."""
    phase = state.phase
    if phase is RolloutPhase.PAUSED and state.paused_from is not None:
        phase = state.paused_from
    if phase is RolloutPhase.HELD and state.held_from is not None:
        phase = state.held_from
    return phase


def is_measuring(state: RolloutStatus) -> bool:
    """Whether intervals are being counted: before a cut-over those of stable, which the candidate is compared with."""
    return (
        place_of(state) in {RolloutPhase.PREFLIGHT, RolloutPhase.SOAKING, RolloutPhase.EVALUATING, RolloutPhase.BAKING}
        and state.counted_until is not None
    )


def measured_arms(state: RolloutStatus) -> tuple[Arm, ...]:
    """The arms that have traffic."""
    match place_of(state):
        case RolloutPhase.PREFLIGHT:
            return (Arm.STABLE,)
        case RolloutPhase.BAKING:
            return (Arm.CANDIDATE,)
        case _:
            return (Arm.CANDIDATE, Arm.STABLE)


def first_boundary(acknowledged_at: float, settings: RolloutSettings, scrape_interval_seconds: float) -> float:
    """The beginning of the first interval after the gateways acknowledged a weight."""
    return _boundary_at_or_after(acknowledged_at + WARMING_SCRAPES * scrape_interval_seconds, settings.interval_seconds)


def closed_windows(state: RolloutStatus, settings: RolloutSettings, snapshot: TargetSnapshot) -> tuple[Window, ...]:
    """The intervals that may be counted now, the oldest first; at most `maxReplay` of them."""
    if not is_measuring(state) or state.counted_until is None:
        return ()
    settled = snapshot.now - SETTLING_SCRAPES * snapshot.scrape_interval_seconds
    start = state.counted_until
    end = _boundary_after(max(start, state.gap_until or start), settings.interval_seconds)
    windows: list[Window] = []
    while end <= settled and len(windows) < settings.max_replay:
        windows.append(Window(start, end))
        start, end = end, _boundary_after(end, settings.interval_seconds)
    return tuple(windows)


def newest_window(state: RolloutStatus, settings: RolloutSettings, snapshot: TargetSnapshot) -> Window | None:
    """The last interval that is closed, where it is not near: whether it has samples tells a gap from an outage.

    It is only a witness. Right behind the others it could be counted, which would be more than `maxReplay` in one turn.
    """
    windows = closed_windows(state, settings, snapshot)
    if not windows:
        return None
    settled = snapshot.now - SETTLING_SCRAPES * snapshot.scrape_interval_seconds
    end = _boundary_after(settled, settings.interval_seconds) - settings.interval_seconds
    start = round(end - settings.interval_seconds, 3)
    return Window(start, round(end, 3)) if start > windows[-1].end else None


def open_window(state: RolloutStatus, snapshot: TargetSnapshot) -> Window | None:
    """What guardrails look at beside the counted intervals; never more than one weight in one window."""
    match place_of(state):
        case RolloutPhase.APPLYING | RolloutPhase.PROMOTING:
            start = state.step_since
        case RolloutPhase.WARMING:
            start = state.acknowledged_at
        case RolloutPhase.SOAKING | RolloutPhase.EVALUATING | RolloutPhase.BAKING:
            counted = state.counted_until
            start = counted if counted is not None and counted < snapshot.now else state.acknowledged_at
        case _:
            start = None
    return None if start is None or start >= snapshot.now else Window(start, snapshot.now)


def _boundary_at_or_after(seconds: float, interval_seconds: float) -> float:
    length = round(interval_seconds * 1000)
    return -(-round(seconds * 1000) // length) * length / 1000


def _boundary_after(seconds: float, interval_seconds: float) -> float:
    length = round(interval_seconds * 1000)
    return (round(seconds * 1000) // length + 1) * length / 1000
