"""The `modelway` command: one application, to which each command adds itself.

Rule: a command's module is cheap to import (typer and its own option types). What it needs in order to work, such as
aiohttp, pydantic or rich, is imported inside the command, so that `modelway --help` and completion stay fast.
"""

import sys
from importlib import metadata
from typing import Annotated

import typer

from modelway_cli.client import command as client
from modelway_cli.demo import command as demo
from modelway_cli.errors import CliError
from modelway_cli.prompts import command as prompts
from modelway_cli.simulator import command as simulate_llm
from modelway_cli.standalone import command as run
from modelway_cli.standalone import get_command as get
from modelway_cli.traffic import command as traffic

app = typer.Typer(
    name="modelway",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold keys
    rich_markup_mode="rich",
)

for module in (demo, run, get, client, simulate_llm, traffic, prompts):
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"modelway {metadata.version('modelway')}")
        raise typer.Exit


@app.callback()
def modelway(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Route LLM traffic, and try it out without a cluster."""


def main() -> None:
    """The console script: run the command; an error made for the user is one line and an exit status."""
    try:
        app()
    except CliError as error:
        print(f"modelway: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
