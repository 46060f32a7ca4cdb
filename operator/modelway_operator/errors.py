"""Everything the operator raises on purpose, in one tree.

::

    OperatorError
    ├── InvalidObjectError      an object the types refuse; its author must change it
    ├── SettingsError           a flag or variable nobody can start with; whoever installed it must change it
    └── ClusterError            the API server said no
        ├── NotFoundError       404: the object, or for a LIST the whole kind, is not there
        ├── ConflictError       409: somebody else was faster; read again
        ├── ForbiddenError      401, 403: the role lacks a verb
        └── UnreachableError    no answer, or one that asks to come back later

A class exists only where someone catches it. Libraries' exceptions stop where the library is used and are chained.
"""


class OperatorError(Exception):
    """Something the operator itself found wrong; the root of this package's errors."""


class InvalidObjectError(OperatorError):
    """An object that does not say anything we can run; the message names each path and its remedy."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class SettingsError(OperatorError):
    """A flag or an environment variable that the operator cannot start with."""


class ClusterError(OperatorError):
    """The API server refused a call; `status` is its HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(ClusterError):
    """The object is not there; of a LIST, the kind itself is not, which is never "no objects"."""


class ConflictError(ClusterError):
    """The object changed since it was read, or exists already."""


class ForbiddenError(ClusterError):
    """The operator's role does not allow the call."""


class UnreachableError(ClusterError):
    """The API server did not answer in time, or asked not to be asked for a while."""
