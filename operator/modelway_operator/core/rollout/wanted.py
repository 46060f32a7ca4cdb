"""What has to be measured for the next decision.

The rules to know: all metrics at the end of every interval that is closed and not yet counted, guardrails also on
what is open at every tick; and a request is a function of the snapshot, so `advance` finds each answer by asking
the same question.
"""

from modelway_operator.api.rollout_status import RolloutStatus
from modelway_operator.api.strategy import MetricRole
from modelway_operator.core.rollout.model import (
    MeasurementRequest,
    MetricSettings,
    RolloutSettings,
    TargetSnapshot,
    Version,
)
from modelway_operator.core.rollout.phases import ACTIVE
from modelway_operator.core.rollout.settings import saved_settings
from modelway_operator.core.rollout.windows import Window, closed_windows, measured_arms, newest_window, open_window


def measurements_wanted(snapshot: TargetSnapshot) -> tuple[MeasurementRequest, ...]:
    """Every measurement that has to be asked for; none from a source that is known not to answer."""
    return requests_of(snapshot) if snapshot.source.available else ()


def requests_of(snapshot: TargetSnapshot) -> tuple[MeasurementRequest, ...]:
    """Every measurement that `advance` looks at."""
    state, settings = snapshot.state, settings_in_force(snapshot)
    if state is None or settings is None or state.phase not in ACTIVE:
        return ()
    windows = [(metric, window) for window in closed_windows(state, settings, snapshot) for metric in settings.metrics]
    newest = newest_window(state, settings, snapshot)
    if newest is not None:
        windows += [(metric, newest) for metric in settings.metrics]
    still_open = open_window(state, snapshot)
    if still_open is not None:
        windows += [(metric, still_open) for metric in settings.metrics if metric.role is MetricRole.GUARDRAIL]
    requests = (request_of(snapshot, state, metric, window) for metric, window in windows)
    return tuple(dict.fromkeys(request for request in requests if request is not None))


def settings_in_force(snapshot: TargetSnapshot) -> RolloutSettings | None:
    """The entry's settings, or those an active rollout carries where the entry is gone or invalid."""
    if snapshot.settings is not None or snapshot.state is None:
        return snapshot.settings
    return saved_settings(snapshot.state.entry, snapshot.scrape_interval_seconds)


def request_of(
    snapshot: TargetSnapshot, state: RolloutStatus, metric: MetricSettings, window: Window
) -> MeasurementRequest | None:
    """The request for one metric's counts in one window; None where there are not two versions to count."""
    if state.stable is None or state.candidate is None:
        return None
    return MeasurementRequest(
        key=snapshot.key,
        metric=metric.name,
        quantity=metric.quantity,
        stable=Version.of(state.stable),
        candidate=Version.of(state.candidate),
        start_seconds=window.start,
        end_seconds=window.end,
        scrape_interval_seconds=snapshot.scrape_interval_seconds,
        arms=measured_arms(state),
    )
