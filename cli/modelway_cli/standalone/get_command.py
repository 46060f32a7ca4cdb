"""`modelway get`: the objects that a folder's process keeps, as kubectl would show them."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from modelway_cli.errors import CliError, UsageError

if TYPE_CHECKING:
    from modelway_operator.kinds import Raw

POLL_SECONDS: Final = 0.25


class Output(StrEnum):
    """How objects are printed."""

    YAML = "yaml"
    WIDE = "wide"


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("get")(get)


def get(
    what_and_where: Annotated[
        list[str],
        typer.Argument(
            metavar="[WHAT] DIR",
            help="WHAT: models, policies or a name (default: everything). DIR: the folder that `modelway run` serves.",
        ),
    ],
    *,
    output: Annotated[
        Output | None, typer.Option("--output", "-o", help="yaml: all of it; wide: more columns.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on, with a line for each object that changes.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where its state is kept.", show_default="DIR/.modelway"),
    ] = None,
) -> None:
    """Show the models and policies of a folder, and how they are doing.

    The columns are those of `kubectl get llmmodels` and `kubectl get
    routingpolicies`; `-o yaml` shows everything, the evidence of a rollout
    included.

    \b
    [bold]Examples[/bold]
    Everything, then a rollout as it goes on:
      modelway get examples/canary
      modelway get policies examples/canary -w
    Why a policy is where it is:
      modelway get chat examples/canary -o yaml
    """  # noqa: D301 - \b is typer's mark for lines to keep
    import contextlib
    import sys

    from modelway_cli.standalone.listing import chosen, is_kind
    from modelway_cli.standalone.state import DEFAULT_NAME, read_objects, read_running

    if len(what_and_where) > 2:
        raise UsageError("modelway get [WHAT] DIR: one folder, and before it what to show of it")
    folder = Path(what_and_where[-1])
    what = what_and_where[0] if len(what_and_where) == 2 else None
    path = state or folder / DEFAULT_NAME
    if not path.is_dir():
        raise CliError(f"{folder} was never served: there is no {path} (start it: modelway run {folder})")
    if read_running(path) is None:
        print(f"modelway: nobody serves {folder} now; this is how it was left", file=sys.stderr)
    found = chosen(read_objects(path), what)
    if not found and what is not None and not is_kind(what):
        raise CliError(f"{folder} has no model and no policy called {what}")
    printer = _Printer(output)
    printer.show(found)
    if not found:
        print("No resources found", file=sys.stderr)
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            for changed in _changes(path, what, found):
                printer.show(changed)


class _Printer:
    """Objects on standard output."""

    def __init__(self, output: Output | None) -> None:
        from modelway_cli.standalone.listing import Tables

        self._yaml = output is Output.YAML
        self._tables = Tables(wide=output is Output.WIDE)
        self._documents = 0

    def show(self, objects: list["Raw"]) -> None:
        """All of these, as the output was asked for."""
        import datetime as dt

        import yaml

        if not objects:
            return
        if not self._yaml:
            print(self._tables.text(objects, now=dt.datetime.now(dt.UTC)), flush=True)
            return
        if self._documents:
            print("---")
        self._documents += 1
        single = objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": objects}
        print(yaml.safe_dump(single, sort_keys=False, allow_unicode=True, width=118), end="", flush=True)


def _changes(path: Path, what: str | None, known: list["Raw"]) -> Iterator[list["Raw"]]:
    """Objects that are new or changed, each time some are."""
    import time

    from modelway_cli.standalone.listing import chosen
    from modelway_cli.standalone.state import read_objects

    def versions(objects: list["Raw"]) -> dict[str, str]:
        return {raw["metadata"]["uid"]: raw["metadata"]["resourceVersion"] for raw in objects}

    before = versions(known)
    while True:
        time.sleep(POLL_SECONDS)
        found = chosen(read_objects(path), what)
        now = versions(found)
        changed = [raw for raw in found if before.get(raw["metadata"]["uid"]) != now[raw["metadata"]["uid"]]]
        before = now
        if changed:
            yield changed
