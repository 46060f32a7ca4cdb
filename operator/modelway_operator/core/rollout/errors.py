"""What only a fault of this engine can raise.

::

    OperatorError
    └── EngineError      the table has no such move; the loop catches it, keeps the target as it is and says so
"""

from modelway_operator.errors import OperatorError


class EngineError(OperatorError):
    """The engine contradicts itself; the target stays as it is."""
