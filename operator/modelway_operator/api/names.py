"""The names users give and use: of entries, models, objects, headers.

The rule to know: whatever ends up as a label of a metric or in a query is held to letters that need no escaping there,
and to 63 characters where it may become a Kubernetes label.
"""

from typing import Annotated

from pydantic import Field

EntryName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""The name of an entry in a list, as a DNS label."""

ModelObjectName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The metadata.name of an LLMModel."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The metadata.name of any other object."""

NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""The name of a namespace."""

DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
"""A key in a Secret or ConfigMap."""

PublicName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$")]
"""A model's name as clients send it."""

ModelPattern = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^([A-Za-z0-9][A-Za-z0-9._:/@+-]*)?[*]?[A-Za-z0-9._:/@+-]*$")
]
"""A public name, or a glob with one `*`."""

UpstreamModelName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9@][A-Za-z0-9._:/@+~-]*$")]
"""A model's name as a backend knows it."""

HeaderName = Annotated[str, Field(min_length=1, max_length=64)]
"""The name of a header that users may match or set."""

HeaderValue = Annotated[str, Field(min_length=1, max_length=256)]
"""The value of a header."""

ClientName = ObjectName
"""A client is named like the Secret that holds its key."""

ClientLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""A group or tier of clients."""

PlaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""A region or zone."""

Jurisdiction = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[A-Z][A-Z0-9-]*$")]
"""A body of law, such as EU, US or CH."""
