"""What one turn makes of one snapshot, where a whole playbook would hide the point."""

import pytest

from modelway_operator.api.rollout_status import RolloutPhase, RolloutStatus, instant_text
from modelway_operator.core.rollout.advance import advance
from modelway_operator.core.rollout.effects import rollout_id_of
from modelway_operator.core.rollout.model import TargetKey, TargetPlan, TargetSnapshot, Version
from modelway_operator.core.rollout.wanted import measurements_wanted

KEY = TargetKey("shop", "chat", "legal-eu", "main")
V1, V2 = Version("shop/law-v1", "v1"), Version("shop/law-v2", "v2")


def a_snapshot(**changes: object) -> TargetSnapshot:
    fields: dict[str, object] = {
        "now": 1000.0,
        "key": KEY,
        "settings": None,
        "scrape_interval_seconds": 5.0,
        "wanted": V1,
        "serving": None,
        "state": None,
    }
    return TargetSnapshot(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "serving", "stable"),
    [(V1, None, V1), (V2, V1, V2), (None, V1, V1), (None, None, None)],
)
def test_a_target_without_an_entry_serves_what_the_spec_says_or_what_served(
    wanted: Version | None, serving: Version | None, stable: Version | None
) -> None:
    """At once, with nothing to write; a model that is gone leaves the remembered version serving."""
    plan = advance(a_snapshot(wanted=wanted, serving=serving))

    remembered = () if stable is None else (stable,)
    assert TargetPlan(key=KEY, state=None, stable=stable, remembered=remembered) == plan


def test_an_active_rollout_whose_settings_are_lost_goes_back() -> None:
    """Without steps and metrics nothing can be decided, so nothing is risked."""
    state = RolloutStatus(
        name="legal",
        rule="legal-eu",
        target="main",
        phase=RolloutPhase.SOAKING,
        weight=25,
        rollout_id="r1",
        stable=V1.as_ref(),
        candidate=V2.as_ref(),
        entry="{not json",
    )
    plan = advance(a_snapshot(state=state, wanted=V2, serving=V1))

    assert (0, V1, V2) == (plan.share_bp, plan.stable, plan.candidate)
    assert plan.state is not None
    assert RolloutPhase.ROLLING_BACK is plan.state.phase


def test_a_target_at_rest_asks_for_nothing() -> None:
    """Constant work would be too much where there is nothing to decide."""
    assert () == measurements_wanted(a_snapshot())


def test_the_same_beginning_has_the_same_rollout_id() -> None:
    """A turn that is repeated after a crash begins no second rollout; another attempt or moment is another one."""
    first = rollout_id_of(KEY, V1, V2, attempt=1, started_at=1000.0)

    assert first == rollout_id_of(KEY, V1, V2, attempt=1, started_at=1000.0)
    others = {
        rollout_id_of(KEY, V1, V2, attempt=2, started_at=1000.0),
        rollout_id_of(KEY, V1, V2, attempt=1, started_at=1000.001),
        rollout_id_of(KEY, V2, V1, attempt=1, started_at=1000.0),
        rollout_id_of(TargetKey("shop", "chat", "legal-eu", "other"), V1, V2, attempt=1, started_at=1000.0),
    }
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1772366400.25, "2026-03-01T12:00:00.250Z"),
        (1772366399.9996, "2026-03-01T12:00:00Z"),
    ],
)
def test_a_moment_is_written_as_rfc_3339_and_read_back(seconds: float, text: str) -> None:
    """To the millisecond, which is what the engine keeps."""
    state = RolloutStatus(name="a", rule="r", target="t", started_at=seconds)

    assert text == instant_text(seconds)
    assert text == state.as_manifest()["startedAt"]
    assert round(seconds, 3) == RolloutStatus.model_validate(state.as_manifest()).started_at


def test_a_moment_without_a_time_zone_is_refused() -> None:
    """It could be anywhere."""
    with pytest.raises(ValueError, match="names no time zone"):
        RolloutStatus.model_validate({"name": "a", "rule": "r", "target": "t", "startedAt": "2026-03-01T12:00:00"})
