"""Where a model may be asked: which requests it may get at all, and which of its backends and endpoints is next.

The rule: a model whose hard filter a request does not pass is never asked, neither first nor as a fallback.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from itertools import accumulate
from typing import Final

from modelway_gateway.core.features import Question
from modelway_gateway.core.records import Reason
from modelway_gateway.core.routes import NO_LIMIT, Limits, Offer, Option
from modelway_gateway.core.runtime import Address, Runtime

PLACE_BITS: Final = 80
"""A place is drawn by a uniform integer of so many bits: 40 each for the backend and its endpoint."""

_PART_BITS: Final = PLACE_BITS // 2
_MASK: Final = (1 << _PART_BITS) - 1

Place = tuple[Offer, Address | None]
"""A backend that may serve; and one endpoint of it where it is discovered, else its host is resolved."""


def excludes(option: Option, question: Question) -> Reason | None:
    """Why this model cannot serve this request here."""
    return option.excluded or exceeded(option.limits, question)


def exceeded(limits: Limits, question: Question) -> Reason | None:
    """Which of these limits the request does not keep."""
    if not limits.images and question.needs_images:
        return Reason.IMAGES
    if not limits.tools and question.needs_tools:
        return Reason.TOOLS
    if not limits.json_schema and question.needs_json_schema:
        return Reason.JSON_SCHEMA
    if limits.output_tokens != NO_LIMIT and question.output_tokens > limits.output_tokens:
        return Reason.MAX_OUTPUT_TOKENS
    if limits.total_tokens != NO_LIMIT and not question.fits(limits.total_tokens):
        return Reason.CONTEXT_WINDOW
    return None


def pick_place(runtime: Runtime, option: Option, draw: int) -> Place | None:
    """One backend by weight, of those that have an address; and one of its addresses."""
    offers, cumulative = option.offers, option.cumulative
    if len(offers) == 1:
        offer = offers[0]
    else:
        here = [each for each in offers if not each.backend.discovered or each.backend.id in runtime.addresses]
        if not here:
            return None
        if len(here) != len(offers):
            cumulative = tuple(accumulate(each.backend.weight for each in here))
        point = (draw & _MASK) * cumulative[-1] >> _PART_BITS
        offer = here[bisect_right(cumulative, point)]
    if not offer.backend.discovered:
        return offer, None
    addresses = runtime.addresses.get(offer.backend.id)
    if addresses is None:
        return None
    return offer, addresses[(draw >> _PART_BITS) * len(addresses) >> _PART_BITS]


def pick_other_place(
    runtime: Runtime, option: Option, draw: int, *, tried: Collection[Place], refused_keys: Collection[str]
) -> Place | None:
    """The same among the places that were not tried, without the backends whose key was refused."""
    places: list[tuple[Offer, list[Address | None]]] = []
    for offer in option.offers:
        backend = offer.backend
        known = runtime.addresses.get(backend.id, ()) if backend.discovered else (None,)
        left = [each for each in known if (offer, each) not in tried]
        if left and (backend.secret is None or backend.secret not in refused_keys):
            places.append((offer, left))
    if not places:
        return None
    cumulative = tuple(accumulate(offer.backend.weight for offer, _ in places))
    offer, left = places[bisect_right(cumulative, (draw & _MASK) * cumulative[-1] >> _PART_BITS)]
    return offer, left[(draw >> _PART_BITS & _MASK) * len(left) >> _PART_BITS]


def first_fallback(
    runtime: Runtime, question: Question, options: Iterable[Option], draw: int, *, refused_keys: Collection[str] = ()
) -> tuple[Option, Place] | None:
    """The first of these models that may serve the request and has somebody to ask, and whom."""
    for option in options:
        if excludes(option, question) is None:
            place = pick_other_place(runtime, option, draw, tried=(), refused_keys=refused_keys)
            if place is not None:
                return option, place
    return None
