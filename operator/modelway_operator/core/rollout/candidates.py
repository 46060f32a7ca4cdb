"""Checks on what the spec points at: what may leave rest, and what ends a rollout wherever it is.

The rule to know: a version is what its digest says. Another name for what serves already is nothing new, and what
failed is not tried again before the spec has pointed at what is stable.
"""

from modelway_operator.api.rollout_status import RollbackReason
from modelway_operator.api.rollout_status import RolloutPhase as Phase
from modelway_operator.core.rollout.model import Version
from modelway_operator.core.rollout.phases import Event
from modelway_operator.core.rollout.view import Finding, View, name_of

# ---------------------------------------------------------------------------------------------------------- at rest


def is_first_version(view: View) -> Finding | None:
    """Nothing was ever stable here, so there is nothing to compare with and nobody to protect."""
    if view.stable is None and view.wanted is not None:
        return Finding(event=Event.FIRST_VERSION, message=f"{name_of(view.wanted)} serves: there was nothing before it")
    return None


def equals_stable(view: View) -> Finding | None:
    """Said only where something is left to tidy: another name for the same thing, or an old quarantine."""
    if view.wanted is None or view.stable is None or view.wanted.digest != view.stable.digest:
        return None
    if view.wanted == view.stable and not view.state.quarantine and not view.state.refused:
        return None
    return Finding(event=Event.SAME_AS_STABLE, message=f"{name_of(view.wanted)} serves")


def is_at_stable(view: View) -> Finding | None:
    """A rolled-back target is in order again once the spec points at what serves."""
    if view.wanted is not None and view.stable is not None and view.wanted.digest == view.stable.digest:
        return Finding(event=Event.SPEC_AT_STABLE, message=f"the spec points at {name_of(view.wanted)}, which serves")
    return None


def is_refused(view: View) -> Finding | None:
    """A version that failed here or elsewhere in the policy; said once."""
    wanted = view.wanted
    if wanted is None or (view.stable is not None and wanted.digest == view.stable.digest):
        return None
    if not is_quarantined(view, wanted) or view.state.refused == wanted.digest:
        return None
    return Finding(
        event=Event.CANDIDATE_REFUSED,
        reason=view.state.reason or RollbackReason.QUARANTINED,
        message=(
            f"{name_of(wanted)} failed before and is not tried again; "
            "point the target at another version, or at the stable one first"
        ),
    )


def is_known_candidate(view: View) -> Finding | None:
    """One of the last stable versions: it need not be tried step by step again."""
    wanted = view.wanted
    if not _may_begin(view) or wanted is None or view.settings is None:
        return None
    if any(earlier.version == wanted.digest for earlier in view.state.earlier[: view.settings.rollback_window]):
        return Finding(
            event=Event.KNOWN_CANDIDATE,
            message=f"{_move_text(view)}: it was stable before, so it goes to all traffic at once, guarded",
        )
    return None


def is_new_candidate(view: View) -> Finding | None:
    """The spec points at something that has to prove itself."""
    if not _may_begin(view) or view.settings is None:
        return None
    return Finding(event=Event.NEW_CANDIDATE, message=_move_text(view))


def is_queued(view: View) -> Finding | None:
    """The policy moves something else at present; said anew when it is something else again."""
    if not view.snapshot.queued_behind or not _is_candidate(view) or view.settings is None:
        return None
    message = f"{_move_text(view)}: waits for {view.snapshot.queued_behind}"
    if view.state.phase is Phase.QUEUED and view.state.message == message:
        return None
    return Finding(event=Event.QUEUED, message=message)


def has_left_queue(view: View) -> Finding | None:
    """What the spec points at is gone, so there is nothing to wait with."""
    if view.wanted is not None:
        return None
    return Finding(event=Event.LEFT_QUEUE, message=f"{name_of(view.stable)} serves")


def _may_begin(view: View) -> bool:
    return _is_candidate(view) and not view.snapshot.queued_behind


def _is_candidate(view: View) -> bool:
    wanted, stable = view.wanted, view.stable
    return (
        wanted is not None
        and stable is not None
        and wanted.digest != stable.digest
        and not is_quarantined(view, wanted)
    )


def is_quarantined(view: View, version: Version) -> bool:
    """Whether the version failed, here or at another target of the policy."""
    here = any(failed.version == version.digest for failed in view.state.quarantine)
    return here or version.digest in view.snapshot.quarantined


# ----------------------------------------------------------------------------------------------- wherever it is active


def is_spec_reverted(view: View) -> Finding | None:
    """The user went back: at once, whatever the figures say."""
    if view.wanted is None or view.stable is None or view.wanted.digest != view.stable.digest:
        return None
    return Finding(
        event=Event.SPEC_REVERTED,
        reason=RollbackReason.SPEC_REVERTED,
        message=f"the spec points at {name_of(view.wanted)} again",
    )


def is_superseded(view: View) -> Finding | None:
    """Another candidate takes the place of this one."""
    if view.wanted is None or view.wanted == view.candidate:
        return None
    return Finding(
        event=Event.SUPERSEDED,
        reason=RollbackReason.SUPERSEDED,
        message=f"the spec points at {name_of(view.wanted)} now; {name_of(view.candidate)} gives way to it",
    )


def is_candidate_deleted(view: View) -> Finding | None:
    """What the spec points at is gone: stable, which is remembered, serves."""
    if view.wanted is not None:
        return None
    return Finding(
        event=Event.CANDIDATE_DELETED,
        reason=RollbackReason.CANDIDATE_DELETED,
        message=f"{name_of(view.candidate)}, which the spec points at, does not exist any more",
    )


def is_quarantined_elsewhere(view: View) -> Finding | None:
    """A version that failed at one target is not tried on at another one of the policy."""
    if view.candidate is None or view.candidate.digest not in view.snapshot.quarantined:
        return None
    return Finding(
        event=Event.QUARANTINED,
        reason=RollbackReason.QUARANTINED,
        message=f"{name_of(view.candidate)} failed at another target of this policy",
    )


def are_settings_lost(view: View) -> Finding | None:
    """Without steps and metrics nothing can be decided, so nothing is risked."""
    if view.settings is not None:
        return None
    return Finding(
        event=Event.SETTINGS_LOST,
        reason=RollbackReason.SETTINGS_LOST,
        message="the rollout's entry is gone, and so are the settings it could have ended on",
    )


def fails_guardrail(view: View) -> Finding | None:
    """A guardrail fails on what is counted and what is still open."""
    judgement = view.failing_guardrail
    if judgement is None:
        return None
    return Finding(
        event=Event.GUARDRAIL_FAILED,
        reason=RollbackReason.GUARDRAIL_FAILED,
        message=f"guardrail {judgement.message}",
        judgement=judgement,
    )


def is_pause_asked(view: View) -> Finding | None:
    """A person asked for a pause."""
    if not view.snapshot.paused:
        return None
    return Finding(event=Event.PAUSE, message=f"paused at {view.state.weight:g} %; guardrails still act")


def _move_text(view: View) -> str:
    return f"{name_of(view.stable)} -> {name_of(view.wanted)}"
