"""Body fields that a model sets where the client did not, as JSON text.

The rule to know: fields that decide where a request goes, or who pays for it, are never set from here.
"""

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from modelway_operator.api.http_fields import NO_KEY, keys_matching, keys_not_in
from modelway_operator.api.rules import Rule, cel_text, of_values

_RESERVED = (
    "api_base", "api_key", "api_version", "base_url", "input", "messages", "model", "prompt", "stream", "user",
)  # fmt: skip

# CEL cannot parse JSON; it sees to it that text without quotes is refused, which is the mistake people make.
_JSON_SHAPE = r'^(true|false|null|-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?|"[^\r\n]*"|\[[^\r\n]*\]|\{[^\r\n]*\})$'


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(name)


_JSON_TEXT = Rule(
    cel=f"self.matches({cel_text(_JSON_SHAPE)})",
    message="each value must be JSON text in one line, such as 0.2, true, or a string with its quotes inside",
    holds=_is_json,
)

Parameters = Annotated[
    Mapping[str, Annotated[str, Field(min_length=1, max_length=1024)]],
    Field(max_length=32),
    of_values(_JSON_TEXT),
    of_values(NO_KEY),
    keys_matching("[a-z][a-z0-9_]{0,63}", "each name must be a field of the request body, such as temperature"),
    keys_not_in(
        _RESERVED,
        "must not set model, messages, prompt, input, stream, user or an address or key: clients and backends do that",
    ),
]
"""JSON text by field of the request body."""
