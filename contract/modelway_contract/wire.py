"""The base of every struct on the wire.

Rule: structs are frozen and refuse unknown fields, so that a newer operator and an older gateway find out at once.
"""

import msgspec


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every struct on the wire."""
