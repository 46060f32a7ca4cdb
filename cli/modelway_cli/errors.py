"""Errors of the command line, each with the status that the process ends with.

CliError                  the message is for the user and is printed without a traceback
├── UsageError            an option or argument makes no sense, alone or with another one
├── PublicTargetError     a load tool was pointed at an address that is not this network's
└── ListenError           a server could not start on the address it was given
"""

from typing import ClassVar


class CliError(Exception):
    """Something the user can put right; `main` prints the message and ends with `exit_status`."""

    exit_status: ClassVar[int] = 1


class UsageError(CliError):
    """An option or argument makes no sense, alone or with another one."""

    exit_status = 2


class PublicTargetError(UsageError):
    """The target of generated load is neither loopback nor a private address."""


class ListenError(CliError):
    """A server could not start: the address is taken, or its certificate cannot be loaded."""
