"""What can go wrong, told apart by what the caller should do.

LocalkubeError
├── CannotRunHereError   this machine lacks something: exit code 3, cluster tests skip
└── CommandError         a program that we ran failed: its output is part of the message
"""

from __future__ import annotations


class LocalkubeError(Exception):
    """A step failed; the message is for the person at the keyboard."""

    exit_code = 1


class CannotRunHereError(LocalkubeError):
    """The machine cannot hold a node; the message names what is missing and the remedy."""

    exit_code = 3


class CommandError(LocalkubeError):
    """A program ended with a failure."""

    def __init__(self, command: str, code: int, output: str) -> None:
        self.code = code
        super().__init__(f"{command} ended with {code}\n{output.strip()[-4000:]}")
