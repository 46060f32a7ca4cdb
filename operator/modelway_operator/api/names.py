"""The names users give and use: of entries, models, objects, clients and places.

The rule to know: whatever ends up as a label of a metric or in a query is held to letters that need no escaping there,
and to 63 characters where it may become a Kubernetes label. Names deep inside lists of lists are checked by schema
patterns, since CEL at that depth would exceed the API server's cost budget.
"""

from typing import Annotated

from pydantic import Field

from modelway_operator.api.rules import matching

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_PUBLIC = "[A-Za-z0-9._:/@+-]"

EntryName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(_LABEL, "must be of lower-case letters, digits and '-', with a letter or digit at both ends"),
]
"""The name of an entry in a list, or of an install."""

NamespaceName = EntryName
"""The name of a namespace."""

ModelObjectName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(_SUBDOMAIN, "must be the name of an LLMModel: lower-case letters, digits, '-' and '.'"),
]
"""The metadata.name of an LLMModel."""

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(_SUBDOMAIN, "must be a name of lower-case letters, digits, '-' and '.'"),
]
"""The metadata.name of any other object, or a host name."""

DataKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching("[-._A-Za-z0-9]+", "must be a key of letters, digits, '-', '_' and '.'"),
]
"""A key in a Secret or ConfigMap."""

PublicName = Annotated[
    str,
    Field(min_length=1, max_length=128),
    matching(
        f"[A-Za-z0-9]{_PUBLIC}*",
        "must be a model name of letters, digits and any of . _ : / @ + -, with a letter or digit first",
    ),
]
"""A model's name as clients send it."""

ModelPattern = Annotated[
    str,
    Field(min_length=1, max_length=128),
    matching(
        f"([A-Za-z0-9]{_PUBLIC}*)?[*]{_PUBLIC}*|[A-Za-z0-9]{_PUBLIC}*",
        "must be a model name of letters, digits and any of . _ : / @ + -, with at most one * in it",
    ),
]
"""A public name, or a glob with one `*`."""

UpstreamModelName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        "[A-Za-z0-9@][A-Za-z0-9._:/@+~-]*",
        "must be a model name of letters, digits and any of . _ : / @ + ~ -",
    ),
]
"""A model's name as a backend knows it."""

ClientName = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{_SUBDOMAIN}$")]
"""A client is named like the Secret that holds its key."""

ClientLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_WORD}$")]
"""A group or tier of clients."""

PlaceName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(_WORD, "must be of letters, digits, '-', '_' and '.', such as eu-west-1"),
]
"""A region or zone."""

Jurisdiction = Annotated[
    str,
    Field(min_length=1, max_length=16),
    matching("[A-Z][A-Z0-9-]*", "must be of capital letters, digits and '-', such as EU or US"),
]
"""A body of law, such as EU, US or CH."""
