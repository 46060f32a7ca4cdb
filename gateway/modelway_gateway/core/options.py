"""What a model may do at one place of a policy: which backends are left, what it may be asked, or why it never serves.

The rule: whatever can be known without a request is decided here, once, when a config loads.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Final

from modelway_contract import config
from modelway_contract.config import TrafficState
from modelway_gateway.core.heads import header_line
from modelway_gateway.core.records import Reason
from modelway_gateway.core.routes import NO_LIMIT, CountedOption, Limits, Model, Offer, Option
from modelway_gateway.core.series import Series

CAPABILITIES: Final = {
    "tools": lambda can: can.tools,
    "jsonSchema": lambda can: can.json_schema,
    "reasoning": lambda can: can.reasoning,
    "embeddings": lambda can: can.embeddings,
}
_RETENTION_RANK: Final = {config.Retention.NONE: 0, config.Retention.LIMITED: 1, config.Retention.UNKNOWN: 2}


def option_for(
    model: Model, require: config.Require, series: Series, apart: Series, lines: tuple[bytes, ...]
) -> CountedOption:
    """This model under these requirements; `lines` are the answer's headers that tell of the place."""
    return CountedOption(**_fields(model, require, lines), series=series, series_apart=apart)


def fallback_option(model: Model, require: config.Require, lines: tuple[bytes, ...]) -> Option:
    """The same where nothing is counted in the model's name."""
    return Option(**_fields(model, require, lines))


def _fields(model: Model, require: config.Require, lines: tuple[bytes, ...]) -> dict[str, Any]:
    allowed = [
        each for each in model.backends if not require.jurisdictions or each.jurisdiction in require.jurisdictions
    ]
    weighted = [each for each in allowed if each.weight]
    own = header_line("x-modelway-model", model.public_name)
    can = model.capabilities
    return {
        "model": model,
        "offers": tuple(
            Offer(each, b"".join((own, header_line("x-modelway-backend", each.name), *lines))) for each in weighted
        ),
        "cumulative": tuple(accumulate(each.weight for each in weighted)),
        "header_lines": own + b"".join(lines),
        "excluded": _exclusion(model, require, allowed=bool(allowed), weighted=bool(weighted)),
        "limits": Limits(
            tools=can.tools is not False,
            images="Image" in can.input,
            json_schema=can.json_schema is not False,
            output_tokens=NO_LIMIT if can.max_output_tokens is None else can.max_output_tokens,
            total_tokens=NO_LIMIT if can.context_window is None else can.context_window,
        ),
    }


def strictest(limits: list[Limits]) -> Limits:
    """What is within these limits is within each of the given ones."""
    return Limits(
        tools=all(each.tools for each in limits),
        images=all(each.images for each in limits),
        json_schema=all(each.json_schema for each in limits),
        output_tokens=min(each.output_tokens for each in limits),
        total_tokens=min(each.total_tokens for each in limits),
    )


def _exclusion(model: Model, require: config.Require, *, allowed: bool, weighted: bool) -> Reason | None:
    """Why this model can never serve here. What a rule requires must be stated; silence does not satisfy it."""
    if model.traffic_state is TrafficState.DISABLED:
        return Reason.DISABLED
    if model.traffic_state is TrafficState.DRAINING:
        return Reason.DRAINING
    if not allowed:
        return Reason.JURISDICTION
    if not all(CAPABILITIES[name](model.capabilities) for name in require.capabilities):
        return Reason.CAPABILITY
    if require.retention is not None and _RETENTION_RANK[model.retention] > _RETENTION_RANK[require.retention]:
        return Reason.RETENTION
    return None if weighted else Reason.NO_BACKEND
