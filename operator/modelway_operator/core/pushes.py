"""What goes to the gateways, before and after the writes.

Rule: `first` never gives a candidate more than the gateways gave it before. So whatever fails in between, a share has
only ever fallen, and the rise that a status announces is pushed once the status stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from modelway_contract.config import Live, LiveState, Push, Split
from modelway_operator.core.document import Document
from modelway_operator.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushes:
    """Both pushes of a turn; neither where the config is too large."""

    first: Push | None = None
    last: Push | None = None
    refused: str | None = None


def pushes_of(document: Document, snapshot: Snapshot) -> Pushes:
    """The pushes of this turn, in the order of their sequence."""
    if document.size > snapshot.install.max_config_bytes:
        return Pushes(
            refused=f"the config would have {document.size} bytes, more than the {snapshot.install.max_config_bytes} "
            "that gateways take; nothing is pushed until objects are removed or made smaller"
        )
    held = _held_back(document.state, snapshot)
    before = snapshot.pushed if _is_of_this_epoch(snapshot.pushed, snapshot) else None
    first = _push(document, held, before, snapshot)
    last = _push(document, document.state, first, snapshot)
    return Pushes(first=None if first is before else first, last=last)


def is_shrunk(document: Document, snapshot: Snapshot) -> bool:
    """Whether most of the models pushed last are gone, which is more often a fault of reading than anyone's wish.

    A new leader compares with what its predecessor left behind.
    """
    base = snapshot.pushed.base if snapshot.pushed is not None else None
    before = len(base.models) if base is not None else snapshot.models_before
    return 2 * len(document.base.models) < before


def _push(document: Document, state: LiveState, before: Push | None, snapshot: Snapshot) -> Push:
    """The push of this state: the one before, sequence and all, where that says the same."""
    if (
        before is not None
        and before.live.state == state
        and (before.base_digest, before.credentials_digest) == document.key
        and before.base is not None
        and before.credentials is not None
    ):
        return before
    sequence = before.live.sequence + 1 if before is not None else 1
    return Push(
        live=Live(epoch=snapshot.epoch, sequence=sequence, state=state),
        base_digest=document.key.base,
        credentials_digest=document.key.credentials,
        base=document.base,
        credentials=document.credentials,
    )


def _is_of_this_epoch(push: Push | None, snapshot: Snapshot) -> bool:
    return push is not None and push.live.epoch == snapshot.epoch


def _held_back(state: LiveState, snapshot: Snapshot) -> LiveState:
    """The state with every rising share where it was; a candidate that is new gets its arm and no share."""
    shares = _shares_before(snapshot)
    splits = tuple(
        msgspec.structs.replace(split, share=min(split.share, shares.get(_place(split), 0))) for split in state.splits
    )
    return state if splits == state.splits else msgspec.structs.replace(state, splits=splits)


def _shares_before(snapshot: Snapshot) -> Mapping[tuple[str, ...], int]:
    """What candidates have now: by the last push, and without one (after a restart) by what gateways say they run.

    Of gateways that say different things, those count that took the last push: it may have been a fall that the former
    leader did not live to bring to all of them, and that must not be undone.
    """
    if snapshot.pushed is not None:
        return {_place(split): split.share for split in snapshot.pushed.live.state.splits}
    acks = [replica.ack for replica in snapshot.replicas if replica.ack is not None]
    newest = max(((ack.epoch, ack.sequence) for ack in acks), default=(0, 0))
    shares: dict[tuple[str, ...], int] = {}
    for ack in acks:
        for split in ack.splits if (ack.epoch, ack.sequence) == newest else ():
            shares[_place(split)] = max(split.share, shares.get(_place(split), 0))
    return shares


def _place(split: Split) -> tuple[str, ...]:
    return (split.namespace, split.policy, split.rule, split.target, split.rollout_id)
