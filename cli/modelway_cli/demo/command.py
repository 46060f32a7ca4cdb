"""`modelway demo`: the flags, and the demo until its end."""

from typing import Annotated

import typer

from modelway_cli.errors import UsageError


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("demo")(demo)


def demo(
    *,
    swap: Annotated[
        bool, typer.Option("--swap", help="Let the first candidate be the bad one; the verdicts must swap too.")
    ] = False,
    seconds_per_interval: Annotated[
        float, typer.Option(help="How often the metrics are judged, in seconds; at least 1.")
    ] = 1.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running afterwards, to play with.")] = False,
) -> None:
    """Watch one canary being promoted and another one rolled back.

    Starts three simulated LLM backends, the gateway and the control loop on
    a copy of examples/canary, sends traffic, and changes the policy's one
    line twice: to a version that works, then to one that fails and is slow.
    It takes about a minute, needs no cluster, and ends with the figures of
    both, recounted from what the backends counted themselves.

    The status is 0 if the verdicts came as they had to, 1 if not.
    """
    import uvloop
    from rich.console import Console

    from modelway_cli.demo.run import Options, run_demo

    if not 1 <= seconds_per_interval <= 60:
        raise UsageError("--seconds-per-interval is between 1 and 60")
    options = Options(swap=swap, seconds_per_interval=seconds_per_interval, keep=keep)
    status = uvloop.run(run_demo(options, Console()))
    raise typer.Exit(status)
